//! Compares a document with the schema of its kind, the one the API server gets, and says what does not fit,
//! with the line. What needs to understand values (names, sizes, durations) is in validate.rs.

use kube::CustomResourceExt as _;
use serde_json::{Value as Json, json};

use super::kind::Kind;
use super::yaml::{Entry, Node, Value};
use crate::crds;
use crate::nearest::nearest;
use crate::resources::{NsqChannel, NsqCluster, NsqTopic};

/// Something a document says that its schema does not allow.
#[derive(Debug, PartialEq)]
pub(super) struct Fault {
    pub(super) line: u64,
    pub(super) message: String,
    pub(super) hint: Option<String>,
}

/// The schemas of whole documents, by kind.
pub(super) struct Schemas {
    cluster: Json,
    topic: Json,
    channel: Json,
}

impl Schemas {
    pub(super) fn new() -> Self {
        Self {
            cluster: whole(crds::schema(&NsqCluster::crd())),
            topic: whole(crds::schema(&NsqTopic::crd())),
            channel: whole(crds::schema(&NsqChannel::crd())),
        }
    }

    /// What is wrong with `document`, which messages call `label`.
    pub(super) fn check(&self, kind: Kind, document: &Node, label: &str) -> Vec<Fault> {
        let schema = match kind {
            Kind::Cluster => &self.cluster,
            Kind::Topic => &self.topic,
            Kind::Channel => &self.channel,
        };
        let mut check = Check { label, faults: Vec::new() };
        check.node("", document.line, document, schema);
        check.faults
    }
}

/// A CRD leaves out what every Kubernetes object has.
fn whole(mut schema: Json) -> Json {
    let texts = json!({ "type": "object", "additionalProperties": { "type": "string" } });
    let anything = json!({});
    // What `kubectl get -o yaml` adds is legal, so that its output can be read back.
    let metadata = json!({ "type": "object", "required": ["name"], "properties": {
        "name": { "type": "string" }, "namespace": { "type": "string" }, "labels": texts, "annotations": texts,
        "creationTimestamp": anything, "deletionGracePeriodSeconds": anything, "deletionTimestamp": anything,
        "finalizers": anything, "generateName": anything, "generation": anything, "managedFields": anything,
        "ownerReferences": anything, "resourceVersion": anything, "selfLink": anything, "uid": anything,
    }});
    if let Some(properties) = schema.get_mut("properties").and_then(Json::as_object_mut) {
        properties.insert("apiVersion".to_owned(), json!({ "type": "string" }));
        properties.insert("kind".to_owned(), json!({ "type": "string" }));
        properties.insert("metadata".to_owned(), metadata);
    }
    if let Some(fields) = schema.as_object_mut() {
        fields.insert("required".to_owned(), json!(["metadata", "spec"]));
    }
    schema
}

struct Check<'a> {
    label: &'a str,
    faults: Vec<Fault>,
}

