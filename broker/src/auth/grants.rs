//! What an auth server allows, as a value: patterns of topics and channels with their permissions, for a time.

use std::time::Duration;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;
use serde_json::Value;

/// How a pattern is held against a name: `--auth-regex`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Matching {
    /// It must match all of it.
    Whole,
    /// nsqd: it may match any part, so that `foo` allows `xfoobar`.
    Anywhere,
}

/// What the bearer of a secret may do.
#[derive(Debug, Clone)]
pub(crate) struct Grants {
    /// Who it is, for people.
    pub identity: String,
    /// More about it, for people.
    pub identity_url: String,
    /// How long this holds.
    pub ttl: Duration,
    rules: Vec<Rule>,
}

#[derive(Debug, Clone)]
struct Rule {
    topic: Pattern,
    channels: Vec<Pattern>,
    may_subscribe: bool,
    may_publish: bool,
}

/// A pattern of names. Every session keeps its own, and a compiled expression takes kilobytes: most patterns are none.
#[derive(Debug, Clone)]
enum Pattern {
    /// `.*`
    Any,
    /// A name, and nothing but it.
    Exact(String),
    Expression(Regex),
}

/// A compiled pattern takes this much memory at most: patterns come from outside.
const PATTERN_BYTES_MAX: usize = 1 << 20;

#[derive(Deserialize)]
struct Answer {
    ttl: i64,
    #[serde(default)]
    identity: Option<String>,
    #[serde(default)]
    identity_url: Option<String>,
    #[serde(default)]
    authorizations: Option<Vec<Authorization>>,
}

#[derive(Deserialize)]
struct Authorization {
    #[serde(default)]
    permissions: Option<Vec<String>>,
    #[serde(default)]
    topic: String,
    #[serde(default)]
    channels: Option<Vec<String>>,
}

/// As Go reads JSON, which auth servers were written for: the case of keys does not matter, and null is as if nothing
/// stood there.
fn folded(value: Value) -> Value {
    match value {
        Value::Object(fields) => {
            let fields = fields.into_iter().filter(|(_, value)| !value.is_null());
            fields.map(|(key, value)| (key.to_ascii_lowercase(), folded(value))).collect()
        }
        Value::Array(items) => items.into_iter().map(folded).collect(),
        other => other,
    }
}

impl Grants {
    /// From the answer of an auth server.
    ///
    /// # Errors
    /// It is not the JSON it must be, allows it for no time, names another permission, or a pattern is none.
    pub(crate) fn parse(body: &[u8], matching: Matching) -> Result<Self, String> {
        let answer = serde_json::from_slice(body).map(folded).and_then(serde_json::from_value);
        let answer: Answer = answer.map_err(|error| format!("no such JSON: {error}"))?;
        let ttl = u64::try_from(answer.ttl).ok().filter(|&ttl| ttl > 0);
        let ttl = ttl.ok_or_else(|| format!("ttl is {}, it must be above 0", answer.ttl))?;
        let authorizations = answer.authorizations.unwrap_or_default();
        Ok(Self {
            identity: answer.identity.unwrap_or_default(),
            identity_url: answer.identity_url.unwrap_or_default(),
            ttl: Duration::from_secs(ttl),
            rules: authorizations.iter().map(|one| rule(one, matching)).collect::<Result<_, _>>()?,
        })
    }

    /// May messages be published to `topic`?
    pub(crate) fn may_publish(&self, topic: &str) -> bool {
        // nsqd: publishing is to no channel, and a pattern must match that too.
        self.rules.iter().any(|rule| rule.may_publish && rule.covers(topic, ""))
    }

    /// May `channel` of `topic` be consumed?
    pub(crate) fn may_subscribe(&self, topic: &str, channel: &str) -> bool {
        self.rules.iter().any(|rule| rule.may_subscribe && rule.covers(topic, channel))
    }

    /// How many authorizations there are.
    pub(crate) fn count(&self) -> usize {
        self.rules.len()
    }
}

impl Rule {
    fn covers(&self, topic: &str, channel: &str) -> bool {
        self.topic.matches(topic) && self.channels.iter().any(|pattern| pattern.matches(channel))
    }
}

fn rule(from: &Authorization, matching: Matching) -> Result<Rule, String> {
    let mut rule = Rule {
        topic: Pattern::new(&from.topic, matching)?,
        channels: Vec::new(),
        may_subscribe: false,
        may_publish: false,
    };
    for permission in from.permissions.iter().flatten() {
        match permission.as_str() {
            "subscribe" => rule.may_subscribe = true,
            "publish" => rule.may_publish = true,
            other => return Err(format!("unknown permission {other:?}")),
        }
    }
    for channel in from.channels.iter().flatten() {
        rule.channels.push(Pattern::new(channel, matching)?);
    }
    Ok(rule)
}

impl Pattern {
    fn new(text: &str, matching: Matching) -> Result<Self, String> {
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-' | b'#');
        match matching {
            _ if text == ".*" => return Ok(Self::Any),
            Matching::Whole if text.bytes().all(is_plain) => return Ok(Self::Exact(text.to_owned())),
            Matching::Whole | Matching::Anywhere => {}
        }
        // On its own first: a `)` too many must not end the group that is put around it.
        let alone = compiled(text)?;
        Ok(Self::Expression(match matching {
            Matching::Whole => compiled(&format!("^(?:{text})$"))?,
            Matching::Anywhere => alone,
        }))
    }

    fn matches(&self, name: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exact(text) => text == name,
            Self::Expression(regex) => regex.is_match(name),
        }
    }
}

