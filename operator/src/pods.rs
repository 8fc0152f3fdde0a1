//! What a pod's status says, as the rules need it: whether it is ready and since when, whether it was made from the
//! template as it is now, and what keeps it from coming up.

use std::net::IpAddr;

use jiff::Timestamp;
use k8s_openapi::api::core::v1::{ContainerStatus, Pod};

use crate::conditions::Reason;

/// The label by which a StatefulSet says what a pod was made from.
const REVISION: &str = "controller-revision-hash";

/// One pod of a StatefulSet.
#[derive(Debug, Clone, PartialEq)]
pub struct Seen {
    /// Its metadata.name.
    pub name: String,
    /// It is another pod when this is another.
    pub uid: String,
    /// Where it is reached, once it has an address.
    pub ip: Option<IpAddr>,
    /// Since when Kubernetes says that it is ready.
    pub ready_since: Option<Timestamp>,
    /// When it was made.
    pub made: Option<Timestamp>,
    /// What it was made from.
    pub revision: String,
    /// It is being deleted.
    pub is_going: bool,
    /// What keeps it from coming up, as far as that can be told.
    pub trouble: Option<Trouble>,
}

/// What keeps a pod from coming up.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Of conditions.
    pub reason: Reason,
    /// What Kubernetes says.
    pub message: String,
}

/// What `pod` says of itself.
pub fn seen(pod: &Pod) -> Seen {
    let status = pod.status.clone().unwrap_or_default();
    let ready = status.conditions.iter().flatten().find(|it| it.type_ == "Ready" && it.status == "True");
    let labels = pod.metadata.labels.as_ref();
    Seen {
        name: pod.metadata.name.clone().unwrap_or_default(),
        uid: pod.metadata.uid.clone().unwrap_or_default(),
        ip: status.pod_ip.as_deref().and_then(|ip| ip.parse().ok()),
        ready_since: ready.map(|it| it.last_transition_time.as_ref().map_or(Timestamp::MIN, |time| time.0)),
        made: pod.metadata.creation_timestamp.as_ref().map(|time| time.0),
        revision: labels.and_then(|labels| labels.get(REVISION)).cloned().unwrap_or_default(),
        is_going: pod.metadata.deletion_timestamp.is_some(),
        trouble: trouble(pod),
    }
}

impl Seen {
    /// It is ready, and not on its way out.
    pub fn is_ready(&self) -> bool {
        self.ready_since.is_some() && !self.is_going
    }

    /// It has been ready for `seconds`.
    pub fn is_available(&self, seconds: u32, now: Timestamp) -> bool {
        let since = self.ready_since.filter(|_| !self.is_going);
        since.is_some_and(|since| now.as_second() - since.as_second() >= i64::from(seconds))
    }
}

fn trouble(pod: &Pod) -> Option<Trouble> {
    let status = pod.status.as_ref()?;
    let unscheduled = status.conditions.iter().flatten();
    let mut unscheduled = unscheduled.filter(|it| it.type_ == "PodScheduled" && it.status == "False");
    if let Some(condition) = unscheduled.next_back() {
        let message = condition.message.clone().unwrap_or_default();
        return Some(Trouble { reason: Reason::PodsNotScheduled, message });
    }
    status.container_statuses.iter().flatten().find_map(waiting)
}

fn waiting(container: &ContainerStatus) -> Option<Trouble> {
    let waiting = container.state.as_ref()?.waiting.as_ref()?;
    let why = waiting.reason.as_deref().unwrap_or_default();
    let reason = match why {
        "ErrImagePull" | "ImagePullBackOff" | "InvalidImageName" | "ErrImageNeverPull" => {
            Reason::ImageNotPulled
        }
        "CrashLoopBackOff" | "RunContainerError" | "CreateContainerError" | "CreateContainerConfigError" => {
            Reason::PodsCrash
        }
        _ => return None,
    };
    let ended = container.last_state.as_ref().and_then(|state| state.terminated.as_ref());
    let ended =
        ended.map(|ended| format!(" (it ended with {}, {})", ended.exit_code, or_unknown(&ended.reason)));
    let message = waiting.message.as_deref().unwrap_or_default();
    Some(Trouble { reason, message: format!("{why}: {message}{}", ended.unwrap_or_default()) })
}

fn or_unknown(reason: &Option<String>) -> &str {
    reason.as_deref().unwrap_or("for no reason that is told")
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn of(status: serde_json::Value) -> Seen {
        let pod = json!({ "metadata": { "name": "p-0", "labels": { REVISION: "r1" } }, "status": status });
        seen(&serde_json::from_value(pod).unwrap())
    }

    #[test]
    fn a_pod_is_available_when_it_has_been_ready_for_long_enough() {
        let ready =
            json!([{ "type": "Ready", "status": "True", "lastTransitionTime": "2026-01-01T00:00:10Z" }]);
        let pod = of(json!({ "podIP": "10.1.2.3", "conditions": ready }));
        let at = |text: &str| text.parse().unwrap();
        assert!(!pod.is_available(5, at("2026-01-01T00:00:14Z")));
        assert!(pod.is_available(5, at("2026-01-01T00:00:15Z")));
        assert!(pod.is_ready() && !Seen { is_going: true, ..pod.clone() }.is_ready());
        assert_eq!((pod.ip, pod.revision.as_str()), (Some([10, 1, 2, 3].into()), "r1"));
    }

    #[test]
    fn what_keeps_a_pod_from_coming_up_is_told() {
        let waiting = |reason: &str| {
            let state = json!({ "waiting": { "reason": reason, "message": "why" } });
            let last = json!({ "terminated": { "exitCode": 1, "reason": "Error" } });
            of(json!({ "containerStatuses": [{ "name": "nsqd", "image": "i", "imageID": "", "ready": false,
                "restartCount": 1, "state": state, "lastState": last }] }))
        };
        let told = |pod: Seen| pod.trouble.map(|it| (it.reason, it.message));
        let pulled = "ImagePullBackOff: why (it ended with 1, Error)".to_owned();
        assert_eq!(told(waiting("ImagePullBackOff")), Some((Reason::ImageNotPulled, pulled)));
        assert!(matches!(told(waiting("CrashLoopBackOff")), Some((Reason::PodsCrash, _))));
        assert_eq!(told(waiting("ContainerCreating")), None);
        let scheduled = json!([{ "type": "PodScheduled", "status": "False", "message": "0/3 nodes" }]);
        let pod = of(json!({ "conditions": scheduled }));
        assert_eq!(told(pod), Some((Reason::PodsNotScheduled, "0/3 nodes".to_owned())));
    }
}
