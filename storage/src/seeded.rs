//! Twelve bugs that are planted on purpose, so that the tests which must find them can prove that they do. Only a
//! build with the feature `seeded-bugs` holds them, and only `NSQUBE_SEEDED_BUG=name` wakes one: in every other build
//! [`is_planted`] is the constant `false`, and what it guards is compiled away.

/// A planted bug: each is one that some queue has had.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bug {
    /// A publish at `fsync` is answered before the sync.
    AckBeforeSync,
    /// New files' names are not synced.
    SkipDirectorySync,
    /// Checksums are not compared.
    SkipChecksum,
    /// A sync that failed is tried again, and its success believed.
    RetrySync,
    /// A restart takes what was in flight for finished.
    DropInFlight,
    /// A restart takes what was deferred for due.
    LoseDeferral,
    /// A new channel is confirmed before it is in the journal.
    ForgetChannel,
    /// Recovery gives up at the first bad record.
    TruncateAtDamage,
    /// A FIN finishes the next message too.
    FinishTwo,
    /// A restart numbers messages from where the log happens to end.
    ReuseNumbers,
    /// The records of a batch do not know that they belong together.
    TearBatches,
    /// A restart forgets how often a message was delivered.
    ResetAttempts,
}

impl Bug {
    /// All of them.
    pub const ALL: [Self; 12] = [
        Self::AckBeforeSync,
        Self::SkipDirectorySync,
        Self::SkipChecksum,
        Self::RetrySync,
        Self::DropInFlight,
        Self::LoseDeferral,
        Self::ForgetChannel,
        Self::TruncateAtDamage,
        Self::FinishTwo,
        Self::ReuseNumbers,
        Self::TearBatches,
        Self::ResetAttempts,
    ];

    /// What wakes it.
    pub const fn name(self) -> &'static str {
        match self {
            Self::AckBeforeSync => "ack-before-sync",
            Self::SkipDirectorySync => "skip-directory-sync",
            Self::SkipChecksum => "skip-checksum",
            Self::RetrySync => "retry-sync",
            Self::DropInFlight => "drop-in-flight",
            Self::LoseDeferral => "lose-deferral",
            Self::ForgetChannel => "forget-channel",
            Self::TruncateAtDamage => "truncate-at-damage",
            Self::FinishTwo => "finish-two",
            Self::ReuseNumbers => "reuse-numbers",
            Self::TearBatches => "tear-batches",
            Self::ResetAttempts => "reset-attempts",
        }
    }
}

/// Whether `bug` is awake in this process.
#[cfg(feature = "seeded-bugs")]
pub fn is_planted(bug: Bug) -> bool {
    use std::sync::OnceLock;
    static AWAKE: OnceLock<String> = OnceLock::new();
    *AWAKE.get_or_init(|| std::env::var("NSQUBE_SEEDED_BUG").unwrap_or_default()) == bug.name()
}

/// Never: this build holds none of them.
#[cfg(not(feature = "seeded-bugs"))]
#[inline(always)]
pub const fn is_planted(_: Bug) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use super::{Bug, is_planted};

    #[test]
    fn no_bug_is_awake_unless_it_is_asked_for_by_its_own_name() {
        for (index, bug) in Bug::ALL.into_iter().enumerate() {
            assert!(!is_planted(bug), "{}", bug.name());
            assert!(Bug::ALL[..index].iter().all(|other| other.name() != bug.name()));
        }
    }
}
