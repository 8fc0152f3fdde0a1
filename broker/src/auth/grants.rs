//! What an auth server allows, as a value: patterns of topics and channels with their permissions, for a time.

use std::time::Duration;

use regex::{Regex, RegexBuilder};
use serde::Deserialize;

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
    topic: Regex,
    channels: Vec<Regex>,
    may_subscribe: bool,
    may_publish: bool,
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

impl Grants {
    /// From the answer of an auth server.
    ///
    /// # Errors
    /// It is not the JSON it must be, allows it for no time, names another permission, or a pattern is none.
    pub(crate) fn parse(body: &[u8], matching: Matching) -> Result<Self, String> {
        let answer: Answer =
            serde_json::from_slice(body).map_err(|error| format!("no such JSON: {error}"))?;
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
        self.topic.is_match(topic) && self.channels.iter().any(|pattern| pattern.is_match(channel))
    }
}

fn rule(from: &Authorization, matching: Matching) -> Result<Rule, String> {
    let mut rule = Rule {
        topic: pattern(&from.topic, matching)?,
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
        rule.channels.push(pattern(channel, matching)?);
    }
    Ok(rule)
}

fn pattern(text: &str, matching: Matching) -> Result<Regex, String> {
    let anchored = match matching {
        Matching::Whole => format!("^(?:{text})$"),
        Matching::Anywhere => text.to_owned(),
    };
    let built = RegexBuilder::new(&anchored).size_limit(PATTERN_BYTES_MAX).build();
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
        ] {
            for (matching, expected) in [(Matching::Whole, whole), (Matching::Anywhere, anywhere)] {
                let grants = grants(pattern, any, both, matching);
                assert_eq!(grants.may_publish(name), expected, "{pattern} {name} {matching:?}");
                assert_eq!(grants.may_subscribe(name, "c"), expected, "{pattern} {name} {matching:?}");
            }
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
}
