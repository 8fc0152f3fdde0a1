//! Conditions: the types and reasons that resources may show, a closed set, and how a condition keeps the time of its
//! last change. docs/operator/conditions.md explains each; a test holds them together.

use std::fmt;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};

/// What a condition is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Type {
    /// It is as its spec says.
    Ready,
    /// Clients can publish and consume.
    Available,
    /// The operator is at work on it. Not there otherwise.
    Reconciling,
    /// It does not go on until somebody does something. Not there otherwise.
    Stalled,
    /// Every broker has every declared topic and channel.
    TopologySynced,
    /// Every broker has its volume.
    StorageHealthy,
    /// A broker is on its way out. Not there otherwise.
    ScalingDown,
    /// A newer operator would make pods anew and waits to be told. Not there otherwise.
    UpdatePending,
    /// The operator was told to leave it alone. Not there otherwise.
    Paused,
    /// Every broker has it as declared.
    Synced,
    /// Its deletion waits. Not there otherwise.
    DeletionBlocked,
}

impl Type {
    /// Every type.
    pub const ALL: [Self; 11] = [
        Self::Ready,
        Self::Available,
        Self::Reconciling,
        Self::Stalled,
        Self::TopologySynced,
        Self::StorageHealthy,
        Self::ScalingDown,
        Self::UpdatePending,
        Self::Paused,
        Self::Synced,
        Self::DeletionBlocked,
    ];
}

/// Why a condition is as it is. The variants are the words themselves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
#[expect(missing_docs, reason = "each is explained for users in docs/operator/conditions.md")]
pub enum Reason {
    AllReady,
    InvalidSpec,
    BrokersNotReady,
    LookupdsNotReady,
    ApplyFailed,
    ImageNotPulled,
    PodsCrash,
    PodsNotScheduled,
    Serving,
    NoBroker,
    NoLookupd,
    Applying,
    WaitingForPods,
    RollingUpdate,
    RolloutStuck,
    AllBrokers,
    BrokersOutOfSync,
    BrokersUnreachable,
    TopologyTooLarge,
    VolumesBound,
    VolumePending,
    DiskTrouble,
    Ephemeral,
    Fencing,
    Draining,
    Certified,
    BrokerUnreachable,
    NoOtherBroker,
    NoConsumer,
    NoProgress,
    NotEmpty,
    OperatorUpgrade,
    PausedBySpec,
    Declared,
    Declaring,
    Drifted,
    Held,
    ClusterNotFound,
    NamespaceNotAllowed,
    Conflict,
    TopicNotFound,
    TopicNotAccepted,
}

impl Reason {
    /// Every reason.
    pub const ALL: [Self; 42] = [
        Self::AllReady,
        Self::InvalidSpec,
        Self::BrokersNotReady,
        Self::LookupdsNotReady,
        Self::ApplyFailed,
        Self::ImageNotPulled,
        Self::PodsCrash,
        Self::PodsNotScheduled,
        Self::Serving,
        Self::NoBroker,
        Self::NoLookupd,
        Self::Applying,
        Self::WaitingForPods,
        Self::RollingUpdate,
        Self::RolloutStuck,
        Self::AllBrokers,
        Self::BrokersOutOfSync,
        Self::BrokersUnreachable,
        Self::TopologyTooLarge,
        Self::VolumesBound,
        Self::VolumePending,
        Self::DiskTrouble,
        Self::Ephemeral,
        Self::Fencing,
        Self::Draining,
        Self::Certified,
        Self::BrokerUnreachable,
        Self::NoOtherBroker,
        Self::NoConsumer,
        Self::NoProgress,
        Self::NotEmpty,
        Self::OperatorUpgrade,
        Self::PausedBySpec,
        Self::Declared,
        Self::Declaring,
        Self::Drifted,
        Self::Held,
        Self::ClusterNotFound,
        Self::NamespaceNotAllowed,
        Self::Conflict,
        Self::TopicNotFound,
        Self::TopicNotAccepted,
    ];
}

impl fmt::Display for Type {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

/// One condition, without its times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// What it is about.
    pub about: Type,
    /// `True`, `False`, or `Unknown` for `None`.
    pub is: Option<bool>,
    /// Why.
    pub reason: Reason,
    /// For people: what is so, and what to do about it.
    pub message: String,
}

impl Said {
    /// It is so.
    pub fn yes(about: Type, reason: Reason, message: impl Into<String>) -> Self {
        Self { about, is: Some(true), reason, message: message.into() }
    }

    /// It is not so.
    pub fn no(about: Type, reason: Reason, message: impl Into<String>) -> Self {
        Self { about, is: Some(false), reason, message: message.into() }
    }
}

/// Longer messages are cut: the API server refuses those of more than 32768 bytes.
const MESSAGE_MAX: usize = 2000;

/// `said` as conditions of `generation`. One whose status is as in `before` keeps its time.
pub fn conditions(said: Vec<Said>, before: &[Condition], generation: i64, now: &Time) -> Vec<Condition> {
    let mut said = said;
    said.sort_by_key(|said| said.about);
    let made = said.into_iter().map(|Said { about, is, reason, message }| {
        let type_ = about.to_string();
        let status = match is {
            Some(true) => "True",
            Some(false) => "False",
            None => "Unknown",
        };
        let old = before.iter().find(|old| old.type_ == type_ && old.status == status);
        Condition {
            last_transition_time: old.map_or_else(|| now.clone(), |old| old.last_transition_time.clone()),
            message: message.chars().take(MESSAGE_MAX).collect(),
            observed_generation: Some(generation),
            reason: reason.to_string(),
            status: status.to_owned(),
            type_,
        }
    });
    made.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Time {
        Time(jiff::Timestamp::from_second(second).unwrap())
    }

    #[test]
    fn a_condition_keeps_the_time_at_which_it_last_became_another() {
        let ready = |is, message: &str| {
            let said = Said { about: Type::Ready, is, reason: Reason::AllReady, message: message.to_owned() };
            vec![said]
        };
        let first = conditions(ready(Some(true), "a"), &[], 1, &at(10));
        let same = conditions(ready(Some(true), "b"), &first, 2, &at(20));
        assert_eq!((&same[0].last_transition_time, same[0].observed_generation), (&at(10), Some(2)));
        let other = conditions(ready(None, "b"), &same, 2, &at(30));
        assert_eq!((&other[0].last_transition_time, other[0].status.as_str()), (&at(30), "Unknown"));
    }

    #[test]
    fn every_type_and_reason_is_explained_to_users() {
        let page = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("../docs/operator/conditions.md");
        let page = std::fs::read_to_string(page).unwrap();
        for word in Type::ALL.map(|it| it.to_string()).into_iter().chain(Reason::ALL.map(|it| it.to_string()))
        {
            assert!(
                page.contains(&format!("`{word}`")),
                "docs/operator/conditions.md does not explain {word}"
            );
        }
    }
}
