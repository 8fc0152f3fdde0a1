//! The promise given for an appended message: kept when its batch is with the kernel, broken when the
//! write failed. One allocation per batch, not per message.

use std::sync::{Arc, OnceLock};

/// Why an append did not become part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublishError {
    /// The topic is being deleted, or the broker stops.
    Exiting,
    /// The disk refused; the text says how.
    Refused(String),
}

impl std::fmt::Display for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exiting => f.write_str("exiting"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

/// All that was appended to a topic between two commits: it is kept or lost together.
#[derive(Debug, Default)]
pub(crate) struct Batch(OnceLock<Result<(), PublishError>>);

/// A publisher's share in a batch.
#[derive(Debug, Clone)]
pub(crate) struct Receipt(Arc<Batch>);

impl Batch {
    /// A share for one publisher.
    pub(crate) fn receipt(self: &Arc<Self>) -> Receipt {
        Receipt(Arc::clone(self))
    }

    /// The commit is over; only the first outcome counts.
    pub(crate) fn settle(&self, outcome: Result<(), PublishError>) {
        let _already_settled = self.0.set(outcome);
    }
}

impl Receipt {
    /// A receipt for nothing: what an ephemeral topic gives for a message it drops.
    pub(crate) fn kept() -> Self {
        let batch = Arc::new(Batch::default());
        batch.settle(Ok(()));
        batch.receipt()
    }

    /// How the commit ended, if it has.
    pub(crate) fn outcome(&self) -> Option<&Result<(), PublishError>> {
        self.0.0.get()
    }

    /// Do both wait for the same commit?
    pub(crate) fn is_same_batch(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
