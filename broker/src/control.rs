//! What somebody else decides for this broker: which topics it must have (`declared`, `source`), and when it leaves
//! (`drain`). Told over an HTTP API on a listener of its own (`routes`), which stock nsqd has not.

mod declared;
mod drain;
mod routes;
mod source;

use std::path::Path;
use std::sync::Arc;

use axum::http::StatusCode;
use axum::response::Response;
use storage::{Disk, StorageError};

use crate::fence::Fence;
use crate::options::Options;
use declared::Declared;
use drain::Drain;

pub(crate) use declared::{begin, follow};
pub(crate) use routes::Endpoint;

/// What was decided.
#[derive(Debug)]
pub(crate) struct ControlState {
    /// What there must be.
    pub declared: Declared,
    /// How far the broker is on its way out.
    pub drain: Drain,
}

impl ControlState {
    /// As the last run left it.
    ///
    /// # Errors
    /// A file is of a later version or not ours, or the disk failed.
    pub(crate) fn open(disk: &Arc<dyn Disk>, options: &Options, fence: &Fence) -> Result<Self, StorageError> {
        let folder = Path::new(&options.data_path);
        let drain = Drain::open(Arc::clone(disk), folder, fence)?;
        let declared = Declared::open(Arc::clone(disk), folder, options)?;
        Ok(Self { declared, drain })
    }
}

/// Why something was not done, each with a sentence.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Refusal {
    /// The request makes no sense here.
    Wrong(String),
    /// There is no such thing.
    Missing(String),
    /// It does not fit how things are now.
    Conflict(String),
    /// It is larger than requests may be.
    TooBig(String),
    /// The disk refused.
    Disk(String),
}

impl Refusal {
    fn answer(&self) -> Response {
        let status = match self {
            Self::Wrong(_) => StatusCode::BAD_REQUEST,
            Self::Missing(_) => StatusCode::NOT_FOUND,
            Self::Conflict(_) => StatusCode::CONFLICT,
            Self::TooBig(_) => StatusCode::PAYLOAD_TOO_LARGE,
            Self::Disk(_) => StatusCode::SERVICE_UNAVAILABLE,
        };
        daemon::http::error(status, self.sentence())
    }

    fn sentence(&self) -> &str {
        match self {
            Self::Wrong(why)
            | Self::Missing(why)
            | Self::Conflict(why)
            | Self::TooBig(why)
            | Self::Disk(why) => why,
        }
    }
}
