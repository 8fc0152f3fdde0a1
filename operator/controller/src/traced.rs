//! Spans of looks. A look is at a cluster, with all its topics and channels: it belongs to the trace of whoever changed the
//! first of them that was not looked at since, as the annotation `nsqube.io/traceparent` says; others that were changed
//! have a span in the trace of their own.

use daemon::traces::{Exporter, Kind, Scope, Settings, Span, TraceContext, Tracer};
use kube::{Resource, ResourceExt as _};
use operator::claims::cluster_of;
use operator::plan::ClusterId;
use operator::resources::{NsqChannel, NsqTopic, namespace_of};

use crate::agenda::Outcome;
use crate::context::Context;
use crate::run;

/// Annotation: what whoever applied the resource does is part of this trace, in the form of the W3C's header.
pub const TRACEPARENT: &str = "nsqube.io/traceparent";

/// Resources in one look that have spans of their own.
const RESOURCES_MAX: usize = 100;

/// What the settings ask for, and the task to be run for it.
///
/// # Errors
/// What is wrong with them.
pub fn tracer(settings: &run::Settings) -> anyhow::Result<(Tracer, Option<Exporter>)> {
    let ratio = settings.otel_sampling_ratio;
    if !(0.0..=1.0).contains(&ratio) {
        anyhow::bail!("--otel-sampling-ratio={ratio}: it is a number from 0 to 1, like 0.01");
    }
    let asked = Settings {
        endpoint: &settings.otel_endpoint,
        ratio,
        service: "nsq-operator",
        instance: &settings.pod_name,
    };
    Tracer::new(asked).map_err(|why| anyhow::anyhow!("--otel-endpoint: {why}"))
}

/// One step of a look, until it is dropped.
pub fn step(scope: &Scope, name: &'static str) -> Span {
    scope.begin(Kind::Internal, || name.to_owned())
}

/// The spans of one look.
#[derive(Debug)]
pub struct Traced {
    /// Of the cluster, which has the steps below it.
    look: Span,
    /// Of topics and channels that were changed.
    changed: Vec<Span>,
}

impl Traced {
    /// A look begins.
    pub fn begin(context: &Context, id: &ClusterId) -> Self {
        let tracer = &context.tracer;
        if !tracer.is_on() {
            return Self { look: Span::default(), changed: Vec::new() };
        }
        let cluster = context.world.cluster(id);
        let own = cluster.as_ref().and_then(|it| {
            let seen = it.status.as_ref().map(|status| status.observed_generation);
            asked(&**it, seen)
        });
        let changed = changed(context, id);
        let parent = own.or_else(|| changed.iter().find_map(Span::context));
        let mut look = tracer.begin(Kind::Internal, parent, || "reconcile NsqCluster".to_owned());
        look.set("k8s.namespace.name", id.namespace.as_str());
        look.set("nsqube.resource.name", id.name.as_str());
        if let Some(generation) = cluster.and_then(|it| it.metadata.generation) {
            look.set("nsqube.resource.generation", generation);
        }
        Self { look, changed }
    }

    /// Where its steps are traced.
    pub fn scope(&self) -> Scope {
        self.look.scope()
    }

    /// The look is over.
    pub fn end(self, outcome: &Result<Outcome, String>) {
        let (said, failure) = match outcome {
            Ok(Outcome::Again(_)) => ("ok", None),
            Ok(Outcome::Gone) => ("gone", None),
            Ok(Outcome::Failed) => ("failed", Some("something could not be done: see the status")),
            Err(error) => ("failed", Some(error.as_str())),
        };
        for mut span in self.changed.into_iter().chain([self.look]) {
            span.set("nsqube.outcome", said);
            if let Some(why) = failure {
                span.fail(why);
            }
        }
    }
}

/// Topics and channels of `id` that somebody changed within a trace.
fn changed(context: &Context, id: &ClusterId) -> Vec<Span> {
    let world = &context.world;
    let topics = world.topics.all().filter_map(|topic| {
        let seen = topic.status.as_ref().map(|status| status.observed_generation);
        let parent = asked(&*topic, seen)?;
        (of_topic(&topic) == *id).then(|| begin(&context.tracer, "NsqTopic", &*topic, parent))
    });
    let channels = world.channels.all().filter_map(|channel| {
        let seen = channel.status.as_ref().map(|status| status.observed_generation);
        let parent = asked(&*channel, seen)?;
        let cluster = of_channel(context, &channel)?;
        (cluster == *id).then(|| begin(&context.tracer, "NsqChannel", &*channel, parent))
    });
    topics.chain(channels).take(RESOURCES_MAX).collect()
}

fn of_topic(topic: &NsqTopic) -> ClusterId {
    cluster_of(namespace_of(topic), &topic.spec.cluster_ref)
}

fn of_channel(context: &Context, channel: &NsqChannel) -> Option<ClusterId> {
    let namespace = namespace_of(channel);
    match (&channel.spec.topic_ref, &channel.spec.cluster_ref) {
        (Some(topic), _) => context.world.topics.find(&namespace, &topic.name).map(|topic| of_topic(&topic)),
        (None, Some(cluster)) => Some(cluster_of(namespace, cluster)),
        (None, None) => None,
    }
}

/// The trace that a resource asks for, until its last change was looked at: an annotation stays, and a resync an hour later
/// is nobody's doing.
fn asked(resource: &impl Resource, seen: Option<i64>) -> Option<TraceContext> {
    let context = TraceContext::parse(resource.annotations().get(TRACEPARENT)?)?;
    (resource.meta().generation != seen).then_some(context)
}

fn begin(tracer: &Tracer, kind: &'static str, resource: &impl Resource, parent: TraceContext) -> Span {
    let mut span = tracer.begin(Kind::Internal, Some(parent), || format!("reconcile {kind}"));
    span.set("k8s.namespace.name", resource.namespace().unwrap_or_default());
    span.set("nsqube.resource.name", resource.name_any());
    span.set("nsqube.resource.generation", resource.meta().generation.unwrap_or_default());
    span
}
