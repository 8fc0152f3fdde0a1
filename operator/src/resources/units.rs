//! Sizes and durations as people write them in YAML. The text is kept: what was declared is what is shown
//! again.

use std::borrow::Cow;
use std::time::Duration;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Deserializer, Serialize};

/// A number of bytes, as Kubernetes writes sizes: `1048576`, `1Mi`, `5M`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(transparent)]
pub struct ByteSize(String);

impl ByteSize {
    const PATTERN: &'static str = "^[0-9]{1,20}(k|M|G|T|Ki|Mi|Gi|Ti)?$";

    /// A size by its text, right or wrong.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as it was declared.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The number of bytes, or `None` where the text is no size.
    pub fn bytes(&self) -> Option<u64> {
        let unit_at = self.0.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.0.len());
        let (digits, unit) = self.0.split_at(unit_at);
        let factor: u64 = match unit {
            "" => 1,
            "k" => 1_000,
            "M" => 1_000_000,
            "G" => 1_000_000_000,
            "Ki" => 1 << 10,
            "Mi" => 1 << 20,
            "T" => 1_000_000_000_000,
            "Gi" => 1 << 30,
            "Ti" => 1 << 40,
            _ => return None,
        };
        digits.parse::<u64>().ok()?.checked_mul(factor)
    }
}

impl<'de> Deserialize<'de> for ByteSize {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Written {
            Number(u64),
            Text(String),
        }
        Ok(match Written::deserialize(deserializer)? {
            Written::Number(bytes) => Self(bytes.to_string()),
            Written::Text(text) => Self(text),
        })
    }
}

impl JsonSchema for ByteSize {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "ByteSize".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "x-kubernetes-int-or-string": true, "pattern": Self::PATTERN })
    }
}

/// A length of time, as Go and Kubernetes write durations: `60s`, `1m30s`, `250ms`. Never negative.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct GoDuration(String);

impl GoDuration {
    const PATTERN: &'static str = "^([0-9]{1,20}(\\.[0-9]{1,9})?(ns|us|ms|s|m|h))+$";
    const LENGTH_MAX: usize = 64;

    /// A duration by its text, right or wrong.
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text as it was declared.
    pub fn text(&self) -> &str {
        &self.0
    }

    /// The length, or `None` where the text is no duration or longer than Go can hold (292 years).
    pub fn duration(&self) -> Option<Duration> {
        let mut rest = self.0.as_str();
        let mut nanos: u64 = 0;
        if rest.is_empty() || rest.len() > Self::LENGTH_MAX {
            return None;
        }
        while !rest.is_empty() {
            let unit_at = rest.find(|c: char| !c.is_ascii_digit() && c != '.')?;
            let (number, tail) = rest.split_at(unit_at);
            let next_at = tail.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(tail.len());
            let (unit, next) = tail.split_at(next_at);
            nanos = nanos.checked_add(nanos_of(number, unit)?)?;
            rest = next;
        }
        (nanos <= i64::MAX as u64).then(|| Duration::from_nanos(nanos))
    }
}

impl JsonSchema for GoDuration {
    fn inline_schema() -> bool {
        true
    }

    fn schema_name() -> Cow<'static, str> {
        "GoDuration".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({ "type": "string", "maxLength": Self::LENGTH_MAX, "pattern": Self::PATTERN })
    }
}

/// The one spelling of a duration in a flag, so that `60s` and `1m` in a resource are no change.
pub(crate) fn flag_text(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    for (unit, length) in [("s", 1_000_000_000), ("ms", 1_000_000), ("us", 1_000)] {
        if nanos.is_multiple_of(length) {
            return format!("{}{unit}", nanos / length);
        }
    }
    format!("{nanos}ns")
}

/// `1.5` and `h` as nanoseconds, in integers: what a float rounds away would make two texts one duration.
fn nanos_of(number: &str, unit: &str) -> Option<u64> {
    let nanos_per_unit: u64 = match unit {
        "ns" => 1,
        "us" => 1_000,
        "ms" => 1_000_000,
        "s" => 1_000_000_000,
        "m" => 60_000_000_000,
        "h" => 3_600_000_000_000,
        _ => return None,
    };
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) if (1..=9).contains(&fraction.len()) => (whole, fraction),
        Some(_) => return None,
        None => (number, "0"),
    };
    let whole: u64 = whole.parse().ok()?;
    let scale = 10u128.pow(u32::try_from(fraction.len()).ok()?);
    let fraction: u64 = fraction.parse().ok()?;
    let fraction = u64::try_from(u128::from(fraction) * u128::from(nanos_per_unit) / scale).ok()?;
    whole.checked_mul(nanos_per_unit)?.checked_add(fraction)
}

#[cfg(test)]
mod tests;
