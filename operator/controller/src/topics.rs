//! NsqTopics and NsqChannels: what becomes of each, their status, and their deletion on the brokers. Their finalizer is
//! there only while a deletion has something to do on brokers, and never outlives the cluster.

use std::collections::BTreeMap;

use futures::future::join_all;
use futures::{StreamExt as _, stream};
use jiff::Timestamp;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::Time;
use kube::api::{Patch, PatchParams};
use kube::{Api, ResourceExt as _};
use operator::claims;
use operator::conditions::{Reason, Said, Type, conditions};
use operator::plan::ClusterId;
use operator::resources::{API_VERSION, DriftPolicy, NsqChannel, NsqChannelStatus, NsqTopic, NsqTopicStatus};
use operator::status::{Presence, of_declared};
use operator::topology::{Claims, Deletion, Resolved, ResourceId, Verdict};
use protocol::control::{DeclaredTopic, DeleteRequest};
use serde_json::{Value, json};

use crate::agenda::Outcome;
use crate::apply::{STATUS_MANAGER, gone, status_patch};
use crate::brokers::Refusal;
use crate::context::Context;
use crate::observe::Observed;
use crate::tell::keep_times;
use crate::watches::Wish;

/// Writes at once, among thousands.
const AT_ONCE: usize = 16;

/// Every topic and channel there is, as claims.
pub fn claims(context: &Context, now: Timestamp) -> Claims {
    let policies: BTreeMap<ClusterId, DriftPolicy> = context
        .world
        .clusters
        .all()
        .map(|cluster| {
            let ResourceId { namespace, name } = claims::id(&*cluster);
            (ClusterId { namespace, name }, cluster.spec.topics.drift_policy)
        })
        .collect();
    let of = |id: &ClusterId| policies.get(id).copied().unwrap_or_default();
    let topics: Vec<_> = context.world.topics.all().map(|it| claims::topic(&it, of, now)).collect();
    let by_topic: BTreeMap<&ResourceId, &ClusterId> = topics.iter().map(|it| (&it.id, &it.cluster)).collect();
    let channels = context.world.channels.all().filter_map(|channel| {
        let topic = channel.spec.topic_ref.as_ref().map(|topic| ResourceId {
            namespace: channel.namespace().unwrap_or_default(),
            name: topic.name.clone(),
        });
        let own = topic.and_then(|topic| by_topic.get(&topic).copied());
        claims::channel(&channel, |named| named.or(own).map(of).unwrap_or_default(), now)
    });
    let channels: Vec<_> = channels.collect();
    Claims::new(topics.clone(), channels)
}

/// The status of every topic and channel of a cluster that says something new, and finalizers where they belong.
///
/// # Errors
/// The API server refused one of them; the others are written.
pub async fn tell(
    context: &Context,
    id: &ClusterId,
    seen: &Observed,
    claims: &Claims,
    resolved: &Resolved,
) -> Result<(), String> {
    let presences = Presences::new(context, id, seen);
    let cluster = id.to_string();
    let mut writes: Vec<Write> = Vec::new();
    for claim in claims.topics().iter().filter(|claim| claim.cluster == *id) {
        let Some(topic) = context.world.topics.find(&claim.id.namespace, &claim.id.name) else { continue };
        let verdict = resolved.of_topics.get(&claim.id);
        let presence = presences.of(&claim.topic, None, claims::is_held(&*topic, seen.now));
        let said = of_declared("topic", &cluster, verdict, &presence);
        writes.extend(topic_write(&topic, said, &presence, seen.now));
    }
    for claim in claims.channels().iter().filter(|claim| claims.cluster_of(claim) == Some(id)) {
        let Some(channel) = context.world.channels.find(&claim.id.namespace, &claim.id.name) else {
            continue;
        };
        let verdict = resolved.of_channels.get(&claim.id);
        let topic = claims.topic_of(claim).unwrap_or_default();
        let presence = presences.of(&topic, Some(&claim.channel), claims::is_held(&*channel, seen.now));
        let said = of_declared("channel", &cluster, verdict, &presence);
        writes.extend(channel_write(&channel, &topic, said, &presence, seen.now));
    }
    write_all(context, writes).await
}

/// How brokers have what is declared.
struct Presences<'a> {
    /// What each broker that counts has confirmed.
    confirmed: Vec<std::sync::Arc<Vec<DeclaredTopic>>>,
    of: u32,
    /// What each broker that was asked has otherwise.
    drift: BTreeMap<(&'a str, Option<&'a str>), String>,
}

