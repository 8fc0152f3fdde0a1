//! What there is of one cluster at one moment: its objects as the watches show them, and what each broker says of
//! itself. All brokers are asked at once; one that does not answer is an observation like any other.

use std::sync::Arc;

use daemon::traces::Scope;
use futures::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::StatefulSet;
use operator::children::names;
use operator::drain;
use operator::plan::ClusterId;
use operator::pods::{self, Seen};
use operator::resources::NsqCluster;
use operator::rollout::Member;
use protocol::control::{DrainPhase, DrainReport, Registrations, TopologyReport};

use crate::brokers::{Broker, Refusal};
use crate::watches::{Present, World};

/// One cluster, as it was at one moment.
pub struct Observed {
    /// What is wanted.
    pub cluster: Arc<NsqCluster>,
    /// The children that are there.
    pub present: Vec<Present>,
    /// The StatefulSet of the brokers.
    pub broker_set: Option<Arc<StatefulSet>>,
    /// The StatefulSet of the lookupds.
    pub lookupd_set: Option<Arc<StatefulSet>>,
    /// By ordinal, as many as the StatefulSet is to have.
    pub brokers: Vec<BrokerSeen>,
    /// By ordinal, as many as the StatefulSet is to have.
    pub lookupds: Vec<Option<Seen>>,
    /// Brokers that run without a StatefulSet, up to the last one: somebody deleted that and left the pods.
    pub left_behind: u32,
    /// Volumes that are not bound.
    pub volumes_pending: Vec<String>,
    /// When that was.
    pub now: Timestamp,
}

/// One broker, and what it said.
#[derive(Default)]
pub struct BrokerSeen {
    /// Its pod, if there is one.
    pub pod: Option<Seen>,
    /// Its control port, if it can be asked.
    pub port: Option<Broker>,
    /// How far it is on its way out.
    pub drain: Option<DrainReport>,
    /// How it stands to its topology.
    pub topology: Option<TopologyReport>,
    /// Where it is registered.
    pub registrations: Option<Registrations>,
    /// What is wrong with its disk.
    pub trouble: Option<String>,
    /// Why it did not answer.
    pub refusal: Option<Refusal>,
}

impl Observed {
    /// Looks at the cluster. Without a token no broker is asked.
    pub async fn look(
        world: &World,
        id: &ClusterId,
        cluster: Arc<NsqCluster>,
        token: Option<&str>,
        scope: &Scope,
    ) -> Self {
        let (broker, lookupd) = (names::broker(&id.name), names::lookupd(&id.name));
        let broker_set = world.sets.find(&id.namespace, &broker);
        let lookupd_set = world.sets.find(&id.namespace, &lookupd);
        let left_behind = if broker_set.is_none() { left_behind(world, id, &broker) } else { 0 };
        let brokers = placed(world, id, &broker, replicas(broker_set.as_deref()));
        let lookupds = placed(world, id, &lookupd, replicas(lookupd_set.as_deref()));
        let brokers = join_all(brokers.into_iter().map(|pod| asked(pod, token, scope.clone()))).await;
        let volumes_pending = world.claims.of(id).iter().filter_map(|claim| pending(claim)).collect();
        Self {
            cluster,
            present: world.present(id),
            broker_set,
            lookupd_set,
            brokers,
            lookupds,
            left_behind,
            volumes_pending,
            now: Timestamp::now(),
        }
    }

    /// What the rules of scaling need to see.
    pub fn for_drain(&self, record: Option<drain::Record>) -> drain::Observed {
        let broker =
            |seen: &BrokerSeen| drain::Broker { is_ready: seen.is_ready(), report: seen.drain.clone() };
        drain::Observed {
            wanted: self.cluster.spec.brokers.replicas,
            brokers: self.brokers.iter().map(broker).collect(),
            record,
            now_s: u64::try_from(self.now.as_second()).unwrap_or_default(),
        }
    }

    /// What the rules of restarting need to see of the brokers. `hash` is of the topology each must have.
    pub fn broker_members(&self, hash: &str, leaving: Option<u32>) -> Vec<Option<Member>> {
        let Some(revision) = self.broker_set.as_deref().and_then(revision) else { return Vec::new() };
        let wait = self.cluster.spec.brokers.rollout.min_ready_seconds.unwrap_or(5);
        let lookupds = self.lookupds.iter().flatten().filter(|pod| pod.is_ready()).count();
        let placed = (0..).zip(&self.brokers);
        let members = placed.map(|(at, broker)| {
            let pod = broker.pod.as_ref()?;
            let is_complete = broker.topology.as_ref().is_some_and(|report| report.hash == hash);
            Some(Member {
                is_updated: pod.revision == revision,
                is_ready: pod.is_ready(),
                is_settled: pod.is_available(wait, self.now) && is_complete && broker.is_registered(lookupds),
                is_leaving: leaving == Some(at) || broker.is_leaving(),
                age_s: age_s(pod, self.now),
            })
        });
        members.collect()
    }

