//! YAML as a tree that knows its lines: every key and every value. serde structs would lose the line of a key
//! that no struct has, which is the one mistake people make most.

use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};
use serde_saphyr::{DuplicateKeyPolicy, Options, Spanned};

/// A value and where it stands.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Node {
    /// 1-based; of a map, the line of its first key.
    pub(super) line: u64,
    pub(super) value: Value,
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Value {
    Null,
    Bool(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    List(Vec<Node>),
    /// In the order of the file; a key may repeat.
    Map(Vec<Entry>),
}

/// One `key: value` of a map.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) key: String,
    /// 1-based; of the key.
    pub(super) line: u64,
    pub(super) node: Node,
}

/// YAML that is none, and where.
#[derive(Debug, PartialEq)]
pub(super) struct SyntaxError {
    pub(super) line: u64,
    pub(super) message: String,
}

/// All documents of a file that are not empty.
///
/// # Errors
/// The first place that is no YAML. What stands before it is not returned, since an unclosed quote or bracket
/// is noticed far below its start.
pub(super) fn documents(text: &str) -> Result<Vec<Node>, SyntaxError> {
    let documents: Vec<Spanned<Value>> =
        serde_saphyr::from_multiple_with_options(text, options()).map_err(|error| {
            let error = error.without_snippet();
            let line = error.location().map_or(1, |location| location.line().max(1));
            let text = error.to_string();
            let message = text.rsplit_once(" at line ").map_or(text.as_str(), |(message, _)| message);
            SyntaxError { line, message: message.to_owned() }
        })?;
    Ok(documents.into_iter().map(Node::from).filter(|node| node.value != Value::Null).collect())
}

impl Node {
    /// The entry of `key` in a map.
    pub(super) fn entry(&self, key: &str) -> Option<&Entry> {
        self.entries().iter().find(|entry| entry.key == key)
    }

    /// The value at the end of a path of keys.
    pub(super) fn at(&self, path: &[&str]) -> Option<&Self> {
        path.iter().try_fold(self, |node, key| Some(&node.entry(key)?.node))
    }

