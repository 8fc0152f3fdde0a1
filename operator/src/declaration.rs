//! Reads a declaration: YAML files in any order, checked against the schema, each resource by itself, and all
//! of them together. All problems come back at once, each with its line.

mod kind;
mod schema;
mod yaml;

use std::collections::BTreeMap;

use kube::ResourceExt as _;
use serde::de::DeserializeOwned;

use self::kind::Kind;
use self::schema::Schemas;
use self::yaml::{Node, Value};
use crate::Problem;
use crate::relations::{self, Topics};
use crate::resources::policy::From;
use crate::resources::{ClusterRef, NsqChannel, NsqCluster, NsqTopic, namespace_of};
use crate::validate::{self, Violation};

/// NsqClusters, NsqTopics and NsqChannels that make sense together.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Declaration {
    pub(crate) clusters: Vec<NsqCluster>,
    pub(crate) topics: Vec<NsqTopic>,
    pub(crate) channels: Vec<NsqChannel>,
}

impl Declaration {
    /// Reads all documents of all `files` (name, text), in any order. Files without resources are no mistake.
    ///
    /// # Errors
    /// All problems of all files at once, sorted by file and line.
    pub fn read(files: &[(String, String)]) -> Result<Self, Vec<Problem>> {
        let mut reading = Reading::new();
        for (file, text) in files {
            match yaml::documents(text) {
                Ok(documents) => documents.into_iter().for_each(|node| reading.document(file, node)),
                Err(error) => reading.stray(file, error.line, format!("not YAML: {}", error.message), None),
            }
        }
        reading.relate();
        reading.finish()
    }
}

/// What messages call a resource, and where its fields stand.
struct Source {
    file: String,
    node: Node,
    label: String,
}

struct Found<T> {
    resource: T,
    source: Source,
}

struct Reading {
    schemas: Schemas,
    problems: Vec<Problem>,
    /// Whether every document could be told apart: if not, a reference may lead to one that could not.
    is_complete: bool,
    /// Kind, namespace and name, and where the first of them stands; also of resources that are wrong inside.
    declared: BTreeMap<(Kind, String, String), String>,
    clusters: Vec<Found<NsqCluster>>,
    topics: Vec<Found<NsqTopic>>,
    channels: Vec<Found<NsqChannel>>,
}

impl Reading {
    fn new() -> Self {
        Self {
            schemas: Schemas::new(),
            problems: Vec::new(),
            is_complete: true,
            declared: BTreeMap::new(),
            clusters: Vec::new(),
            topics: Vec::new(),
            channels: Vec::new(),
        }
    }

    fn document(&mut self, file: &str, node: Node) {
        if !matches!(node.value, Value::Map(_)) {
            let hint = Some("a document has apiVersion, kind, metadata and spec".to_owned());
            return self.stray(file, node.line, "a document that is no resource".to_owned(), hint);
        }
        let kind = match Kind::of(node.text_at(&["apiVersion"]), node.text_at(&["kind"])) {
            Ok(kind) => kind,
            Err((field, message, hint)) => return self.stray(file, node.line_of(field), message, hint),
        };
        let name = node.text_at(&["metadata", "name"]).map(str::to_owned);
        let namespace = node.text_at(&["metadata", "namespace"]).unwrap_or("default").to_owned();
        let label = label(kind, &namespace, name.as_deref());
        let faults = self.schemas.check(kind, &node, &label);
        let source = Source { file: file.to_owned(), node, label };
        let is_sound = faults.is_empty();
        for fault in faults {
            self.problem(&source.file, fault.line, fault.message, fault.hint);
        }
        match name {
            Some(name) => {
                if self.is_new(&source, (kind, namespace, name)) {
                    self.resource(kind, source, is_sound);
                }
            }
            None => self.is_complete = false,
        }
    }

    /// Notes a resource, or says that it is not the first of its name.
    fn is_new(&mut self, source: &Source, identity: (Kind, String, String)) -> bool {
        let line = source.node.line_of("metadata.name");
        match self.declared.get(&identity) {
            Some(first) => {
                let (message, hint) =
                    (format!("{} is declared twice", source.label), format!("the first is at {first}"));
                self.problem(&source.file, line, message, Some(hint));
                false
            }
            None => {
                self.declared.insert(identity, format!("{}:{line}", source.file));
                true
            }
        }
    }

    fn resource(&mut self, kind: Kind, source: Source, is_sound: bool) {
        match kind {
            Kind::Cluster => {
                if let Some(found) = self.typed(source, is_sound, validate::cluster) {
                    self.clusters.push(found);
                }
            }
            Kind::Topic => {
                if let Some(found) = self.typed(source, is_sound, validate::topic) {
                    self.topics.push(found);
                }
            }
            Kind::Channel => {
                if let Some(found) = self.typed(source, is_sound, validate::channel) {
                    self.channels.push(found);
                }
            }
        }
    }

    fn typed<T: DeserializeOwned>(
        &mut self,
        source: Source,
        is_sound: bool,
        validate: fn(&T) -> Vec<Violation>,
    ) -> Option<Found<T>> {
        match serde_json::from_value::<T>(source.node.to_json()) {
            Ok(resource) => {
                for violation in validate(&resource) {
                    self.violation(&source, violation);
                }
                Some(Found { resource, source })
            }
            Err(error) => {
                // The schema has said it better, unless it let something pass that the type does not.
                if is_sound {
                    self.problem(&source.file, source.node.line, format!("{}: {error}", source.label), None);
                }
                None
            }
        }
    }

