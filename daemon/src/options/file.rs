//! The TOML file of `--config`. It takes what stock's file takes: durations as text or as whole milliseconds, lists as
//! arrays or with commas, numbers and booleans also as text. Where it cannot, it says so with line and caret.

use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::nearest::nearest;
use super::place::Source;
use super::read::{Value, read, split};
use super::{Kind, Opt};

/// What a file says.
#[derive(Debug, Default)]
pub(super) struct File<'t> {
    /// Option, place, value.
    pub(super) given: Vec<(&'t Opt, String, Value)>,
    /// Keys that nobody knows, each with its place.
    pub(super) unknown: Vec<String>,
    /// What cannot be obeyed, each with its place.
    pub(super) problems: Vec<String>,
}

/// Read the file at `path` by `table`.
pub(super) fn read_file<'t>(table: &'t [Opt], path: &str) -> File<'t> {
    match std::fs::read(path) {
        Ok(bytes) => match String::from_utf8(bytes) {
            Ok(text) => read_text(table, path, &text),
            Err(_) => failed(format!("--config: {path} is not UTF-8; a configuration file is TOML text")),
        },
        Err(error) => failed(format!("--config: cannot read {path}: {error}")),
    }
}

fn failed<'t>(problem: String) -> File<'t> {
    File { problems: vec![problem], ..File::default() }
}

pub(super) fn read_text<'t>(table: &'t [Opt], path: &str, text: &str) -> File<'t> {
    let source = Source { path, text };
    let (document, errors) = DeTable::parse_recoverable(text);
    let mut file = File::default();
    for error in errors {
        let what = error.message().trim().to_owned();
        file.problems.push(source.complaint(&error.span().unwrap_or_default(), &what));
    }
    if !file.problems.is_empty() {
        // What a broken file means is a guess.
        return file;
    }
    let mut entries: Vec<_> = document.get_ref().iter().collect();
    entries.sort_by_key(|(key, _)| key.span().start);
    for (key, value) in entries {
        let name = key.get_ref().as_ref();
        let Some(opt) = table.iter().find(|opt| opt.is_for_files() && opt.key() == name) else {
            file.unknown.push(source.complaint(&key.span(), &unknown(table, name, value.get_ref())));
            continue;
        };
        match coerce(opt, value, &source) {
            Ok(value) => file.given.push((opt, source.line_of(&key.span()), value)),
            Err(wrong) => {
                file.problems.push(source.complaint(&wrong.span, &format!("{name}: {}", wrong.why)));
            }
        }
    }
    file
}

// nsqd: ignores a key that it does not know, silently, so that the option it was meant for keeps its default.
fn unknown(table: &[Opt], name: &str, value: &DeValue<'_>) -> String {
    if let Some(opt) = table.iter().find(|opt| opt.name == name.replace('_', "-")) {
        if !opt.is_for_files() {
            return format!("{name} is not a key of a file: give --{} or its variable", opt.name);
        }
        return format!("unknown key {name}; did you mean {}?", opt.key());
    }
    let near = nearest(name, table.iter().filter(|opt| opt.is_for_files()).map(Opt::key));
    match near {
        Some(near) => format!("unknown key {name}; did you mean {near}?"),
        None if value.is_table() => format!("unknown key {name}; options stand outside of any [section]"),
        None => format!("unknown key {name}"),
    }
}

struct Wrong {
    span: Range<usize>,
    why: String,
}

fn coerce(opt: &Opt, value: &Spanned<DeValue<'_>>, source: &Source<'_>) -> Result<Value, Wrong> {
    let span = value.span();
    let wrong = |why: String| Wrong { span: span.clone(), why };
    let should_be = |what: &str| wrong(format!("must be {what}, not {}", a_kind(value.get_ref())));
    match (opt.kind, value.get_ref()) {
        (Kind::List, DeValue::Array(items)) => {
            let mut parts = Vec::new();
            for item in items.iter() {
                let text = scalar(item, source).ok_or_else(|| Wrong {
                    span: item.span(),
                    why: format!("a list holds texts, not {}", a_kind(item.get_ref())),
                })?;
                parts.extend(split(&text));
            }
            Ok(Value::List(parts))
        }
        (_, DeValue::String(text)) => read(opt, text).map_err(wrong),
        (Kind::Bool, DeValue::Boolean(on)) => Ok(Value::Bool(*on)),
        (Kind::Int, DeValue::Integer(_)) => {
            integer(value).map(Value::Int).ok_or_else(|| wrong("is too large a number".to_owned()))
        }
        // nsqd: 0 in a file is on and every other number is off, by a slip; here it is as in Go's flags.
        (Kind::Bool, DeValue::Integer(_)) => match integer(value) {
            Some(0) => Ok(Value::Bool(false)),
            Some(1) => Ok(Value::Bool(true)),
            _ => Err(should_be("true or false")),
        },
        (Kind::Duration, DeValue::Integer(_)) => {
            let text = integer(value).map(|number| format!("{number}ms"));
            read(opt, &text.unwrap_or_default()).map_err(wrong)
        }
        (Kind::Text | Kind::Choice(_), _) => match scalar(value, source) {
            Some(text) => read(opt, &text).map_err(wrong),
            None => Err(should_be("text")),
        },
        (Kind::Bool, _) => Err(should_be("true or false")),
        (Kind::Int, _) => Err(should_be("a whole number")),
        (Kind::Duration, _) => Err(should_be("a duration such as \"1m30s\", or whole milliseconds")),
        (Kind::List, _) => Err(should_be("a list of texts, or one text with commas")),
    }
}

fn integer(value: &Spanned<DeValue<'_>>) -> Option<i64> {
    let number = value.get_ref().as_integer()?;
    i64::from_str_radix(number.as_str(), number.radix()).ok()
}

/// A single value as the text somebody would type on a command line.
fn scalar(value: &Spanned<DeValue<'_>>, source: &Source<'_>) -> Option<String> {
    match value.get_ref() {
        DeValue::String(text) => Some(text.to_string()),
        DeValue::Boolean(on) => Some(on.to_string()),
        DeValue::Integer(_) => integer(value).map(|number| number.to_string()),
        DeValue::Float(_) => source.text.get(value.span()).map(|text| text.replace('_', "")),
        _ => None,
    }
}

fn a_kind(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "text",
        DeValue::Integer(_) => "a number",
        DeValue::Float(_) => "a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}
