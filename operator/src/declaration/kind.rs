//! The kinds a declaration may hold.

use crate::nearest::nearest;
use crate::resources::API_VERSION;

/// One of our three kinds.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Kind {
    Cluster,
    Topic,
    Channel,
}

impl Kind {
    const ALL: [Self; 3] = [Self::Cluster, Self::Topic, Self::Channel];

    /// As `kind:` has it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Cluster => "NsqCluster",
            Self::Topic => "NsqTopic",
            Self::Channel => "NsqChannel",
        }
    }

    /// The kind of a document.
    ///
    /// # Errors
    /// The field that is wrong, what is wrong with it, and a hint.
    pub(super) fn of(
        api_version: Option<&str>,
        kind: Option<&str>,
    ) -> Result<Self, (&'static str, String, Option<String>)> {
        let all = || Self::ALL.map(Self::name).join(", ");
        let Some(kind) = kind else {
            return Err((
                "kind",
                "a document without kind".to_owned(),
                Some(format!("write one of {}", all())),
            ));
        };
        let Some(known) = Self::ALL.into_iter().find(|known| known.name() == kind) else {
            let hint = match nearest(kind, Self::ALL.map(Self::name)) {
                Some(name) => format!("did you mean {name:?}?"),
                None => format!("known here: {}", all()),
            };
            return Err(("kind", format!("unknown kind {kind:?}"), Some(hint)));
        };
        match api_version {
            Some(API_VERSION) => Ok(known),
            Some(other) => {
                Err(("apiVersion", format!("unknown apiVersion {other:?} of {kind}"), write_version()))
            }
            None => Err(("kind", format!("{kind} without apiVersion"), write_version())),
        }
    }
}

fn write_version() -> Option<String> {
    Some(format!("write apiVersion: {API_VERSION}"))
}
