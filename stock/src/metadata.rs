//! `nsqd.dat`: the topics and channels there are, and which of them are paused.

use serde::{Deserialize, Deserializer, Serialize};

/// The content of `nsqd.dat`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Metadata {
    /// In any order.
    #[serde(default, deserialize_with = "or_default")]
    pub topics: Vec<TopicEntry>,
    /// Of the nsqd that wrote it; stock does not look at it.
    #[serde(default, deserialize_with = "or_default")]
    pub version: String,
}

/// A topic.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TopicEntry {
    /// May be one that no topic can have: stock skips those.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Its messages are not shown to its channels.
    #[serde(default, deserialize_with = "or_default")]
    pub paused: bool,
    /// Its channels.
    #[serde(default, deserialize_with = "or_default")]
    pub channels: Vec<ChannelEntry>,
}

/// A channel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ChannelEntry {
    /// May be one that no channel can have: stock skips those.
    #[serde(default, deserialize_with = "or_default")]
    pub name: String,
    /// Its messages are not delivered.
    #[serde(default, deserialize_with = "or_default")]
    pub paused: bool,
}

impl Metadata {
    /// Read the file's content. What stock ignores is ignored: unknown fields, missing ones, `null`.
    ///
    /// # Errors
    /// It is no JSON of this form: where and why. Stock ends there too.
    pub fn parse(bytes: &[u8]) -> Result<Self, String> {
        // The reader would take a list for the fields in their order.
        if bytes.trim_ascii_start().starts_with(b"[") {
            return Err("a list stands where topics belong, at line 1".to_owned());
        }
        let metadata: Option<Self> = serde_json::from_slice(bytes).map_err(|error| error.to_string())?;
        Ok(metadata.unwrap_or_default())
    }

    /// The file's content as stock reads it.
    ///
    /// # Errors
    /// Never in practice: names are plain text.
    pub fn to_json(&self) -> Result<String, String> {
        serde_json::to_string(self).map_err(|error| error.to_string())
    }
}

/// Go's JSON takes `null` for nothing at all; older nsqds wrote it for "no channels".
fn or_default<'de, D: Deserializer<'de>, T: Default + Deserialize<'de>>(from: D) -> Result<T, D::Error> {
    Option::deserialize(from).map(Option::unwrap_or_default)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn topics_and_channels_are_read_as_stock_wrote_them() {
        let text = r#"{"topics":[{"name":"b","paused":false,"channels":[{"name":"c","paused":true}]},
            {"name":"a","paused":true,"channels":null,"more":1}],"version":"1.3.0"}"#;
        let metadata = Metadata::parse(text.as_bytes()).unwrap();
        let [b, a] = &metadata.topics[..] else { panic!("{metadata:?}") };
        assert_eq!((b.name.as_str(), b.paused, a.name.as_str(), a.paused), ("b", false, "a", true));
        assert_eq!(b.channels, [ChannelEntry { name: "c".into(), paused: true }]);
        assert!(a.channels.is_empty());
        for empty in ["{}", r#"{"topics":null}"#, "null"] {
            assert_eq!(Metadata::parse(empty.as_bytes()).map(|m| m.topics), Ok(Vec::new()), "{empty}");
        }
    }

    #[test]
    fn what_is_no_json_is_refused_with_its_place() {
        for text in ["", "{", "taken over", "[]", r#"{"topics":{}}"#, "\0\0\0"] {
            let error = Metadata::parse(text.as_bytes()).unwrap_err();
            assert!(error.contains("line"), "{text}: {error}");
        }
    }

    #[test]
    fn it_is_written_in_the_order_of_stock() {
        let channels = vec![ChannelEntry { name: "c".into(), paused: true }];
        let topics = vec![TopicEntry { name: "t".into(), paused: false, channels }];
        let written = Metadata { topics, version: "1.3.0".into() }.to_json().unwrap();
        assert_eq!(
            written,
            r#"{"topics":[{"name":"t","paused":false,"channels":[{"name":"c","paused":true}]}],"version":"1.3.0"}"#
        );
    }
}