impl<'a> Presences<'a> {
    /// A broker counts once it was ready with a topology; one that starts is not waited for, since it has everything
    /// before it is ready.
    fn new(context: &Context, id: &ClusterId, seen: &'a Observed) -> Self {
        let confirmed = context.remembered(id).confirmed;
        let unknown =
            seen.brokers.iter().filter(|it| it.is_ready() && !confirmed.contains_key(it.name())).count();
        let mut drift = BTreeMap::new();
        for broker in &seen.brokers {
            for found in broker.topology.iter().flat_map(|report| &report.drift) {
                let key = (found.topic.as_str(), found.channel.as_deref());
                drift.entry(key).or_insert_with(|| format!("{}: it {}", broker.name(), found.what));
            }
        }
        let of = u32::try_from(confirmed.len() + unknown).unwrap_or(u32::MAX);
        Self { confirmed: confirmed.into_values().collect(), of, drift }
    }

    fn of(&self, topic: &str, channel: Option<&str>, is_held: bool) -> Presence {
        let has = |topics: &&std::sync::Arc<Vec<DeclaredTopic>>| {
            let found =
                topics.binary_search_by(|it| it.name.as_str().cmp(topic)).ok().and_then(|at| topics.get(at));
            found.is_some_and(|found| {
                channel.is_none_or(|name| found.channels.iter().any(|it| it.name == name))
            })
        };
        let present = self.confirmed.iter().filter(has).count();
        Presence {
            present: u32::try_from(present).unwrap_or(u32::MAX),
            of: self.of,
            drift: self.drift.get(&(topic, channel)).cloned(),
            is_held,
        }
    }
}

/// A status, and perhaps finalizers, to be written.
struct Write {
    kind: &'static str,
    id: ResourceId,
    status: Option<Value>,
    finalizers: Option<Value>,
}

fn topic_write(topic: &NsqTopic, said: Vec<Said>, presence: &Presence, now: Timestamp) -> Option<Write> {
    let before = topic.status.clone().unwrap_or_default();
    let generation = topic.metadata.generation.unwrap_or_default();
    let mut status = NsqTopicStatus {
        observed_generation: generation,
        conditions: conditions(said, &[], generation, &Time(now)),
        topic_name: Some(topic.topic_name()),
        brokers: (presence.of > 0).then(|| format!("{}/{}", presence.present, presence.of)),
    };
    keep_times(&mut status.conditions, &before.conditions);
    // While it goes, `finish` says why it does not.
    let is_going = topic.metadata.deletion_timestamp.is_some();
    let status = (!is_going && status != before).then(|| json!(status));
    let finalizers = wanted_finalizers(topic, claims::needs_finalizer(topic.spec.deletion_policy));
    let write = Write { kind: "NsqTopic", id: claims::id(topic), status, finalizers };
    (write.status.is_some() || write.finalizers.is_some()).then_some(write)
}

fn channel_write(
    channel: &NsqChannel,
    topic: &str,
    said: Vec<Said>,
    presence: &Presence,
    now: Timestamp,
) -> Option<Write> {
    let before = channel.status.clone().unwrap_or_default();
    let generation = channel.metadata.generation.unwrap_or_default();
    let mut status = NsqChannelStatus {
        observed_generation: generation,
        conditions: conditions(said, &[], generation, &Time(now)),
        topic_name: (!topic.is_empty()).then(|| topic.to_owned()),
        channel_name: Some(channel.channel_name()),
        brokers: (presence.of > 0).then(|| format!("{}/{}", presence.present, presence.of)),
    };
    keep_times(&mut status.conditions, &before.conditions);
    let is_going = channel.metadata.deletion_timestamp.is_some();
    let status = (!is_going && status != before).then(|| json!(status));
    let finalizers = wanted_finalizers(channel, claims::needs_finalizer(channel.spec.deletion_policy));
    let write = Write { kind: "NsqChannel", id: claims::id(channel), status, finalizers };
    (write.status.is_some() || write.finalizers.is_some()).then_some(write)
}

/// The patch that gives a resource its finalizer or takes it; of one that is being deleted it is `finish`'s matter.
fn wanted_finalizers(resource: &impl kube::Resource, needs: bool) -> Option<Value> {
    let has = resource.finalizers().iter().any(|name| name == claims::FINALIZER);
    let is_going = resource.meta().deletion_timestamp.is_some();
    if is_going && has && claims::is_abandoned(resource) {
        return Some(finalizers(resource, false));
    }
    (!is_going && has != needs).then(|| finalizers(resource, needs))
}

fn finalizers(resource: &impl kube::Resource, with: bool) -> Value {
    let mut all: Vec<&str> = resource.finalizers().iter().map(String::as_str).collect();
    all.retain(|name| *name != claims::FINALIZER);
    if with {
        all.push(claims::FINALIZER);
    }
    // Refused if somebody else wrote meanwhile: a list is replaced as a whole.
    json!({ "metadata": { "finalizers": all, "resourceVersion": resource.resource_version() } })
}

