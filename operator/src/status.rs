//! The conditions of a cluster, a topic or a channel, from what was seen of it. Values in, values out; who writes them
//! compares with what is there, so that nothing is written that says the same.

#[cfg(test)]
mod tests;

use protocol::control::Waiting;

use crate::conditions::{Reason, Said, Type};
use crate::drain::{Obstacle, Step, Why};
use crate::pods::Trouble;
use crate::rollout;
use crate::topology::Verdict;

/// What was seen of a cluster.
#[derive(Debug, Clone, Default)]
pub struct Facts {
    /// What is wrong with its spec, in sentences.
    pub problems: Vec<String>,
    /// Nothing is changed.
    pub is_paused: bool,
    /// What could not be written, and why.
    pub failure: Option<String>,
    /// Something was written whose effect is still to be seen.
    pub is_settling: bool,
    /// The brokers.
    pub brokers: Crew,
    /// The lookupds.
    pub lookupds: Crew,
    /// Brokers that have the whole topology, of those that are ready; and what the others lack.
    pub synced: u32,
    /// The first broker that has not, with the reason.
    pub out_of_sync: Option<String>,
    /// The topology does not fit into a ConfigMap: so many bytes.
    pub too_large: Option<usize>,
    /// Volumes that are not there yet, by name, with what Kubernetes says.
    pub volumes_pending: Vec<String>,
    /// A broker whose disk does not take every publish, and why.
    pub disk_trouble: Option<String>,
    /// Brokers have no volumes.
    pub is_ephemeral: bool,
    /// What is done about a broker that leaves.
    pub drain: Option<Step>,
    /// Messages that the broker that leaves still owes, and its name.
    pub leaving: Option<(String, u64)>,
    /// A newer operator would make pods anew.
    pub update_pending: bool,
}

/// The pods of one kind.
#[derive(Debug, Clone)]
pub struct Crew {
    /// `nsqd` or `nsqlookupd`, for messages.
    pub name: &'static str,
    /// As the spec says.
    pub wanted: u32,
    /// How many pods are ready.
    pub ready: u32,
    /// The first pod that does not come up, and why.
    pub trouble: Option<(String, Trouble)>,
    /// What is done about pods that do not run what is wanted.
    pub rollout: rollout::Step,
}

impl Default for Crew {
    fn default() -> Self {
        Self { name: "nsqd", wanted: 0, ready: 0, trouble: None, rollout: rollout::Step::Done }
    }
}

/// What is to be said of a cluster.
pub fn of_cluster(facts: &Facts) -> Vec<Said> {
    let mut said = vec![available(facts), topology(facts), storage(facts)];
    let stalled = stalled(facts);
    let reconciling = reconciling(facts);
    said.push(ready(facts, stalled.as_ref(), reconciling.as_ref()));
    said.extend(stalled);
    said.extend(reconciling);
    said.extend(scaling_down(facts));
    if facts.update_pending {
        let message = "a newer operator has newer images or templates; it restarts nothing by itself. Change the spec, or \
                       set the annotation nsqube.io/approve-update to the operator's version";
        said.push(Said::yes(Type::UpdatePending, Reason::OperatorUpgrade, message));
    }
    if facts.is_paused {
        let message = "spec.paused is true: nothing is changed until it is false";
        said.push(Said::yes(Type::Paused, Reason::PausedBySpec, message));
    }
    said
}

fn available(facts: &Facts) -> Said {
    let about = Type::Available;
    if facts.brokers.ready == 0 {
        return Said::no(about, Reason::NoBroker, "no broker is ready: nothing can be published");
    }
    if facts.lookupds.wanted > 0 && facts.lookupds.ready == 0 {
        return Said::no(about, Reason::NoLookupd, "no lookupd is ready: new consumers find no broker");
    }
    Said::yes(about, Reason::Serving, "messages can be published and consumed")
}

fn topology(facts: &Facts) -> Said {
    let about = Type::TopologySynced;
    if let Some(bytes) = facts.too_large {
        let message = format!(
            "all topics and channels together need {bytes} bytes of a ConfigMap, which has 1 MiB: use several clusters"
        );
        return Said::no(about, Reason::TopologyTooLarge, message);
    }
    let ready = facts.brokers.ready;
    match &facts.out_of_sync {
        Some(why) => Said::no(about, Reason::BrokersOutOfSync, why),
        None if facts.synced < ready => {
            let missing = ready - facts.synced;
            let message = format!("{missing} of {ready} brokers did not say what they have");
            Said::no(about, Reason::BrokersUnreachable, message)
        }
        None => {
            Said::yes(about, Reason::AllBrokers, "every broker that is ready has every topic and channel")
        }
    }
}

