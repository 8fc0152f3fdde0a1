//! What the API server has, kept up to date: a reflector for each kind, and a wish on the agenda for each change. A
//! change of what is wanted is told from a change of how things are, so that a status that is written does not make its
//! own writer look again.

use std::collections::HashMap;
use std::fmt::Debug;
use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use futures::StreamExt as _;
use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::core::v1::{ConfigMap, PersistentVolumeClaim, Pod, Service, ServiceAccount};
use k8s_openapi::api::networking::v1::NetworkPolicy;
use k8s_openapi::api::policy::v1::PodDisruptionBudget;
use kube::core::{NamespaceResourceScope, PartialObjectMeta};
use kube::runtime::reflector::{self, Store};
use kube::runtime::{WatchStreamExt as _, watcher};
use kube::{Api, Client, Resource, ResourceExt as _};
use operator::children::{ChildKind, LABEL_CLUSTER};
use operator::claims;
use operator::plan::ClusterId;
use operator::resources::{NsqChannel, NsqCluster, NsqTopic, namespace_of};
use operator::topology::ResourceId;
use serde::de::DeserializeOwned;
use tokio::sync::mpsc::UnboundedSender;
use tokio::task::JoinSet;

/// Look at this cluster. One without a name stands for the channels of a namespace whose topics are not there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Which cluster.
    pub key: ClusterId,
    /// Somebody changed what is wanted, rather than how things are.
    pub is_wanted: bool,
}

/// The objects of one kind, in all namespaces that are watched.
#[derive(Debug, Clone)]
pub struct Kept<K: 'static + Resource<DynamicType = ()> + Clone>(Vec<Store<K>>)
where
    K::DynamicType: Hash + Eq + Clone;

impl<K> Kept<K>
where
    K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + 'static,
{
    /// Every one.
    pub fn all(&self) -> impl Iterator<Item = Arc<K>> {
        self.0.iter().flat_map(Store::state)
    }

    /// The one of that name.
    pub fn find(&self, namespace: &str, name: &str) -> Option<Arc<K>> {
        let key = reflector::ObjectRef::<K>::new(name).within(namespace);
        self.0.iter().find_map(|store| store.get(&key))
    }

    /// Those that belong to a cluster by their label.
    pub fn of(&self, cluster: &ClusterId) -> Vec<Arc<K>> {
        let label = |it: &K| it.labels().get(LABEL_CLUSTER).is_some_and(|name| *name == cluster.name);
        let own = |it: &Arc<K>| it.namespace().as_deref() == Some(cluster.namespace.as_str()) && label(it);
        self.all().filter(own).collect()
    }
}

/// Everything that is watched.
#[derive(Debug)]
pub struct World {
    /// What is wanted.
    pub clusters: Kept<NsqCluster>,
    /// What is wanted.
    pub topics: Kept<NsqTopic>,
    /// What is wanted.
    pub channels: Kept<NsqChannel>,
    /// What runs.
    pub sets: Kept<StatefulSet>,
    /// What runs.
    pub pods: Kept<Pod>,
    /// What is stored.
    pub claims: Kept<PersistentVolumeClaim>,
    /// Metadata of ConfigMaps, for the topology of each cluster.
    pub config_maps: Kept<PartialObjectMeta<ConfigMap>>,
    service_accounts: Kept<PartialObjectMeta<ServiceAccount>>,
    services: Kept<PartialObjectMeta<Service>>,
    budgets: Kept<PartialObjectMeta<PodDisruptionBudget>>,
    policies: Kept<PartialObjectMeta<NetworkPolicy>>,
}

/// A child that is there.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Present {
    /// Its kind.
    pub kind: ChildKind,
    /// Its name.
    pub name: String,
    /// It is another one when this is another.
    pub uid: String,
    /// It was changed by somebody when this is another: the generation, where the kind has one.
    pub version: String,
    /// The UID of the cluster that it belongs to.
    pub owner: Option<String>,
}

impl World {
    /// The children of a cluster that are there, by their labels.
    pub fn present(&self, cluster: &ClusterId) -> Vec<Present> {
        let mut all = Vec::new();
        all.extend(self.sets.of(cluster).iter().map(|it| present(ChildKind::StatefulSet, &**it)));
        all.extend(self.config_maps.of(cluster).iter().map(|it| present(ChildKind::ConfigMap, &**it)));
        all.extend(self.services.of(cluster).iter().map(|it| present(ChildKind::Service, &**it)));
        all.extend(
            self.service_accounts.of(cluster).iter().map(|it| present(ChildKind::ServiceAccount, &**it)),
        );
        all.extend(self.budgets.of(cluster).iter().map(|it| present(ChildKind::PodDisruptionBudget, &**it)));
        all.extend(self.policies.of(cluster).iter().map(|it| present(ChildKind::NetworkPolicy, &**it)));
        all
    }