fn compiled(text: &str) -> Result<Regex, String> {
    let built = RegexBuilder::new(text).size_limit(PATTERN_BYTES_MAX).build();
    built.map_err(|_| format!("{text:?} is no pattern that can be used"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grants(topic: &str, channels: &str, permissions: &str, matching: Matching) -> Grants {
        let body = format!(
            r#"{{"ttl":1,"identity":null,"authorizations":[{{"permissions":[{permissions}],"topic":"{topic}","channels":[{channels}]}}]}}"#
        );
        Grants::parse(body.as_bytes(), matching).unwrap()
    }

    #[test]
    fn patterns_match_whole_names_unless_stocks_way_is_asked_for() {
        let (both, any) = (r#""publish","subscribe""#, r#"".*""#);
        for (pattern, name, whole, anywhere) in [
            ("foo", "foo", true, true),
            ("foo", "xfoobar", false, true),
            ("foo|bar", "bar", true, true),
            ("foo|bar", "barx", false, true),
            ("^foo", "foobar", false, true),
            ("^foo.*$", "foobar", true, true),
            (".*", "anything", true, true),
            ("a.b", "a.b", true, true),
            ("a.b", "axb", true, true),
            ("x#ephemeral", "x#ephemeral", true, true),
            ("a|ab", "ab", true, true),
            ("", "any", false, true),
        ] {
            for (matching, expected) in [(Matching::Whole, whole), (Matching::Anywhere, anywhere)] {
                let grants = grants(pattern, any, both, matching);
                assert_eq!(grants.may_publish(name), expected, "{pattern} {name} {matching:?}");
                assert_eq!(grants.may_subscribe(name, "c"), expected, "{pattern} {name} {matching:?}");
            }
        }
    }

    #[test]
    fn no_pattern_matches_more_than_a_whole_name_by_a_bracket_too_many() {
        for text in ["a)|(?:.*", "a)|(b", "(?:a", "a\\"] {
            assert!(Pattern::new(text, Matching::Whole).is_err(), "{text}");
            assert!(Pattern::new(text, Matching::Anywhere).is_err(), "{text}");
        }
    }

    #[test]
    fn patterns_of_go_are_understood() {
        for text in [
            "[[:alpha:]]+",
            "(?i)A",
            "(?P<n>a)",
            r"\Aa\z",
            r"\ba\b",
            r"\x61",
            r"\x{61}",
            "(?U)a+",
            r"\pL",
            "a{1,2}?",
            "^a$",
            "[^b]",
            "a{1}",
            r"[\w]",
            "(?s).",
            "(?:a)",
        ] {
            assert!(Pattern::new(text, Matching::Whole).is_ok_and(|pattern| pattern.matches("a")), "{text}");
        }
        for text in [r"\Qa\E", r"\C", "a{"] {
            assert!(
                Pattern::new(text, Matching::Whole).is_err(),
                "{text} would be worth a line in the documents"
            );
        }
    }

    #[test]
    fn publishing_needs_a_channel_pattern_that_matches_nothing_at_all() {
        for (channels, may) in [(r#"".*""#, true), (r#""^arch$""#, false), ("", false), (r#""c","""#, true)] {
            assert_eq!(
                grants("t", channels, r#""publish""#, Matching::Whole).may_publish("t"),
                may,
                "{channels}"
            );
        }
    }

    #[test]
    fn a_permission_for_one_thing_is_none_for_the_other() {
        let publisher = grants("t", r#"".*""#, r#""publish""#, Matching::Whole);
        assert!(publisher.may_publish("t") && !publisher.may_subscribe("t", "c"));
        let consumer = grants("t", r#""c""#, r#""subscribe""#, Matching::Whole);
        assert!(
            !consumer.may_publish("t")
                && consumer.may_subscribe("t", "c")
                && !consumer.may_subscribe("t", "d")
        );
    }

    #[test]
    fn answers_that_make_no_sense_allow_nothing() {
        for (body, expected) in [
            ("", "no such JSON"),
            ("[]", "no such JSON"),
            (r#"{"ttl":0}"#, "ttl is 0"),
            (r#"{"ttl":-5}"#, "ttl is -5"),
            (r#"{"ttl":1,"authorizations":[{"permissions":["admin"],"topic":"t"}]}"#, "unknown permission"),
            (r#"{"ttl":1,"authorizations":[{"permissions":[],"topic":"("}]}"#, "is no pattern"),
            (
                r#"{"ttl":1,"authorizations":[{"permissions":[],"topic":"((a{99}){99}){99}"}]}"#,
                "is no pattern",
            ),
        ] {
            let error = Grants::parse(body.as_bytes(), Matching::Whole).unwrap_err();
            assert!(error.contains(expected), "{body}: {error}");
        }
        assert_eq!(Grants::parse(br#"{"ttl":1,"authorizations":null}"#, Matching::Whole).unwrap().count(), 0);
    }

    #[test]
    fn keys_are_read_as_go_reads_them() {
        let body = br#"{"TTL":5,"Identity":null,"Authorizations":[{"Topic":"t","Channels":[".*"],"Permissions":["publish"],"permissions":null}]}"#;
        let grants = Grants::parse(body, Matching::Whole).unwrap();
        assert!(grants.may_publish("t") && !grants.may_publish("other"));
        assert_eq!(grants.ttl, Duration::from_secs(5));
        Grants::parse(b"{}", Matching::Whole).map(drop).unwrap_err();
    }
}
