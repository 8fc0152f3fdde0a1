//! One value of one option, from the text of a flag or an environment variable.

use std::time::Duration;

use super::{Kind, Opt};
use crate::duration;

/// An option's value, of its kind.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Value {
    Bool(bool),
    Int(i64),
    Duration(Duration),
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
        Kind::Int => text.parse().map(Value::Int).map_err(|_| format!("{text:?} is not a whole number")),
        Kind::Duration => duration::parse(text).map(Value::Duration),
    }
}

pub(super) fn split(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned)
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
