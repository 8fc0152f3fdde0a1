//! One look at one cluster: observe, decide, write, tell. What is decided is decided in the crate `operator`; here it is
//! done, one step at a time, and everything that waits waits by being looked at again.

use std::sync::Arc;
use std::time::Duration;

use daemon::traces::Scope;
use operator::children::{self, Child, Inputs, declared, names, template};
use operator::drain::{self, Step};
use operator::plan::ClusterId;
use operator::resources::policy::From as Granted;
use operator::resources::{NsqCluster, NsqClusterStatus, status::DrainStatus};
use operator::rollout;
use operator::status::Facts;
use operator::topology::{Claims, Grantor, Resolved, resolve};
use operator::validate;

use kube::api::DeleteParams;
use kube::{Api, ResourceExt as _};

use crate::agenda::Outcome;
use crate::brokers::DrainStep;
use crate::context::Context;
use crate::observe::{Observed, replicas};
use crate::traced::{self, Traced};
use crate::{declare, tell, topics};

/// While something is under way.
const SOON: Duration = Duration::from_millis(1000);
/// While consumers are waited for.
const WAITING: Duration = Duration::from_secs(2);
/// While something that is being deleted waits for its messages to go.
const DELETING: Duration = Duration::from_secs(5);
/// While all is well, unless the cluster says otherwise.
const RESYNC: Duration = Duration::from_secs(60);

/// Looks at `id`, and does what is to be done now.
///
/// # Errors
/// Something could not be done that may be possible later.
pub async fn look(context: &Context, id: &ClusterId) -> Result<Outcome, String> {
    let traced = Traced::begin(context, id);
    let outcome = look_at(context, id, traced.scope()).await;
    traced.end(&outcome);
    outcome
}

async fn look_at(context: &Context, id: &ClusterId, scope: Scope) -> Result<Outcome, String> {
    if id.name.is_empty() {
        return topics::orphans(context, &id.namespace).await;
    }
    let cluster = context.world.cluster(id).filter(|cluster| cluster.metadata.deletion_timestamp.is_none());
    let Some(cluster) = cluster else { return without_cluster(context, id).await };
    let problems = {
        let _validating = traced::step(&scope, "validate");
        problems(&cluster)
    };
    let may_write = problems.is_empty() && !cluster.spec.paused;
    let token = context.tokens.of(id, &cluster, may_write).await;
    let (token, failure) = match token {
        Ok(token) => (token, None),
        Err(error) => (None, Some(error)),
    };
    let observing = traced::step(&scope, "observe");
    let seen = Observed::look(&context.world, id, Arc::clone(&cluster), token.as_deref(), &scope).await;
    drop(observing);
    if seen.brokers.iter().any(|broker| broker.refusal == Some(crate::brokers::Refusal::Unauthorized)) {
        context.tokens.forget(id);
    }
    let mut work = Work {
        context,
        id,
        seen,
        facts: Facts { problems, failure, ..Facts::default() },
        again: None,
        scope,
    };
    work.facts.is_paused = cluster.spec.paused;
    let claims = topics::claims(context, work.seen.now);
    let resolved = resolved(&claims, id, &cluster);
    if may_write {
        work.change(&claims, resolved).await
    } else {
        let record = record_of(&cluster);
        work.tell(&claims, &resolved, Told { epoch: 0, hash: String::new(), drain: record }).await
    }
}

/// What the status says of a drain under way.
fn record_of(cluster: &NsqCluster) -> Option<drain::Record> {
    let drain = cluster.status.as_ref()?.drain.as_ref()?;
    Some(drain::Record {
        ordinal: u32::try_from(drain.ordinal).ok()?,
        epoch: u64::try_from(drain.epoch).ok()?,
        remaining: u64::try_from(drain.remaining).unwrap_or_default(),
        progressed_s: u64::try_from(drain.progressed_at).unwrap_or_default(),
    })
}

fn problems(cluster: &NsqCluster) -> Vec<String> {
    let told = |found: validate::Violation| {
        let hint = found.hint.map(|hint| format!(": {hint}")).unwrap_or_default();
        format!("{} {}{hint}", found.field, found.message)
    };
    validate::cluster(cluster).into_iter().map(told).collect()
}

fn resolved(claims: &Claims, id: &ClusterId, cluster: &NsqCluster) -> Resolved {
    let topics = &cluster.spec.topics;
    let from = topics.allowed_namespaces.from;
    let enforce = topics.drift_policy == operator::resources::DriftPolicy::Enforce;
    resolve(&Grantor { id: id.clone(), admits: &|_| from == Granted::All, enforce }, claims)
}