impl Check<'_> {
    fn node(&mut self, path: &str, line: u64, node: &Node, schema: &Json) {
        if let Some(wanted) = wanted_type(&node.value, schema) {
            let hint = hint_for_type(&node.value, schema);
            return self.fault(
                line,
                format!("{} is {}, but must be {wanted}", self.of(path), shown(node)),
                hint,
            );
        }
        if let Value::Map(entries) = &node.value {
            self.repeated(path, entries);
            self.fields(path, line, entries, schema);
        }
        self.range(path, line, node, schema);
        self.choice(path, line, node, schema);
    }

    fn fields(&mut self, path: &str, line: u64, entries: &[Entry], schema: &Json) {
        let no_fields = serde_json::Map::new();
        let known = schema.get("properties").and_then(Json::as_object).unwrap_or(&no_fields);
        let values = schema.get("additionalProperties");
        if known.is_empty() && values.is_none() {
            return;
        }
        for Entry { key, line, node } in entries {
            let path = if path.is_empty() { key.clone() } else { format!("{path}.{key}") };
            match (known.get(key), values) {
                // The API server takes `field: null` as an absent field.
                (Some(_), _) if node.value == Value::Null => {}
                (Some(field), _) | (None, Some(field)) => self.node(&path, *line, node, field),
                (None, None) => self.unknown(&path, key, *line, known),
            }
        }
        for required in schema.get("required").and_then(Json::as_array).into_iter().flatten() {
            let Some(required) = required.as_str() else { continue };
            let present =
                entries.iter().find(|entry| entry.key == required && entry.node.value != Value::Null);
            if present.is_none() {
                self.missing(path, required, line);
            }
        }
    }

    fn unknown(&mut self, path: &str, key: &str, line: u64, known: &serde_json::Map<String, Json>) {
        let parent = path.strip_suffix(key).and_then(|parent| parent.strip_suffix('.'));
        let place = parent.map_or_else(|| self.label.to_owned(), |parent| self.of(parent));
        let hint = match nearest(key, known.keys().map(String::as_str)) {
            Some(name) => format!("did you mean {name:?}?"),
            None => format!("known here: {}", known.keys().cloned().collect::<Vec<_>>().join(", ")),
        };
        self.fault(line, format!("unknown field {key:?} in {place}"), Some(hint));
    }

    fn missing(&mut self, path: &str, required: &str, line: u64) {
        let place = if path.is_empty() { self.label.to_owned() } else { self.of(path) };
        let hint = match (path, required) {
            ("", "spec") => Some("write `spec: {}` for the defaults".to_owned()),
            ("", "metadata") => Some("every resource has a name: metadata: {name: ...}".to_owned()),
            _ => None,
        };
        self.fault(line, format!("field {required:?} is missing in {place}"), hint);
    }

    fn repeated(&mut self, path: &str, entries: &[Entry]) {
        for (index, entry) in entries.iter().enumerate() {
            if let Some(first) = entries.iter().take(index).find(|first| first.key == entry.key) {
                let place = if path.is_empty() { self.label.to_owned() } else { self.of(path) };
                let message = format!("field {:?} is twice in {place}", entry.key);
                self.fault(entry.line, message, Some(format!("the first is on line {}", first.line)));
            }
        }
    }

    fn range(&mut self, path: &str, line: u64, node: &Node, schema: &Json) {
        let limit = |name: &str| schema.get(name).and_then(Json::as_i64);
        let Value::Integer(value) = node.value else { return };
        let (min, max) = (limit("minimum"), limit("maximum"));
        if min.is_some_and(|min| value < min) || max.is_some_and(|max| value > max) {
            let (min, max) = (min.unwrap_or(i64::MIN), max.unwrap_or(i64::MAX));
            self.fault(line, format!("{} is {value}, but must be {min} to {max}", self.of(path)), None);
        }
    }

    fn choice(&mut self, path: &str, line: u64, node: &Node, schema: &Json) {
        let Some(choices) = choices(schema) else { return };
        let Value::Text(value) = &node.value else { return };
        if !choices.contains(&value.as_str()) {
            let message =
                format!("{} is {value:?}, but must be one of {}", self.of(path), choices.join(", "));
            let hint = nearest(value, choices).map(|choice| format!("did you mean {choice:?}?"));
            self.fault(line, message, hint);
        }
    }

    fn of(&self, path: &str) -> String {
        format!("{path} of {}", self.label)
    }

    fn fault(&mut self, line: u64, message: String, hint: Option<String>) {
        self.faults.push(Fault { line, message, hint });
    }
}

/// What the schema wants, in words, if the value is not of that type.
fn wanted_type(value: &Value, schema: &Json) -> Option<&'static str> {
    if schema.get("x-kubernetes-int-or-string").is_some() {
        let fits = matches!(value, Value::Integer(0..) | Value::Text(_));
        return (!fits).then_some("a whole number, or text as in 1Mi");
    }
    let (fits, wanted) = match schema.get("type").and_then(Json::as_str)? {
        "object" => (matches!(value, Value::Map(_)), "a map of fields"),
        "array" => (matches!(value, Value::List(_)), "a list"),
        "string" => (matches!(value, Value::Text(_)), "text"),
        "integer" => (matches!(value, Value::Integer(_)), "a whole number"),
        "boolean" => (matches!(value, Value::Bool(_)), "true or false"),
        _ => return None,
    };
    (!fits).then_some(wanted)
}

/// The texts a field may have, if it is a choice.
fn choices(schema: &Json) -> Option<Vec<&str>> {
    Some(schema.get("enum")?.as_array()?.iter().filter_map(Json::as_str).collect())
}

fn hint_for_type(value: &Value, schema: &Json) -> Option<String> {
    if let Some(choices) = choices(schema) {
        return Some(format!("write one of {}", choices.join(", ")));
    }
    match (value, schema.get("type").and_then(Json::as_str)?) {
        (Value::Integer(value), "string") => Some(format!("put it in quotes: \"{value}\"")),
        (Value::Float(value), "string") => Some(format!("put it in quotes: \"{value}\"")),
        (Value::Bool(value), "string") => Some(format!("put it in quotes: \"{value}\"")),
        (Value::Null, "string") => Some("write \"\" for empty text".to_owned()),
        (Value::Text(text), "integer") if text.parse::<i64>().is_ok() => {
            Some(format!("leave out the quotes: {text}"))
        }
        (Value::Text(text), "boolean") => match text.to_ascii_lowercase().as_str() {
            "yes" | "on" | "true" => Some("write true".to_owned()),
            "no" | "off" | "false" => Some("write false".to_owned()),
            _ => None,
        },
        _ => None,
    }
}

fn shown(node: &Node) -> String {
    match &node.value {
        Value::Null => "empty".to_owned(),
        Value::Bool(value) => value.to_string(),
        Value::Integer(value) => value.to_string(),
        Value::Float(value) => value.to_string(),
        Value::Text(value) => format!("the text {value:?}"),
        Value::List(_) => "a list".to_owned(),
        Value::Map(_) => "a map of fields".to_owned(),
    }
}