    /// The namespaces and names of all clusters there are or that something refers to.
    pub fn cluster(&self, id: &ClusterId) -> Option<Arc<NsqCluster>> {
        self.clusters.find(&id.namespace, &id.name)
    }
}

fn present(kind: ChildKind, object: &impl Resource<DynamicType = ()>) -> Present {
    let meta = object.meta();
    let version = meta.generation.map(|generation| generation.to_string());
    let owners = meta.owner_references.iter().flatten();
    Present {
        kind,
        name: object.name_any(),
        uid: meta.uid.clone().unwrap_or_default(),
        version: version.or_else(|| meta.resource_version.clone()).unwrap_or_default(),
        owner: owners.filter(|owner| owner.controller == Some(true)).map(|owner| owner.uid.clone()).next(),
    }
}

/// Watches everything, in `namespaces` or else in all.
pub struct Watches {
    client: Client,
    namespaces: Vec<String>,
    wishes: UnboundedSender<Wish>,
    tasks: JoinSet<()>,
    /// Watches whose first list has not come yet.
    waiting: Arc<AtomicUsize>,
}

impl Watches {
    /// Nothing is watched yet. No namespaces: all of them.
    pub fn new(client: Client, namespaces: Vec<String>, wishes: UnboundedSender<Wish>) -> Self {
        Self { client, namespaces, wishes, tasks: JoinSet::new(), waiting: Arc::default() }
    }

    /// Begins. The tasks end with the set that is given back.
    pub async fn begin(mut self) -> (World, JoinSet<()>) {
        let world = World {
            clusters: self.whole(|it: &NsqCluster| vec![operator_id(it)], wanted_of),
            topics: self.whole(of_topic, wanted_of),
            channels: self.whole(of_channel, wanted_of),
            sets: self.whole_of_ours(of_child, never),
            pods: self.whole_of_ours(of_child, never),
            claims: self.whole_of_ours(of_child, never),
            config_maps: self.whole_of_ours(of_child, never),
            service_accounts: self.whole_of_ours(of_child, never),
            services: self.whole_of_ours(of_child, never),
            budgets: self.whole_of_ours(of_child, never),
            policies: self.whole_of_ours(of_child, never),
        };
        (world, self.tasks)
    }

    /// Whether every kind was listed once; before that, what is missing may only not have been seen.
    pub fn complete(&self) -> Arc<AtomicUsize> {
        Arc::clone(&self.waiting)
    }

    fn whole<K>(&mut self, keys: fn(&K) -> Vec<ClusterId>, wanted: fn(&K) -> Option<u64>) -> Kept<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        self.watch(watcher::Config::default(), keys, wanted)
    }

    fn whole_of_ours<K>(&mut self, keys: fn(&K) -> Vec<ClusterId>, wanted: fn(&K) -> Option<u64>) -> Kept<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        self.watch(watcher::Config::default().labels(LABEL_CLUSTER), keys, wanted)
    }

    fn watch<K>(
        &mut self,
        config: watcher::Config,
        keys: fn(&K) -> Vec<ClusterId>,
        wanted: fn(&K) -> Option<u64>,
    ) -> Kept<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>
            + Clone
            + Debug
            + DeserializeOwned
            + Send
            + Sync
            + 'static,
    {
        let stores = self.apis::<K>().into_iter().map(|api| {
            let stream = watcher(api, config.clone()).default_backoff();
            self.keep(stream, keys, wanted)
        });
        Kept(stores.collect())
    }

    fn apis<K>(&self) -> Vec<Api<K>>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope>,
    {
        match self.namespaces.as_slice() {
            [] => vec![Api::all(self.client.clone())],
            some => some.iter().map(|namespace| Api::namespaced(self.client.clone(), namespace)).collect(),
        }
    }

    fn keep<K>(
        &mut self,
        stream: impl futures::Stream<Item = watcher::Result<watcher::Event<K>>> + Send + 'static,
        keys: fn(&K) -> Vec<ClusterId>,
        wanted: fn(&K) -> Option<u64>,
    ) -> Store<K>
    where
        K: Resource<DynamicType = (), Scope = NamespaceResourceScope> + Clone + Debug + Send + Sync + 'static,
    {
        let (reader, writer) = reflector::store();
        let (wishes, waiting) = (self.wishes.clone(), Arc::clone(&self.waiting));
        waiting.fetch_add(1, Ordering::AcqRel);
        self.tasks.spawn(async move {
            let stream = stream.modify(|object| {
                // Half of an object's bytes, which nobody reads.
                object.managed_fields_mut().clear();
            });
            let mut stream = pin!(stream.reflect(writer));
            let mut teller = Teller { seen: HashMap::new(), keys, wanted, wishes };
            let mut first = true;
            while let Some(event) = stream.next().await {
                match event {
                    Ok(event) => {
                        if matches!(event, watcher::Event::InitDone) && std::mem::take(&mut first) {
                            waiting.fetch_sub(1, Ordering::AcqRel);
                        }
                        teller.tell(event);
                    }
                    Err(error) => tracing::warn!(
                        kind = %K::kind(&()), %error, "a watch failed; it is begun again"
                    ),
                }
            }
        });
        reader
    }
}