    /// The same of the lookupds: one is settled when every broker that is ready is registered everywhere.
    pub fn lookupd_members(&self) -> Vec<Option<Member>> {
        let Some(revision) = self.lookupd_set.as_deref().and_then(revision) else { return Vec::new() };
        let ready = self.lookupds.iter().flatten().filter(|pod| pod.is_ready()).count();
        let mut serving = self.brokers.iter().filter(|broker| broker.is_ready());
        let is_known = serving.all(|broker| broker.is_registered(ready));
        let member = |pod: &Seen| Member {
            is_updated: pod.revision == revision,
            is_ready: pod.is_ready(),
            is_settled: pod.is_available(1, self.now) && is_known,
            is_leaving: false,
            age_s: age_s(pod, self.now),
        };
        self.lookupds.iter().map(|pod| pod.as_ref().map(member)).collect()
    }

    /// The first broker with a disk that does not take every publish, and why.
    pub fn disk_trouble(&self) -> Option<String> {
        let of = |broker: &BrokerSeen| Some(format!("{}: {}", broker.name(), broker.trouble.as_ref()?));
        self.brokers.iter().find_map(of)
    }

    /// The pod of this name, as it was.
    pub fn pod(&self, name: &str) -> Option<&Seen> {
        let brokers = self.brokers.iter().filter_map(|broker| broker.pod.as_ref());
        brokers.chain(self.lookupds.iter().flatten()).find(|pod| pod.name == name)
    }

    /// Whether the StatefulSets' controller has seen what was asked of it.
    pub fn is_settled(&self) -> bool {
        let sets = [&self.broker_set, &self.lookupd_set];
        sets.into_iter().flatten().all(|set| revision(set).is_some())
    }

    /// How many brokers are ready.
    pub fn brokers_ready(&self) -> u32 {
        u32::try_from(self.brokers.iter().filter(|broker| broker.is_ready()).count()).unwrap_or(u32::MAX)
    }
}

impl BrokerSeen {
    /// Kubernetes says that it is ready.
    pub fn is_ready(&self) -> bool {
        self.pod.as_ref().is_some_and(Seen::is_ready)
    }

    /// It says itself that it takes no publishes.
    pub fn is_leaving(&self) -> bool {
        self.drain.as_ref().is_some_and(|report| report.phase != DrainPhase::Serving)
    }

    /// Its pod's name, for messages.
    pub fn name(&self) -> &str {
        self.pod.as_ref().map_or("a broker without a pod", |pod| &pod.name)
    }

    fn is_registered(&self, lookupds: usize) -> bool {
        self.registrations.as_ref().is_some_and(|known| {
            known.lookupds.len() >= lookupds
                && known.lookupds.iter().filter(|it| it.registered).count() >= lookupds
        })
    }
}

async fn asked(pod: Option<Seen>, token: Option<&str>, scope: Scope) -> BrokerSeen {
    let port = pod.as_ref().and_then(|pod| pod.ip).zip(token);
    let port = port.and_then(|(ip, token)| Broker::new(ip, token, scope).ok());
    let Some(port) = port else { return BrokerSeen { pod, ..BrokerSeen::default() } };
    let (drain, topology, registrations, health) =
        futures::join!(port.drain_report(), port.topology(), port.registrations(), port.health());
    let refusal = drain.as_ref().err().or(topology.as_ref().err()).cloned();
    BrokerSeen {
        pod,
        drain: drain.ok(),
        topology: topology.ok(),
        registrations: registrations.ok(),
        trouble: health.ok().and_then(|health| health.trouble),
        refusal,
        port: Some(port),
    }
}

fn placed(world: &World, id: &ClusterId, set: &str, replicas: u32) -> Vec<Option<Seen>> {
    let pod = |at| world.pods.find(&id.namespace, &names::pod(set, at)).map(|pod| pods::seen(&pod));
    (0..replicas).map(pod).collect()
}

fn left_behind(world: &World, id: &ClusterId, set: &str) -> u32 {
    let pods = world.pods.of(id);
    let staying = pods.iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
    let places = staying.filter_map(|pod| names::ordinal(set, pod.metadata.name.as_deref()?));
    places.max().map_or(0, |last| last + 1)
}

/// How many pods a StatefulSet is to have.
pub fn replicas(set: Option<&StatefulSet>) -> u32 {
    let replicas = set.and_then(|set| set.spec.as_ref()).map(|spec| spec.replicas.unwrap_or(1));
    replicas.and_then(|replicas| u32::try_from(replicas).ok()).unwrap_or_default()
}

/// What pods are to be made from; `None` until the StatefulSet's controller has seen its spec.
fn revision(set: &StatefulSet) -> Option<&str> {
    let status = set.status.as_ref()?;
    let is_seen = status.observed_generation >= set.metadata.generation;
    status.update_revision.as_deref().filter(|_| is_seen)
}

fn age_s(pod: &Seen, now: Timestamp) -> u64 {
    let age = pod.made.map_or(0, |made| now.as_second() - made.as_second());
    u64::try_from(age).unwrap_or_default()
}

fn pending(claim: &k8s_openapi::api::core::v1::PersistentVolumeClaim) -> Option<String> {
    let phase = claim.status.as_ref().and_then(|status| status.phase.as_deref()).unwrap_or("Pending");
    let class = claim.spec.as_ref().and_then(|spec| spec.storage_class_name.as_deref());
    let class =
        class.map_or("the default StorageClass".to_owned(), |class| format!("StorageClass {class:?}"));
    let name = claim.metadata.name.as_deref().unwrap_or_default();
    (phase != "Bound").then(|| format!("{name} of {class} is {phase}"))
}