    pub(super) fn text_at(&self, path: &[&str]) -> Option<&str> {
        match &self.at(path)?.value {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The line of the key that is deepest on the way to `path`, as `spec.brokers`: of a field that is
    /// absent, the line of what it is absent from.
    pub(super) fn line_of(&self, path: &str) -> u64 {
        let mut node = self;
        let mut line = self.line;
        for key in path.split('.') {
            let Some(entry) = node.entry(key) else { break };
            line = entry.line;
            node = &entry.node;
        }
        line
    }

    pub(super) fn entries(&self) -> &[Entry] {
        match &self.value {
            Value::Map(entries) => entries,
            _ => &[],
        }
    }

    /// As JSON, with null fields left out: the API server treats them as absent too.
    pub(super) fn to_json(&self) -> serde_json::Value {
        match &self.value {
            Value::Null => serde_json::Value::Null,
            Value::Bool(value) => (*value).into(),
            Value::Integer(value) => (*value).into(),
            Value::Float(value) => (*value).into(),
            Value::Text(value) => value.as_str().into(),
            Value::List(items) => items.iter().map(Self::to_json).collect(),
            Value::Map(entries) => {
                let present = entries.iter().filter(|entry| entry.node.value != Value::Null);
                present.map(|entry| (entry.key.clone(), entry.node.to_json())).collect()
            }
        }
    }
}

impl From<Spanned<Value>> for Node {
    fn from(spanned: Spanned<Value>) -> Self {
        Self { line: spanned.referenced.line(), value: spanned.value }
    }
}

fn options() -> Options {
    serde_saphyr::options! {
        // Reported by us, with both lines.
        duplicate_keys: DuplicateKeyPolicy::PassThrough,
        // `yes` and `on` are text, as YAML 1.2 has it: the error then says what to write.
        strict_booleans: true,
        with_snippet: false,
        // One file may declare ten thousand topics. Depth keeps the reader's own small limit.
        budget: serde_saphyr::budget! { max_documents: 30_000, max_nodes: 1_000_000, max_events: 4_000_000 },
        alias_limits: serde_saphyr::alias_limits! { max_total_replayed_events: 100_000 },
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(AnyValue)
    }
}

struct AnyValue;

impl<'de> Visitor<'de> for AnyValue {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any YAML value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(Value::Integer(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        // Beyond i64 no field has room: a float keeps the kind of mistake, which is the size.
        Ok(i64::try_from(value).map_or(Value::Float(value as f64), Value::Integer))
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(Value::Float(value))
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::Text(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(item) = items.next_element::<Spanned<Value>>()? {
            list.push(item.into());
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut fields: A) -> Result<Value, A::Error> {
        let mut entries = Vec::new();
        while let Some(key) = fields.next_key::<Spanned<String>>()? {
            let node = fields.next_value::<Spanned<Value>>()?.into();
            entries.push(Entry { line: key.referenced.line(), key: key.value, node });
        }
        Ok(Value::Map(entries))
    }
}

#[cfg(test)]
mod tests {
    use super::{SyntaxError, Value, documents};

    #[test]
    fn every_key_has_its_line() {
        let text = "# comment\n---\na: 1\nb:\n  c: {d: x,\n    e: [1,\n      {f: yes}]}\n---\n---\n# only a comment\n---\ng: 'true'\n";
        let documents = documents(text).unwrap();
        assert_eq!(documents.len(), 2);
        let lines =
            [("a", 3), ("b", 4), ("b.c", 5), ("b.c.d", 5), ("b.c.e", 6), ("b.c.nothing", 5), ("nothing", 3)];
        for (path, line) in lines {
            assert_eq!(documents[0].line_of(path), line, "{path}");
        }
        let list = &documents[0].at(&["b", "c", "e"]).unwrap().value;
        assert!(matches!(list, Value::List(items) if items[1].line_of("f") == 7), "{list:?}");
        assert_eq!(documents[1].line_of("g"), 12);
        assert_eq!(documents[1].text_at(&["g"]), Some("true"));
    }

    #[test]
    fn scalars_are_what_yaml_1_2_says() {
        let table = [
            ("true", Value::Bool(true)),
            ("yes", Value::Text("yes".to_owned())),
            ("12", Value::Integer(12)),
            ("-3", Value::Integer(-3)),
            ("1.5", Value::Float(1.5)),
            ("~", Value::Null),
            ("60s", Value::Text("60s".to_owned())),
            ("\"12\"", Value::Text("12".to_owned())),
            ("99999999999999999999", Value::Float(1e20)),
        ];
        for (text, value) in table {
            assert_eq!(
                documents(&format!("a: {text}")).unwrap()[0].at(&["a"]).unwrap().value,
                value,
                "{text}"
            );
        }
    }

    #[test]
    fn a_syntax_error_has_a_line() {
        for (text, line) in
            [("a: 1\nb: [1, 2\nc: 3\n", 3), ("a: 1\n  b: 2\n", 2), ("a: \"x\n", 1), ("a: &x 1\nb: *y", 2)]
        {
            let SyntaxError { line: found, message } = documents(text).unwrap_err();
            assert_eq!(found, line, "{text:?}: {message}");
        }
    }

    #[test]
    fn a_file_may_have_ten_thousand_documents_but_no_bottomless_one() {
        assert_eq!(documents(&"---\na: {b: c}\n".repeat(10_000)).unwrap().len(), 10_000);
        assert!(documents(&format!("a: {}", "[".repeat(100_000))).is_err());
        assert!(documents(&format!("{}1{}", "{a: ".repeat(100_000), "}".repeat(100_000))).is_err());
    }

    #[test]
    fn a_bomb_of_aliases_is_an_error_and_not_an_explosion() {
        let mut text = "a0: &a0 [x, x, x, x, x, x, x, x, x, x]\n".to_owned();
        for level in 1..12 {
            let below = format!("*a{}", level - 1);
            text += &format!("a{level}: &a{level} [{}]\n", vec![below; 10].join(", "));
        }
        assert!(documents(&text).is_err());
    }
}
