//! Telling brokers what they must have. The ConfigMap is what counts, for brokers read it before they open their ports;
//! what is sent to them here is the same, sooner. One question per broker and look shows whether all of it is there.

use std::collections::HashSet;
use std::sync::Arc;

use futures::future::join_all;
use operator::children::declared::{Before, EPOCH, HASH};
use operator::children::names;
use operator::plan::ClusterId;
use protocol::control::{Topology, TopologyReport};

use kube::ResourceExt as _;

use crate::brokers::Refusal;
use crate::context::Context;
use crate::observe::{BrokerSeen, Observed};

/// The topology that was written last: as remembered, or as the ConfigMap says of itself.
pub fn before(context: &Context, id: &ClusterId) -> Before {
    let remembered = context.remembered(id).topology;
    let map = context.world.config_maps.find(&id.namespace, &names::topology(&id.name));
    let annotations = map.map(|map| map.annotations().clone()).unwrap_or_default();
    let epoch = annotations.get(EPOCH).and_then(|epoch| epoch.parse().ok()).unwrap_or_default();
    let seen = Before { epoch, hash: annotations.get(HASH).cloned().unwrap_or_default() };
    // A watch may be behind what was written a moment ago.
    if seen.epoch > remembered.epoch { seen } else { remembered }
}

/// Remembers what was written.
pub fn remember(context: &Context, id: &ClusterId, topology: &Topology) {
    let written = Before { epoch: topology.epoch, hash: topology.hash.clone() };
    context.remember(id, |memory| memory.topology = written);
}

/// How brokers stand to a topology.
#[derive(Debug, Default)]
pub struct Reports {
    /// How many of those that are ready have all of it.
    pub synced: u32,
    /// The first that has not, and what it lacks.
    pub out_of_sync: Option<String>,
}

/// Sends `topology` to every broker that has another one, and remembers who has confirmed it.
pub async fn push(context: &Context, id: &ClusterId, seen: &mut Observed, topology: &Topology) -> Reports {
    join_all(seen.brokers.iter_mut().map(|broker| push_one(id, broker, topology))).await;
    let mut reports = Reports::default();
    let topics = Arc::new(topology.topics.clone());
    for broker in &seen.brokers {
        let Some(report) = broker.topology.as_ref().filter(|report| report.hash == topology.hash) else {
            let why = broker.refusal.as_ref().filter(|_| broker.is_ready());
            let why = why.map(|why| format!("{}: {why}", broker.name()));
            reports.out_of_sync = reports.out_of_sync.take().or(why);
            continue;
        };
        let pod = broker.name().to_owned();
        context.remember(id, |memory| {
            memory.confirmed.insert(pod, Arc::clone(&topics));
        });
        match blocking(report) {
            Some(why) => {
                let why = format!("{}: {why}", broker.name());
                reports.out_of_sync = reports.out_of_sync.take().or(Some(why));
            }
            None if broker.is_ready() => reports.synced += 1,
            None => {}
        }
    }
    let there: HashSet<String> = seen.brokers.iter().map(|broker| broker.name().to_owned()).collect();
    // A broker that is gone for a moment has not lost anything; one whose place is gone has.
    let places = seen.brokers.len();
    context.remember(id, |memory| {
        memory.confirmed.retain(|pod, _| there.contains(pod) || memory_keeps(id, pod, places))
    });
    reports
}

fn memory_keeps(id: &ClusterId, pod: &str, places: usize) -> bool {
    let ordinal = names::ordinal(&names::broker(&id.name), pod);
    ordinal.is_some_and(|ordinal| (ordinal as usize) < places)
}

/// What a broker lacks and cannot get; what is only different from what is declared is its topic's matter.
fn blocking(report: &TopologyReport) -> Option<String> {
    let missing = report.drift.iter().find(|drift| drift.what.starts_with("is missing"))?;
    let channel = missing.channel.as_ref().map(|channel| format!("/{channel}")).unwrap_or_default();
    Some(format!("{}{channel} {}", missing.topic, missing.what))
}

async fn push_one(id: &ClusterId, broker: &mut BrokerSeen, topology: &Topology) {
    let has_it = broker.topology.as_ref().is_some_and(|report| report.hash == topology.hash);
    let Some(port) = broker.port.as_ref().filter(|_| !has_it && broker.topology.is_some()) else { return };
    match port.declare(topology).await {
        Ok(report) => {
            tracing::info!(
                cluster = %id, broker = broker.name(), epoch = topology.epoch, topics = topology.topics.len(),
                "has the topology"
            );
            broker.topology = Some(report);
        }
        Err(refusal) => {
            tracing::warn!(cluster = %id, broker = broker.name(), %refusal, "did not take the topology");
            broker.refusal = Some(match refusal {
                Refusal::Unreachable(why) => {
                    Refusal::Unreachable(format!("it did not take the topology: {why}"))
                }
                other => other,
            });
        }
    }
}