fn storage(facts: &Facts) -> Said {
    let about = Type::StorageHealthy;
    if let Some(trouble) = &facts.disk_trouble {
        return Said::no(about, Reason::DiskTrouble, trouble);
    }
    if facts.is_ephemeral {
        return Said::yes(about, Reason::Ephemeral, "brokers have no volumes: messages are lost with a pod");
    }
    match facts.volumes_pending.first() {
        Some(first) => Said::no(about, Reason::VolumePending, format!("a volume is not there yet: {first}")),
        None => Said::yes(about, Reason::VolumesBound, "every broker has its volume"),
    }
}

/// What does not go on until somebody does something.
fn stalled(facts: &Facts) -> Option<Said> {
    let yes = |reason, message: String| Some(Said::yes(Type::Stalled, reason, message));
    if !facts.problems.is_empty() {
        return yes(Reason::InvalidSpec, facts.problems.join("; "));
    }
    for crew in [&facts.brokers, &facts.lookupds] {
        if let rollout::Step::Stuck(ordinal) = crew.rollout {
            let why = crew.trouble.as_ref().map(|(_, trouble)| format!(": {}", trouble.message));
            let message = format!(
                "{} {ordinal} does not come up with the new settings{}; the others are left as they are until the \
                 spec is changed",
                crew.name,
                why.unwrap_or_default()
            );
            return yes(Reason::RolloutStuck, message);
        }
    }
    match &facts.drain {
        Some(Step::Blocked(obstacle)) => yes(reason_of(obstacle), obstacle.to_string()),
        _ => None,
    }
}

fn reconciling(facts: &Facts) -> Option<Said> {
    let yes = |reason, message: String| Some(Said::yes(Type::Reconciling, reason, message));
    if !facts.problems.is_empty() || facts.is_paused {
        return None;
    }
    if let Some(failure) = &facts.failure {
        return yes(Reason::ApplyFailed, failure.clone());
    }
    for crew in [&facts.brokers, &facts.lookupds] {
        match crew.rollout {
            rollout::Step::Restart(ordinal) | rollout::Step::Wait(ordinal) => {
                let message =
                    format!("{} {ordinal} is restarted with new settings, one at a time", crew.name);
                return yes(Reason::RollingUpdate, message);
            }
            rollout::Step::Done | rollout::Step::Stuck(_) => {}
        }
    }
    if facts.is_settling {
        return yes(
            Reason::Applying,
            "changes were written, and what becomes of them is not seen yet".to_owned(),
        );
    }
    for crew in [&facts.brokers, &facts.lookupds] {
        if crew.ready < crew.wanted {
            let message = format!("{} of {} {} are ready", crew.ready, crew.wanted, crew.name);
            return yes(Reason::WaitingForPods, message);
        }
    }
    match facts.drain {
        None | Some(Step::Nothing | Step::Blocked(_)) => None,
        Some(_) => yes(Reason::Draining, "the number of brokers is being changed".to_owned()),
    }
}

fn ready(facts: &Facts, stalled: Option<&Said>, reconciling: Option<&Said>) -> Said {
    let no = |reason, message: &str| Said::no(Type::Ready, reason, message);
    if let Some(said) = stalled.or(reconciling) {
        let trouble = [&facts.brokers, &facts.lookupds].into_iter().find_map(|crew| crew.trouble.as_ref());
        return match (said.reason, trouble) {
            // What Kubernetes says of a pod tells more than that one is waited for.
            (Reason::WaitingForPods | Reason::RollingUpdate, Some((pod, trouble))) => {
                no(trouble.reason, &format!("pod {pod}: {}", trouble.message))
            }
            (Reason::WaitingForPods, None) if facts.brokers.ready < facts.brokers.wanted => {
                no(Reason::BrokersNotReady, &said.message)
            }
            (Reason::WaitingForPods, None) => no(Reason::LookupdsNotReady, &said.message),
            _ => no(said.reason, &said.message),
        };
    }
    for part in [topology(facts), storage(facts)] {
        if part.is != Some(true) {
            return no(part.reason, &part.message);
        }
    }
    Said::yes(Type::Ready, Reason::AllReady, "all brokers and lookupds run as the spec says")
}

