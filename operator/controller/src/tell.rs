//! Writing the status of a cluster, and Events for what changed of it. A status that says the same is not written.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{Condition, Time};
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use operator::children::{self, names};
use operator::conditions::{Said, Type, conditions};
use operator::plan::ClusterId;
use operator::pods::Seen;
use operator::resources::status::{DrainStatus, Endpoints, Members, TopologyStatus};
use operator::resources::{API_VERSION, NsqCluster, NsqClusterStatus};
use operator::status::{Crew, Facts};
use operator::topology::Resolved;
use serde_json::json;

use crate::apply::{STATUS_MANAGER, status_patch};
use crate::context::Context;
use crate::observe::Observed;

/// Fills in what is seen of pods.
pub fn crews(facts: &mut Facts, seen: &Observed, id: &ClusterId) {
    let brokers = seen.brokers.iter().map(|broker| broker.pod.as_ref());
    let spec = &seen.cluster.spec;
    let brokers = crew("nsqd", spec.brokers.replicas, brokers, &names::broker(&id.name));
    facts.brokers = Crew { rollout: facts.brokers.rollout, ..brokers };
    let lookupds = seen.lookupds.iter().map(Option::as_ref);
    let lookupds = crew("nsqlookupd", spec.lookupds.replicas, lookupds, &names::lookupd(&id.name));
    facts.lookupds = Crew { rollout: facts.lookupds.rollout, ..lookupds };
}

fn crew<'a>(
    name: &'static str,
    wanted: u32,
    pods: impl Iterator<Item = Option<&'a Seen>>,
    set: &str,
) -> Crew {
    let mut crew = Crew { name, wanted, ..Crew::default() };
    for (at, pod) in (0..).zip(pods) {
        crew.ready += u32::from(pod.is_some_and(Seen::is_ready));
        let trouble = pod.and_then(|pod| pod.trouble.clone());
        crew.trouble = crew.trouble.or(trouble.map(|trouble| (names::pod(set, at), trouble)));
    }
    crew
}

/// The whole status of a cluster; times of conditions are those of `seen`.
pub fn status_of(
    seen: &Observed,
    facts: &Facts,
    resolved: &Resolved,
    (epoch, hash): (u64, String),
    drain: Option<DrainStatus>,
    said: Vec<Said>,
) -> NsqClusterStatus {
    let cluster = &seen.cluster;
    let (name, namespace) = (cluster.name_any(), operator::resources::namespace_of(&**cluster));
    let count = |count: usize| i64::try_from(count).unwrap_or(i64::MAX);
    let before = cluster.status.as_ref().and_then(|status| status.topology.clone());
    let topology = TopologyStatus {
        epoch: i64::try_from(epoch).unwrap_or(i64::MAX),
        hash,
        topics: count(resolved.topics.len()),
        channels: count(resolved.topics.iter().map(|topic| topic.channels.len()).sum()),
        brokers_in_sync: i32::try_from(facts.synced).unwrap_or(i32::MAX),
    };
    let lookupds = (0..cluster.spec.lookupds.replicas).map(|at| {
        let set = names::lookupd(&name);
        format!("{}.{}.{namespace}.svc:{}", names::pod(&set, at), names::lookupds(&name), names::LOOKUPD_HTTP)
    });
    let service = names::broker(&name);
    let updated = |members: Vec<Option<operator::rollout::Member>>| {
        members.iter().flatten().filter(|member| member.is_updated).count()
    };
    NsqClusterStatus {
        observed_generation: cluster.metadata.generation.unwrap_or_default(),
        conditions: conditions(said, &[], cluster.metadata.generation.unwrap_or_default(), &Time(seen.now)),
        brokers: Some(members(
            cluster,
            "broker",
            &facts.brokers,
            seen.brokers.len(),
            updated(seen.broker_members("", None)),
        )),
        lookupds: Some(members(
            cluster,
            "lookupd",
            &facts.lookupds,
            seen.lookupds.len(),
            updated(seen.lookupd_members()),
        )),
        endpoints: Some(Endpoints {
            publish: format!("{service}.{namespace}.svc:{}", names::BROKER_TCP),
            publish_http: format!("http://{service}.{namespace}.svc:{}", names::BROKER_HTTP),
            lookupd_http: lookupds.collect(),
        }),
        topology: if topology.hash.is_empty() { before } else { Some(topology) },
        drain,
    }
}

fn members(cluster: &NsqCluster, component: &str, crew: &Crew, replicas: usize, updated: usize) -> Members {
    let number = |count: usize| i32::try_from(count).unwrap_or(i32::MAX);
    Members {
        replicas: number(replicas),
        ready: i32::try_from(crew.ready).unwrap_or(i32::MAX),
        updated: number(updated),
        summary: format!("{}/{}", crew.ready, crew.wanted),
        selector: children::selector_text(cluster, component),
    }
}