/// Turns events into wishes.
struct Teller<K> {
    /// What was wanted when an object was seen last.
    seen: HashMap<(String, String), Option<u64>>,
    keys: fn(&K) -> Vec<ClusterId>,
    wanted: fn(&K) -> Option<u64>,
    wishes: UnboundedSender<Wish>,
}

impl<K: Resource<DynamicType = ()>> Teller<K> {
    fn tell(&mut self, event: watcher::Event<K>) {
        match event {
            watcher::Event::Apply(object) | watcher::Event::InitApply(object) => {
                let wanted = (self.wanted)(&object);
                let name = (namespace_of(&object), object.name_any());
                let before = self.seen.insert(name, wanted);
                // Of our own kinds, a change of status alone is our own.
                if before.is_none() || wanted.is_none() || before != Some(wanted) {
                    self.wish(&object, wanted.is_some());
                }
            }
            watcher::Event::Delete(object) => {
                self.seen.remove(&(namespace_of(&object), object.name_any()));
                self.wish(&object, true);
            }
            watcher::Event::Init | watcher::Event::InitDone => {}
        }
    }

    fn wish(&self, object: &K, is_wanted: bool) {
        for key in (self.keys)(object) {
            let _stopping = self.wishes.send(Wish { key, is_wanted });
        }
    }
}

/// What says that something else is wanted of an object of ours.
fn wanted_of<K: Resource<DynamicType = ()>>(object: &K) -> Option<u64> {
    let meta = object.meta();
    let mut hasher = DefaultHasher::new();
    (meta.generation, &meta.uid, &meta.annotations, &meta.finalizers).hash(&mut hasher);
    meta.deletion_timestamp.is_some().hash(&mut hasher);
    Some(hasher.finish())
}

/// Of other kinds every change counts.
fn never<K>(_: &K) -> Option<u64> {
    None
}

fn operator_id(cluster: &NsqCluster) -> ClusterId {
    let ResourceId { namespace, name } = claims::id(cluster);
    ClusterId { namespace, name }
}

/// A topic's cluster, and the channels of its namespace that may have waited for it.
fn of_topic(topic: &NsqTopic) -> Vec<ClusterId> {
    let namespace = namespace_of(topic);
    let reference = &topic.spec.cluster_ref;
    let of = reference.namespace.clone().unwrap_or_else(|| namespace.clone());
    vec![ClusterId { namespace: of, name: reference.name.clone() }, orphans(namespace)]
}

/// A channel's cluster, where it names one itself; which one its NsqTopic belongs to is found where topics are at hand.
fn of_channel(channel: &NsqChannel) -> Vec<ClusterId> {
    let namespace = namespace_of(channel);
    match &channel.spec.cluster_ref {
        Some(reference) => {
            let of = reference.namespace.clone().unwrap_or(namespace);
            vec![ClusterId { namespace: of, name: reference.name.clone() }]
        }
        None => vec![orphans(namespace)],
    }
}

/// Stands for the channels of a namespace that name an NsqTopic.
pub fn orphans(namespace: String) -> ClusterId {
    ClusterId { namespace, name: String::new() }
}

fn of_child<K: Resource<DynamicType = ()>>(child: &K) -> Vec<ClusterId> {
    let name = child.labels().get(LABEL_CLUSTER).cloned();
    name.map(|name| ClusterId { namespace: namespace_of(child), name }).into_iter().collect()
}