    fn relate(&mut self) {
        let mut violations: Vec<(&Source, Violation)> = Vec::new();
        if self.is_complete {
            for Found { resource, source } in &self.topics {
                let namespace = namespace_of(resource);
                let found = self.cluster(&namespace, &resource.spec.cluster_ref);
                violations.extend(found.map(|found| (source, found)));
            }
            for Found { resource, source } in &self.channels {
                let namespace = namespace_of(resource);
                let cluster = resource.spec.cluster_ref.as_ref();
                let cluster = cluster.and_then(|cluster| self.cluster(&namespace, cluster));
                let topic = resource.spec.topic_ref.as_ref();
                let topic = topic.and_then(|topic| self.dangling(Kind::Topic, &namespace, &topic.name));
                violations.extend(cluster.into_iter().chain(topic).map(|found| (source, found)));
            }
        }
        let topics = Topics::new(self.topics.iter().map(|found| &found.resource));
        let topic_keys = self.topics.iter().map(|found| relations::key_of_topic(&found.resource)).enumerate();
        for (later, first, what) in relations::conflicts(topic_keys, |key| {
            format!("topic {:?} of cluster {:?}", key.topic, key.cluster.name)
        }) {
            violations.extend(conflict("spec.topicName", &self.topics, later, first, &what));
        }
        let channel_keys = self.channels.iter().enumerate().filter_map(|(index, found)| {
            Some((index, (topics.of_channel(&found.resource)?, found.resource.channel_name())))
        });
        for (later, first, what) in relations::conflicts(channel_keys, |(key, channel)| {
            format!("channel {channel:?} of topic {:?} of cluster {:?}", key.topic, key.cluster.name)
        }) {
            violations.extend(conflict("spec.channelName", &self.channels, later, first, &what));
        }
        let problems: Vec<Problem> =
            violations.into_iter().map(|(source, violation)| located(source, violation)).collect();
        self.problems.extend(problems);
    }

    /// What is wrong with a reference to a cluster from a resource of `namespace`.
    fn cluster(&self, namespace: &str, reference: &ClusterRef) -> Option<Violation> {
        let other = reference.namespace.as_deref().unwrap_or(namespace);
        if let Some(found) = self.dangling(Kind::Cluster, other, &reference.name) {
            return Some(found);
        }
        let mut clusters = self.clusters.iter().map(|found| &found.resource);
        let cluster = clusters
            .find(|cluster| cluster.name_any() == reference.name && namespace_of(*cluster) == other)?;
        let admits = other == namespace || cluster.spec.topics.allowed_namespaces.from == From::All;
        (!admits).then(|| Violation {
            field: "spec.clusterRef.namespace".to_owned(),
            message: format!(
                "is {other:?}, whose cluster {:?} takes none of other namespaces",
                reference.name
            ),
            hint: Some("set spec.topics.allowedNamespaces.from: All in the NsqCluster".to_owned()),
        })
    }

    fn dangling(&self, kind: Kind, namespace: &str, reference: &str) -> Option<Violation> {
        if self.declared.contains_key(&(kind, namespace.to_owned(), reference.to_owned())) {
            return None;
        }
        let field = if kind == Kind::Topic { "spec.topicRef.name" } else { "spec.clusterRef.name" };
        let names = self.declared.keys().filter(|(k, n, _)| *k == kind && n == namespace);
        let names: Vec<&str> = names.map(|(_, _, name)| name.as_str()).collect();
        Some(relations::dangling(field, kind.name(), reference, &names))
    }

    fn finish(mut self) -> Result<Declaration, Vec<Problem>> {
        if !self.problems.is_empty() {
            self.problems.sort();
            self.problems.dedup();
            return Err(self.problems);
        }
        Ok(Declaration {
            clusters: self.clusters.into_iter().map(|found| found.resource).collect(),
            topics: self.topics.into_iter().map(|found| found.resource).collect(),
            channels: self.channels.into_iter().map(|found| found.resource).collect(),
        })
    }

    /// A document that is none of ours, or none at all.
    fn stray(&mut self, file: &str, line: u64, message: String, hint: Option<String>) {
        self.is_complete = false;
        self.problem(file, line, message, hint);
    }

    fn violation(&mut self, source: &Source, violation: Violation) {
        self.problems.push(located(source, violation));
    }

    fn problem(&mut self, file: &str, line: u64, message: String, hint: Option<String>) {
        self.problems.push(Problem { file: file.to_owned(), line, message, hint });
    }
}

/// `NsqTopic "orders"`; with its namespace where that is not the default one.
fn label(kind: Kind, namespace: &str, name: Option<&str>) -> String {
    match (name, namespace) {
        (None, _) => format!("an {} without a name", kind.name()),
        (Some(name), "default") => format!("{} {name:?}", kind.name()),
        (Some(name), namespace) => format!("{} {:?}", kind.name(), format!("{namespace}/{name}")),
    }
}

fn located(source: &Source, violation: Violation) -> Problem {
    let Violation { field, message, hint } = violation;
    let line = source.node.line_of(&field);
    Problem {
        file: source.file.clone(),
        line,
        message: format!("{field} of {} {message}", source.label),
        hint,
    }
}

/// Two resources that want to be one topic or channel, said at the later one.
fn conflict<'a, T>(
    field: &str,
    found: &'a [Found<T>],
    later: usize,
    first: usize,
    what: &str,
) -> Option<(&'a Source, Violation)> {
    let (later, first) = (&found.get(later)?.source, &found.get(first)?.source);
    let keys: Vec<&str> = field.split('.').collect();
    // Without the field, it is metadata.name that collides.
    let field = if later.node.at(&keys).is_some() { field } else { "metadata.name" };
    let line = first.node.line_of("metadata.name");
    let message = format!("makes it {what}, which {} is already", first.label);
    let hint = Some(format!("keep one of them; the other is at {}:{line}", first.file));
    Some((later, Violation { field: field.to_owned(), message, hint }))
}

#[cfg(test)]
mod tests;