/// Writes the status of a cluster if it says something new.
///
/// # Errors
/// The API server refused it.
pub async fn cluster(
    context: &Context,
    id: &ClusterId,
    cluster: &NsqCluster,
    mut status: NsqClusterStatus,
) -> Result<(), String> {
    // The watch may be behind what was written a moment ago.
    let written = context.remembered(id).status.and_then(|value| serde_json::from_value(value).ok());
    let before: NsqClusterStatus = written.or_else(|| cluster.status.clone()).unwrap_or_default();
    keep_times(&mut status.conditions, &before.conditions);
    if status == before {
        return Ok(());
    }
    let api: Api<NsqCluster> = Api::namespaced(context.client.clone(), &id.namespace);
    let value = json!(status);
    let patch = Patch::Apply(status_patch(API_VERSION, "NsqCluster", &value));
    let params = PatchParams::apply(STATUS_MANAGER).force();
    let written = api.patch_status(&id.name, &params, &patch).await;
    written.map_err(|error| format!("status of {id}: {}", crate::told(&error)))?;
    context.metrics.wrote("status");
    context.remember(id, |memory| memory.status = Some(value));
    for (is_good, reason, note) in news(&before.conditions, &status.conditions) {
        context.event(cluster, is_good, &reason, &note).await;
    }
    Ok(())
}

/// A condition that says what it said has the time that it had.
pub fn keep_times(now: &mut [Condition], before: &[Condition]) {
    for condition in now {
        let old = before.iter().find(|old| old.type_ == condition.type_ && old.status == condition.status);
        if let Some(old) = old {
            condition.last_transition_time = old.last_transition_time.clone();
        }
    }
}

/// Not yet so, by what the operator does or by what has not been before: nothing to warn of.
fn is_underway(old: Option<&Condition>, new: &Condition) -> bool {
    let was_well = old.is_some_and(|old| old.status == "True");
    match new.reason.as_str() {
        "Applying" | "Draining" | "RollingUpdate" => true,
        "BrokersNotReady" | "LookupdsNotReady" | "VolumePending" => !was_well,
        _ => false,
    }
}

/// What people want to hear of: what stands still, what leaves, and when all is well again.
fn news(before: &[Condition], now: &[Condition]) -> Vec<(bool, String, String)> {
    let told = [Type::Ready, Type::Stalled, Type::ScalingDown, Type::StorageHealthy, Type::UpdatePending];
    let mut found = Vec::new();
    for about in told.map(|about| about.to_string()) {
        let old = before.iter().find(|it| it.type_ == about);
        let Some(new) = now.iter().find(|it| it.type_ == about) else { continue };
        if old.is_some_and(|old| old.reason == new.reason && old.status == new.status) {
            continue;
        }
        let is_bad = match about.as_str() {
            "Stalled" => true,
            "Ready" | "StorageHealthy" => new.status != "True" && !is_underway(old, new),
            _ => false,
        };
        // Not ready at the start of everything is no news.
        if about == "Ready" && old.is_none() && new.status != "True" {
            continue;
        }
        found.push((!is_bad, new.reason.clone(), new.message.clone()));
    }
    found
}

#[cfg(test)]
mod tests {
    use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;

    use super::*;

    fn condition(type_: &str, status: &str, reason: &str) -> Condition {
        Condition {
            type_: type_.to_owned(),
            status: status.to_owned(),
            reason: reason.to_owned(),
            message: "a sentence".to_owned(),
            last_transition_time: Time(jiff::Timestamp::UNIX_EPOCH),
            observed_generation: None,
        }
    }

    #[track_caller]
    fn check(before: &[Condition], now: &[Condition], expected: &[(bool, &str)]) {
        let found = news(before, now);
        let found: Vec<(bool, &str)> =
            found.iter().map(|(is_good, reason, _)| (*is_good, reason.as_str())).collect();
        assert_eq!(found, expected);
    }

    #[test]
    fn a_cluster_that_starts_warns_of_nothing() {
        let start =
            [condition("Ready", "False", "Applying"), condition("StorageHealthy", "False", "VolumePending")];
        check(&[], &start, &[(true, "VolumePending")]);
        let pods = [
            condition("Ready", "False", "BrokersNotReady"),
            condition("StorageHealthy", "True", "VolumesBound"),
        ];
        check(&start, &pods, &[(true, "BrokersNotReady"), (true, "VolumesBound")]);
    }

    #[test]
    fn what_was_well_and_is_not_is_warned_of_and_what_is_at_work_is_not() {
        let well = [condition("Ready", "True", "AllReady")];
        check(&well, &[condition("Ready", "False", "BrokersNotReady")], &[(false, "BrokersNotReady")]);
        check(&well, &[condition("Ready", "False", "RollingUpdate")], &[(true, "RollingUpdate")]);
        check(&well, &[condition("Ready", "False", "ImageNotPulled")], &[(false, "ImageNotPulled")]);
        check(&well, &[condition("Stalled", "True", "NoConsumer")], &[(false, "NoConsumer")]);
        check(&well, &well, &[]);
    }
}