fn scaling_down(facts: &Facts) -> Option<Said> {
    let (name, remaining) = facts.leaving.as_ref()?;
    let yes = |reason, message: String| Some(Said::yes(Type::ScalingDown, reason, message));
    match facts.drain.as_ref()? {
        Step::Nothing | Step::Undrain(_) => None,
        Step::Blocked(obstacle) => yes(reason_of(obstacle), obstacle.to_string()),
        Step::Record(_) | Step::Drain(_) => {
            yes(Reason::Fencing, format!("{name} takes no publishes any more"))
        }
        Step::Wait | Step::Certify(_) => {
            yes(Reason::Draining, format!("{name} still owes its consumers {remaining} messages"))
        }
        Step::Retire(_) | Step::Scale(_) => {
            yes(Reason::Certified, format!("{name} is empty and is taken away"))
        }
    }
}

fn reason_of(obstacle: &Obstacle) -> Reason {
    match obstacle.why {
        Why::Unreachable => Reason::BrokerUnreachable,
        Why::NoOtherReady => Reason::NoOtherBroker,
        Why::NoConsumer(Waiting { .. }) => Reason::NoConsumer,
        Why::NoProgress(_) => Reason::NoProgress,
        Why::NotEmpty(_) => Reason::NotEmpty,
    }
}

/// What was seen of a topic or channel.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Presence {
    /// Brokers that have it as declared.
    pub present: u32,
    /// Brokers that are to have it.
    pub of: u32,
    /// What one of them has otherwise, if that is only reported or cannot be mended.
    pub drift: Option<String>,
    /// Nothing is set back, for somebody is at work there.
    pub is_held: bool,
}

/// What is to be said of a topic or channel. `verdict` is `None` where its cluster is not there.
pub fn of_declared(what: &str, cluster: &str, verdict: Option<&Verdict>, presence: &Presence) -> Vec<Said> {
    let not_ready = |reason, message: String| {
        vec![Said::no(Type::Ready, reason, message.clone()), Said::yes(Type::Stalled, reason, message)]
    };
    match verdict {
        None => not_ready(Reason::ClusterNotFound, format!("there is no NsqCluster {cluster}: create it")),
        Some(Verdict::NotAllowed) => not_ready(
            Reason::NamespaceNotAllowed,
            format!(
                "NsqCluster {cluster} takes none of other namespaces: set its spec.topics.allowedNamespaces.from to All"
            ),
        ),
        Some(Verdict::Conflict(winner)) => {
            not_ready(Reason::Conflict, format!("{winner} is older and has the name: delete one of them"))
        }
        Some(Verdict::TopicNotFound) => not_ready(
            Reason::TopicNotFound,
            "the NsqTopic of spec.topicRef is not there: create it".to_owned(),
        ),
        Some(Verdict::TopicNotAccepted) => not_ready(
            Reason::TopicNotAccepted,
            "the NsqTopic of spec.topicRef is not declared itself: look at its condition Ready".to_owned(),
        ),
        Some(Verdict::Going) => Vec::new(),
        Some(Verdict::Declared) => declared(what, presence),
    }
}

fn declared(what: &str, presence: &Presence) -> Vec<Said> {
    let Presence { present, of, drift, is_held } = presence;
    if let Some(drift) = drift {
        let reason = if *is_held { Reason::Held } else { Reason::Drifted };
        return vec![
            Said::yes(Type::Ready, Reason::Declared, format!("every broker has the {what}")),
            Said::no(Type::Synced, reason, drift),
        ];
    }
    if present < of {
        let message = format!("{present} of {of} brokers have the {what}");
        return vec![
            Said::no(Type::Ready, Reason::Declaring, message.clone()),
            Said::yes(Type::Reconciling, Reason::Declaring, message),
        ];
    }
    vec![
        Said::yes(Type::Ready, Reason::Declared, format!("every broker has the {what}")),
        Said::yes(Type::Synced, Reason::AllBrokers, "every broker has it as declared"),
    ]
}