async fn write_all(context: &Context, writes: Vec<Write>) -> Result<(), String> {
    let done: Vec<_> = stream::iter(writes.into_iter().map(|write| one(context, write)))
        .buffer_unordered(AT_ONCE)
        .collect()
        .await;
    done.into_iter().collect()
}

async fn one(context: &Context, write: Write) -> Result<(), String> {
    let Write { kind, id, status, finalizers } = write;
    let told = |error: kube::Error| format!("{kind} {id}: {}", crate::told(&error));
    if let Some(finalizers) = finalizers {
        patch(context, kind, &id, &finalizers, false).await.map_err(told)?;
        context.metrics.wrote("finalizers");
    }
    if let Some(status) = status {
        let body = status_patch(API_VERSION, kind, &status);
        patch(context, kind, &id, &body, true).await.map_err(told)?;
        context.metrics.wrote("status");
    }
    Ok(())
}

async fn patch(
    context: &Context,
    kind: &str,
    id: &ResourceId,
    body: &Value,
    is_status: bool,
) -> kube::Result<()> {
    let params = PatchParams::apply(STATUS_MANAGER).force();
    let patched = match (kind, is_status) {
        ("NsqTopic", true) => {
            let api: Api<NsqTopic> = Api::namespaced(context.client.clone(), &id.namespace);
            api.patch_status(&id.name, &params, &Patch::Apply(body)).await.map(drop)
        }
        ("NsqTopic", false) => {
            let api: Api<NsqTopic> = Api::namespaced(context.client.clone(), &id.namespace);
            api.patch(&id.name, &PatchParams::default(), &Patch::Merge(body)).await.map(drop)
        }
        (_, true) => {
            let api: Api<NsqChannel> = Api::namespaced(context.client.clone(), &id.namespace);
            api.patch_status(&id.name, &params, &Patch::Apply(body)).await.map(drop)
        }
        (_, false) => {
            let api: Api<NsqChannel> = Api::namespaced(context.client.clone(), &id.namespace);
            api.patch(&id.name, &PatchParams::default(), &Patch::Merge(body)).await.map(drop)
        }
    };
    // Deleted meanwhile, or changed: the next look sees it.
    gone(patched)
}

/// Deletes on every broker what is going, and lets its resource go when that is done. Whether one of them waits.
pub async fn finish(context: &Context, id: &ClusterId, seen: &Observed, resolved: &Resolved) -> bool {
    let mut waits = false;
    for (resource, verdict) in &resolved.of_channels {
        if *verdict == Verdict::Going
            && let Some(channel) = context.world.channels.find(&resource.namespace, &resource.name)
        {
            let deletion = resolved.deletions.iter().find(|it| it.id == *resource && it.channel.is_some());
            waits |= finish_one(context, id, seen, &*channel, "NsqChannel", deletion).await;
        }
    }
    for (resource, verdict) in &resolved.of_topics {
        if *verdict == Verdict::Going
            && let Some(topic) = context.world.topics.find(&resource.namespace, &resource.name)
        {
            let deletion = resolved.deletions.iter().find(|it| it.id == *resource && it.channel.is_none());
            waits |= finish_one(context, id, seen, &*topic, "NsqTopic", deletion).await;
        }
    }
    waits
}

async fn finish_one(
    context: &Context,
    id: &ClusterId,
    seen: &Observed,
    resource: &(impl kube::Resource<DynamicType = ()> + serde::Serialize),
    kind: &'static str,
    deletion: Option<&Deletion>,
) -> bool {
    if !resource.finalizers().iter().any(|name| name == claims::FINALIZER) {
        return false;
    }
    let blocked = match deletion {
        Some(deletion) if !deletion.still_declared && !claims::is_abandoned(resource) => {
            delete(seen, deletion).await.err()
        }
        _ => None,
    };
    let waits = blocked.is_some();
    let write = match blocked {
        None => {
            let note = format!("{kind} {} is deleted on every broker of {id}", claims::id(resource));
            tracing::info!(cluster = %id, resource = %claims::id(resource), kind, "let go");
            context.event(resource, true, "Deleted", &note).await;
            Write {
                kind,
                id: claims::id(resource),
                status: None,
                finalizers: Some(finalizers(resource, false)),
            }
        }
        Some((reason, message)) => {
            let status = blocked_status(resource, reason, &message, seen.now);
            Write { kind, id: claims::id(resource), status, finalizers: None }
        }
    };
    if let Err(error) = one(context, write).await {
        tracing::warn!(cluster = %id, error, "cannot let a deleted resource go");
        return true;
    }
    waits
}