/// The cluster is gone, or on its way: its children go by their owner, and topics that wait for it need not.
async fn without_cluster(context: &Context, id: &ClusterId) -> Result<Outcome, String> {
    context.tokens.forget(id);
    context.memory().remove(id);
    let own = [names::broker(&id.name), names::brokers(&id.name), names::lookupd(&id.name)];
    let more = [names::lookupds(&id.name), names::topology(&id.name), id.name.clone()];
    context.applier.forget(id, |name| own.iter().chain(&more).any(|own| own == name));
    topics::without_cluster(context, id).await?;
    Ok(Outcome::Gone)
}

/// A look that may change things.
struct Work<'a> {
    context: &'a Context,
    id: &'a ClusterId,
    seen: Observed,
    facts: Facts,
    /// When to look again at the latest.
    again: Option<Duration>,
    /// Where it is traced.
    scope: Scope,
}

/// What is written into the status beside conditions.
struct Told {
    epoch: u64,
    hash: String,
    drain: Option<drain::Record>,
}

impl Work<'_> {
    async fn change(mut self, claims: &Claims, resolved: Resolved) -> Result<Outcome, String> {
        let record = record_of(&self.seen.cluster);
        let step = drain::next(&self.seen.for_drain(record));
        let record = if let Step::Record(record) = &step { *record } else { record };
        let brokers = match step {
            // One that is made anew takes all its brokers back: those that are too many leave by the rules.
            Step::Scale(brokers) => brokers.max(self.seen.left_behind),
            _ if self.seen.broker_set.is_none() => {
                self.seen.cluster.spec.brokers.replicas.max(self.seen.left_behind)
            }
            // One that is there keeps its size until the rules say so.
            _ => replicas(self.seen.broker_set.as_deref()),
        };
        let topology = self.apply(brokers, &resolved).await;
        self.step(&step).await;
        self.rollout(topology.as_ref().map(|it| it.hash.as_str()).unwrap_or_default(), record).await;
        self.facts.leaving = self.leaving(&step, record);
        self.facts.drain = Some(step);
        if let Some(topology) = &topology {
            let pushing = traced::step(&self.scope, "push");
            let reports = declare::push(self.context, self.id, &mut self.seen, topology).await;
            drop(pushing);
            self.facts.synced = reports.synced;
            self.facts.out_of_sync = reports.out_of_sync;
            if topics::finish(self.context, self.id, &self.seen, &resolved).await {
                self.again(DELETING);
            }
        }
        let (epoch, hash) = topology.map(|it| (it.epoch, it.hash)).unwrap_or_default();
        self.tell(claims, &resolved, Told { epoch, hash, drain: record }).await
    }

    /// Has all children be there, and none that is not wanted. The topology that was written.
    async fn apply(&mut self, brokers: u32, resolved: &Resolved) -> Option<protocol::control::Topology> {
        let building = traced::step(&self.scope, "build");
        let cluster = Arc::clone(&self.seen.cluster);
        let (images, operator_namespace) = (&self.context.images, self.context.operator_namespace.as_str());
        let inputs = Inputs { cluster: &cluster, images, brokers, operator_namespace };
        let before = declare::before(self.context, self.id);
        let now_s = u64::try_from(self.seen.now.as_second()).unwrap_or_default();
        let topology = declared::topology(&inputs, resolved.topics.clone(), &before, now_s);
        let mut all = children::children(&inputs);
        match declared::config_map(&inputs, &topology) {
            Ok(map) => all.insert(0, map),
            Err(bytes) => self.facts.too_large = Some(bytes),
        }
        for child in &mut all {
            self.keep_template(child);
        }
        drop(building);
        let _applying = traced::step(&self.scope, "apply");
        for child in &all {
            self.apply_one(child).await;
        }
        self.sweep(&all).await;
        self.sweep_monitor().await;
        if self.facts.too_large.is_some() || self.facts.failure.is_some() {
            return None;
        }
        declare::remember(self.context, self.id, &topology);
        Some(topology)
    }

    fn keep_template(&mut self, child: &mut Child) {
        let (broker, lookupd) = (names::broker(&self.id.name), names::lookupd(&self.id.name));
        if child.kind != children::ChildKind::StatefulSet {
            return;
        }
        let live = match &child.name {
            name if *name == broker => self.seen.broker_set.as_deref(),
            name if *name == lookupd => self.seen.lookupd_set.as_deref(),
            _ => None,
        };
        let Some(live) = live else { return };
        let approved = self.seen.cluster.annotations().get(template::APPROVED);
        let is_approved = approved.is_some_and(|version| version == crate::VERSION);
        let annotations = live.annotations();
        let waits = template::keep(child, |name| annotations.get(name).cloned(), is_approved);
        self.facts.update_pending |= waits;
    }

    async fn apply_one(&mut self, child: &Child) {
        let present = self.seen.present.iter().find(|it| it.kind == child.kind && it.name == child.name);
        match self.context.applier.apply(self.id, child, present).await {
            Ok(true) => {
                if child.kind == children::ChildKind::StatefulSet {
                    self.facts.is_settling = true;
                    self.again(SOON);
                }
                self.context.metrics.wrote(child.kind.api().1);
                tracing::info!(cluster = %self.id, kind = child.kind.api().1, name = child.name, "applied");
            }
            Ok(false) => {}
            Err(error) => {
                let failure = format!("{} {}: {}", child.kind.api().1, child.name, crate::told(&error));
                self.facts.failure.get_or_insert(failure);
            }
        }
    }

    /// PodMonitors are not watched, since their definition may not be there: one that is wanted no longer is looked for
    /// once.
    async fn sweep_monitor(&mut self) {
        let is_wanted = self.seen.cluster.spec.observability.pod_monitor.enabled;
        let was_gone = self.context.remembered(self.id).monitor_is_gone;
        if is_wanted == was_gone {
            self.context.remember(self.id, |memory| memory.monitor_is_gone = !is_wanted);
        }
        if is_wanted || was_gone {
            return;
        }
        let uid = self.seen.cluster.uid().unwrap_or_default();
        if let Err(error) = self.context.applier.delete_monitor(self.id, &uid).await {
            self.context.remember(self.id, |memory| memory.monitor_is_gone = false);
            let failure = format!("PodMonitor {}: {}", self.id.name, crate::told(&error));
            self.facts.failure.get_or_insert(failure);
        }
    }

    /// Deletes children that are wanted no longer. Volumes are not among children.
    async fn sweep(&mut self, wanted: &[Child]) {
        let uid = self.seen.cluster.uid();
        let is_wanted = |kind, name: &str| wanted.iter().any(|it| it.kind == kind && it.name == name);
        let own = self.seen.present.iter().filter(|it| it.owner == uid);
        // The topology that does not fit any more is still better than none.
        let own = own.filter(|it| it.kind != children::ChildKind::ConfigMap);
        for child in own.filter(|it| !is_wanted(it.kind, &it.name)) {
            match self.context.applier.delete(self.id, child).await {
                Ok(()) => {
                    self.context.metrics.wrote("deletion");
                    tracing::info!(cluster = %self.id, kind = child.kind.api().1, name = child.name, "deleted");
                }
                Err(error) => {
                    let failure = format!("{} {}: {}", child.kind.api().1, child.name, crate::told(&error));
                    self.facts.failure.get_or_insert(failure);
                }
            }
        }
    }

    /// Does what the rules of scaling say.
    async fn step(&mut self, step: &Step) {
        let (kind, target) = match step {
            Step::Nothing => return,
            Step::Scale(brokers) => {
                tracing::info!(cluster = %self.id, brokers, "the number of brokers is set");
                return self.again(SOON);
            }
            Step::Record(_) => return self.again(Duration::from_millis(100)),
            Step::Wait | Step::Blocked(_) => return self.again(WAITING),
            Step::Drain(target) => (DrainStep::Drain, target),
            Step::Certify(target) => (DrainStep::Certify, target),
            Step::Retire(target) => (DrainStep::Retire, target),
            Step::Undrain(target) => (DrainStep::Undrain, target),
        };
        self.again(Duration::from_millis(200));
        let Some(broker) = self.seen.brokers.get(target.ordinal as usize) else { return };
        let Some(port) = &broker.port else { return };
        let (name, done) = (broker.name().to_owned(), port.step(kind, target.epoch).await);
        match done {
            Ok(report) => {
                let step = kind.name();
                tracing::info!(cluster = %self.id, broker = name, step, epoch = target.epoch, "asked");
                let note =
                    format!("{name}: {step} (epoch {}), {} messages left", target.epoch, report.remaining);
                self.context.event(&*self.seen.cluster, true, "BrokerAsked", &note).await;
            }
            // Its state changed between two questions; the next look sees that.
            Err(refusal) => {
                tracing::warn!(cluster = %self.id, broker = name, step = kind.name(), %refusal, "refused");
                self.again(SOON);
            }
        }
    }

    /// Restarts the next pod that does not run what is wanted. Not while the number of brokers is being changed: both
    /// take brokers away.
    async fn rollout(&mut self, hash: &str, record: Option<drain::Record>) {
        if !self.seen.is_settled() {
            self.facts.is_settling = true;
            self.again(SOON);
        }
        // What was written a moment ago is not seen yet: whom it makes outdated is not known.
        if self.facts.is_settling {
            return;
        }
        let leaving = record.map(|record| record.ordinal);
        let brokers = rollout::next(&self.seen.broker_members(hash, leaving));
        let lookupds = rollout::next(&self.seen.lookupd_members());
        self.facts.brokers.rollout = brokers;
        self.facts.lookupds.rollout = lookupds;
        // Lookupds first: brokers of a new version may tell them something new.
        let is_busy = !matches!(lookupds, rollout::Step::Done | rollout::Step::Stuck(_));
        let next = if is_busy {
            (names::lookupd(&self.id.name), lookupds)
        } else {
            (names::broker(&self.id.name), brokers)
        };
        match next {
            (set, rollout::Step::Restart(ordinal)) => self.restart(&set, ordinal).await,
            (_, rollout::Step::Wait(_)) => self.again(SOON),
            (_, rollout::Step::Stuck(_) | rollout::Step::Done) => {}
        }
    }

    async fn restart(&mut self, set: &str, ordinal: u32) {
        self.again(SOON);
        let name = names::pod(set, ordinal);
        let Some(pod) = self.seen.pod(&name).filter(|pod| !pod.is_going) else { return };
        let pods: Api<k8s_openapi::api::core::v1::Pod> =
            Api::namespaced(self.context.client.clone(), &self.id.namespace);
        // Exactly the pod that was looked at: while brokers were asked, its successor may have come.
        let uid = Some(pod.uid.clone());
        let preconditions = Some(kube::api::Preconditions { uid, resource_version: None });
        let params = DeleteParams { preconditions, ..DeleteParams::default() };
        match pods.delete(&name, &params).await {
            // It went by itself.
            Err(kube::Error::Api(status)) if status.code == 404 || status.code == 409 => {}
            Ok(_) => {
                self.context.metrics.wrote("restart");
                tracing::info!(cluster = %self.id, pod = name, "restarted with new settings");
                let note = format!("{name} is restarted with new settings");
                self.context.event(&*self.seen.cluster, true, "PodRestarted", &note).await;
            }
            Err(error) => {
                self.facts.failure.get_or_insert(format!("Pod {name}: {}", crate::told(&error)));
            }
        }
    }

    fn leaving(&self, step: &Step, record: Option<drain::Record>) -> Option<(String, u64)> {
        let ordinal = match step {
            Step::Blocked(obstacle) => obstacle.ordinal,
            _ => record?.ordinal,
        };
        let report = self.seen.brokers.get(ordinal as usize).and_then(|broker| broker.drain.as_ref());
        let remaining = report.map(|report| report.remaining).or(record.map(|record| record.remaining));
        Some((names::pod(&names::broker(&self.id.name), ordinal), remaining.unwrap_or_default()))
    }

    fn again(&mut self, after: Duration) {
        self.again = Some(self.again.map_or(after, |again| again.min(after)));
    }

    /// Writes status, of the cluster and of its topics and channels.
    async fn tell(mut self, claims: &Claims, resolved: &Resolved, told: Told) -> Result<Outcome, String> {
        let _telling = traced::step(&self.scope, "status");
        tell::crews(&mut self.facts, &self.seen, self.id);
        self.facts.volumes_pending = std::mem::take(&mut self.seen.volumes_pending);
        self.facts.disk_trouble = self.seen.disk_trouble();
        self.facts.is_ephemeral = self.seen.cluster.spec.brokers.storage.ephemeral;
        let status = self.status(resolved, told);
        tell::cluster(self.context, self.id, &self.seen.cluster, status).await?;
        topics::tell(self.context, self.id, &self.seen, claims, resolved).await?;
        if let Some(failure) = &self.facts.failure {
            tracing::warn!(cluster = %self.id, failure, "could not be done; it is tried again");
            return Ok(Outcome::Failed);
        }
        let may_change = self.facts.problems.is_empty() && !self.facts.is_paused;
        let under_way = self.facts.brokers.ready < self.facts.brokers.wanted
            || self.facts.lookupds.ready < self.facts.lookupds.wanted
            || self.facts.synced < self.facts.brokers.ready;
        if may_change && under_way {
            self.again(WAITING);
        }
        let resync = self.seen.cluster.spec.topics.resync_interval.as_ref();
        let resync = resync.and_then(|interval| interval.duration()).unwrap_or(RESYNC);
        Ok(Outcome::Again(self.again.map_or(resync, |again| again.min(resync))))
    }

    fn status(&self, resolved: &Resolved, told: Told) -> NsqClusterStatus {
        let drain = told.drain.map(|record| DrainStatus {
            broker: names::pod(&names::broker(&self.id.name), record.ordinal),
            ordinal: i32::try_from(record.ordinal).unwrap_or(i32::MAX),
            epoch: i64::try_from(record.epoch).unwrap_or(i64::MAX),
            remaining: i64::try_from(record.remaining).unwrap_or(i64::MAX),
            progressed_at: i64::try_from(record.progressed_s).unwrap_or(i64::MAX),
        });
        let said = operator::status::of_cluster(&self.facts);
        tell::status_of(&self.seen, &self.facts, resolved, (told.epoch, told.hash), drain, said)
    }
}
