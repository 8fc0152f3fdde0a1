//! One value of one option, from the text of a flag or an environment variable.

use super::{Kind, Opt};
use crate::duration;

/// An option's value, of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    Int(i64),
    /// Nanoseconds. nsqd: takes negative ones.
    Duration(i64),
    Text(String),
    List(Vec<String>),
}

/// What `text` says for `opt`. An error says what is wrong with the text and what would be right, but not where it
/// stood.
pub(super) fn read(opt: &Opt, text: &str) -> Result<Value, String> {
    match opt.kind {
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Choice(words) => choice(words, opt.default, text).map(|word| Value::Text(word.to_owned())),
        Kind::List => Ok(Value::List(split(text).collect())),
        Kind::Bool => boolean(text).map(Value::Bool).ok_or_else(|| format!("{text:?} is not true or false")),
        Kind::Int => integer(text).map(Value::Int).ok_or_else(|| format!("{text:?} is not a whole number")),
        Kind::Duration => duration::parse_signed(text).map(Value::Duration),
    }
}

pub(super) fn split(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned)
}

/// As Go's flags: decimal, `0x`, `0o` or a leading 0, `0b`; `_` between digits of any of them.
fn integer(text: &str) -> Option<i64> {
    let (is_negative, digits) = match text.split_at_checked(1) {
        Some(("-", digits)) => (true, digits),
        Some(("+", digits)) => (false, digits),
        _ => (false, text),
    };
    let lower = digits.to_ascii_lowercase();
    let (radix, digits) = match lower.split_at_checked(2) {
        Some(("0x", rest)) => (16, rest),
        Some(("0b", rest)) => (2, rest),
        Some(("0o", rest)) => (8, rest),
        _ if lower.len() > 1 && lower.starts_with('0') => (8, lower.get(1..)?),
        _ => (10, lower.as_str()),
    };
    let is_prefixed = digits.len() < lower.len();
    let is_broken =
        digits.ends_with('_') || digits.contains("__") || (!is_prefixed && digits.starts_with('_'));
    if is_broken || digits.starts_with(['+', '-']) {
        return None;
    }
    let number = i128::from_str_radix(&digits.replace('_', ""), radix).ok()?;
    i64::try_from(if is_negative { -number } else { number }).ok()
}

/// Go's spellings.
pub(super) fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}

/// `a, b or c`.
pub(super) fn alternatives(words: &[&str]) -> String {
    let named: Vec<&str> = words.iter().copied().filter(|word| !word.is_empty()).collect();
    match named.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => named.concat(),
    }
}

fn choice<'a>(words: &[&'a str], default: &'a str, text: &str) -> Result<&'a str, String> {
    if text.is_empty() {
        return Ok(default);
    }
    let lower = text.to_ascii_lowercase();
    let spelling = match boolean(&lower) {
        Some(true) if words.contains(&"true") => "true",
        Some(false) if words.contains(&"false") => "false",
        _ => lower.as_str(),
    };
    let found = words.iter().find(|word| **word == spelling).copied();
    found.ok_or_else(|| format!("{text:?} is unknown; choose {}", alternatives(words)))
}

#[cfg(test)]
mod tests {
    use super::integer;

    #[test]
    fn whole_numbers_are_read_as_go_reads_them() {
        for (text, number) in [
            ("0", Some(0)),
            ("-12", Some(-12)),
            ("+7", Some(7)),
            ("0x100000", Some(1 << 20)),
            ("0X_10", Some(16)),
            ("1_048_576", Some(1 << 20)),
            ("0b101", Some(5)),
            ("0o17", Some(15)),
            ("010", Some(8)),
            ("0_7", Some(7)),
            ("-0x8000000000000000", Some(i64::MIN)),
            ("9223372036854775808", None),
            ("1__0", None),
            ("_1", None),
            ("1_", None),
            ("0x", None),
            ("08", None),
            ("--1", None),
            ("1.0", None),
            ("", None),
        ] {
            assert_eq!(integer(text), number, "{text}");
        }
    }
}