/// The status that says why a resource is still there, if it does not say so already.
fn blocked_status(
    resource: &(impl kube::Resource<DynamicType = ()> + serde::Serialize),
    reason: Reason,
    message: &str,
    now: Timestamp,
) -> Option<Value> {
    let before = json!(resource).get("status").cloned().unwrap_or_default();
    let mut old: Vec<k8s_openapi::apimachinery::pkg::apis::meta::v1::Condition> = before
        .get("conditions")
        .cloned()
        .and_then(|all| serde_json::from_value(all).ok())
        .unwrap_or_default();
    let generation = resource.meta().generation.unwrap_or_default();
    let said = vec![Said::yes(Type::DeletionBlocked, reason, message)];
    let mut made = conditions(said, &[], generation, &Time(now));
    keep_times(&mut made, &old);
    if made.iter().all(|new| old.contains(new)) {
        return None;
    }
    old.retain(|it| made.iter().all(|new| new.type_ != it.type_));
    old.extend(made);
    let mut status = before;
    let fields = status.as_object_mut()?;
    fields.insert("conditions".to_owned(), json!(old));
    fields.insert("observedGeneration".to_owned(), json!(generation));
    Some(status)
}

async fn delete(seen: &Observed, deletion: &Deletion) -> Result<(), (Reason, String)> {
    if seen.brokers.is_empty() {
        let message = "no broker runs, and volumes keep what they have: scale up first".to_owned();
        return Err((Reason::BrokersUnreachable, message));
    }
    let request = DeleteRequest {
        topic: deletion.topic.clone(),
        channel: deletion.channel.clone(),
        only_if_empty: deletion.only_if_empty,
    };
    let asked = seen.brokers.iter().map(|broker| async {
        let Some(port) = &broker.port else {
            return Err((Reason::BrokersUnreachable, format!("{} cannot be asked", broker.name())));
        };
        port.delete(&request).await.map_err(|refusal| match refusal {
            Refusal::Refused(why) => (Reason::NotEmpty, format!("{}: {why}", broker.name())),
            other => (Reason::BrokersUnreachable, format!("{}: {other}", broker.name())),
        })
    });
    join_all(asked).await.into_iter().collect()
}

/// Topics and channels of a cluster that is not there: they say so, and none that is going waits for it.
///
/// # Errors
/// The API server refused one of them.
pub async fn without_cluster(context: &Context, id: &ClusterId) -> Result<(), String> {
    let now = Timestamp::now();
    let claims = claims(context, now);
    let mut writes = Vec::new();
    let none = Presence::default();
    for claim in claims.topics().iter().filter(|claim| claim.cluster == *id) {
        let Some(topic) = context.world.topics.find(&claim.id.namespace, &claim.id.name) else { continue };
        let said = of_declared("topic", &id.to_string(), None, &none);
        writes.extend(let_go(&*topic, "NsqTopic").or_else(|| topic_write(&topic, said, &none, now)));
    }
    for claim in claims.channels().iter().filter(|claim| claims.cluster_of(claim) == Some(id)) {
        let Some(channel) = context.world.channels.find(&claim.id.namespace, &claim.id.name) else {
            continue;
        };
        let said = of_declared("channel", &id.to_string(), None, &none);
        let topic = claims.topic_of(claim).unwrap_or_default();
        writes.extend(
            let_go(&*channel, "NsqChannel").or_else(|| channel_write(&channel, &topic, said, &none, now)),
        );
    }
    write_all(context, writes).await
}

fn let_go(resource: &impl kube::Resource, kind: &'static str) -> Option<Write> {
    let is_held = resource.finalizers().iter().any(|name| name == claims::FINALIZER);
    let waits = is_held && resource.meta().deletion_timestamp.is_some();
    let finalizers = waits.then(|| finalizers(resource, false))?;
    Some(Write { kind, id: claims::id(resource), status: None, finalizers: Some(finalizers) })
}

/// The channels of a namespace that name an NsqTopic: those whose topic is there are their cluster's matter, the others
/// say that it is not.
///
/// # Errors
/// The API server refused one of them.
pub async fn orphans(context: &Context, namespace: &str) -> Result<Outcome, String> {
    let now = Timestamp::now();
    let claims = claims(context, now);
    let mut writes = Vec::new();
    let none = Presence::default();
    for claim in claims.channels().iter().filter(|claim| claim.id.namespace == namespace) {
        if let Some(key) = claims.cluster_of(claim) {
            let _stopping = context.wishes.send(Wish { key: key.clone(), is_wanted: true });
            continue;
        }
        let Some(channel) = context.world.channels.find(&claim.id.namespace, &claim.id.name) else {
            continue;
        };
        let said = of_declared("channel", "", Some(&Verdict::TopicNotFound), &none);
        writes.extend(
            let_go(&*channel, "NsqChannel").or_else(|| channel_write(&channel, "", said, &none, now)),
        );
    }
    write_all(context, writes).await?;
    Ok(Outcome::Gone)
}
