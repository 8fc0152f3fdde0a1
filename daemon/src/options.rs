//! One table per daemon says which options exist; the command line and `--help` come from it.
//! Accepts what Go's flag package accepts. What an option means is the daemon's matter, as are its limits.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clap::{Arg, ArgAction, Command};

use crate::{duration, version};

#[cfg(test)]
mod tests;

/// One option: a row of a daemon's table.
#[derive(Debug, Clone, Copy)]
pub struct Opt {
    /// The flag without dashes, as NSQ spells it.
    pub name: &'static str,
    /// What its value is.
    pub kind: Kind,
    /// Its value when not given, in the form of the command line.
    pub default: &'static str,
    /// One sentence for `--help`.
    pub help: &'static str,
    /// The group `--help` shows it under.
    pub heading: &'static str,
    /// Its name in a file and at `/config`, where that is not the flag with underscores; else empty.
    key: &'static str,
}

impl Opt {
    /// A row whose key is its flag with underscores.
    pub const fn new(
        name: &'static str,
        kind: Kind,
        default: &'static str,
        help: &'static str,
        heading: &'static str,
    ) -> Self {
        Self { name, kind, default, help, heading, key: "" }
    }

    /// The same row with a key of its own.
    #[must_use]
    pub const fn keyed(self, key: &'static str) -> Self {
        Self { key, ..self }
    }

    /// Its name in a file and at `/config`.
    pub fn key(&self) -> String {
        if self.key.is_empty() { self.name.replace('-', "_") } else { self.key.to_owned() }
    }
}

/// What an option's value is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// `-x`, `-x=true`, `-x=false`; never `-x true`, which in Go too leaves `true` unread.
    Bool,
    /// A decimal i64.
    Int,
    /// Go's form, see `duration::parse`.
    Duration,
    /// Any text.
    Text,
    /// One of these, in any case; empty means the default. If `true` is one of them, the others of Go's spellings of
    /// a Bool are taken too, and `-x` alone is `-x=true`.
    Choice(&'static [&'static str]),
    /// Given several times or with commas, in order; empty parts fall away.
    List,
}

impl Kind {
    /// Whether the flag alone, without a value, means `true`.
    fn is_switch(self) -> bool {
        match self {
            Self::Bool => true,
            Self::Choice(names) => names.contains(&"true"),
            _ => false,
        }
    }
}

/// What the command line asked for.
#[derive(Debug, Clone)]
pub enum Parsed {
    /// Start with these.
    Run(Values),
    /// `--help` or `--version`: print `text` on stdout and exit.
    Exit {
        /// The process's exit code.
        code: i32,
        /// What to print; ends without a line feed.
        text: String,
    },
}

/// A command line that cannot be obeyed. Says which flag, why, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError(String);

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for UsageError {}

/// Reads `args`, which do **not** include the program's own name, by `table`.
/// `-help`, `-h` and `-version` exist for every table. Where a flag is repeated the last one wins, as in Go.
///
/// # Errors
/// An unknown flag (the nearest one is named), a value of the wrong form, or an argument that is not a flag.
pub fn parse<A>(binary: &str, about: &str, table: &[Opt], args: A) -> Result<Parsed, UsageError>
where
    A: IntoIterator,
    A::Item: Into<OsString>,
{
    let mut command = command(binary, about, table);
    let argv = normalise(binary, table, args.into_iter().map(Into::into))?;
    let matches = command.try_get_matches_from_mut(argv).map_err(|error| UsageError(error.to_string()))?;
    if matches.get_flag("help") {
        return Ok(Parsed::Exit { code: 0, text: command.render_help().to_string().trim_end().to_owned() });
    }
    if matches.get_flag("version") {
        return Ok(Parsed::Exit { code: 0, text: version::version_line(binary) });
    }
    let mut values = BTreeMap::new();
    for opt in rows(table) {
        let given: Option<Vec<&String>> = matches.get_many(opt.name).map(Iterator::collect);
        let is_set = given.is_some();
        let texts = given.unwrap_or_default();
        let value = match (opt.kind, texts.last()) {
            (Kind::List, Some(_)) => Value::List(texts.iter().flat_map(|text| split(text)).collect()),
            (_, text) => read(opt, text.map_or(opt.default, |text| text.as_str()))?,
        };
        values.insert(opt.name, Setting { value, is_set });
    }
    Ok(Parsed::Run(Values { settings: Arc::new(values), unknown: Arc::default() }))
}

/// Writes the text of `Parsed::Exit` to stdout and gives the exit code; 1 when stdout is closed.
pub fn print(code: i32, text: &str) -> ExitCode {
    let written = writeln!(io::stdout(), "{text}");
    let code = if written.is_ok() { u8::try_from(code).unwrap_or(1) } else { 1 };
    ExitCode::from(code)
}

/// What is wrong with a table, for a test in the daemon that owns it: names given twice or taken, bad
/// defaults.
pub fn table_problems(table: &[Opt]) -> Vec<String> {
    let mut seen: BTreeSet<&str> = BTreeSet::from(OURS);
    let mut problems = Vec::new();
    for opt in table {
        if !seen.insert(opt.name) {
            problems.push(format!("--{} is in the table twice or taken by every table", opt.name));
        }
        if let Err(error) = read(opt, opt.default) {
            problems.push(format!("default: {error}"));
        }
        if opt.help.is_empty() || opt.heading.is_empty() {
            problems.push(format!("--{} lacks its help or heading", opt.name));
        }
    }
    problems
}

/// Every option's value, given or default. A name or kind that is not in the table gives that type's zero
/// value and is remembered for `unknown_names`, so that a misspelt name fails a test and never a running
/// daemon.
#[derive(Debug, Clone)]
pub struct Values {
    settings: Arc<BTreeMap<&'static str, Setting>>,
    unknown: Arc<Mutex<BTreeSet<String>>>,
}

impl Values {
    /// Of a `Text` or `Choice` option.
    pub fn text(&self, name: &str) -> &str {
        match self.value(name) {
            Some(Value::Text(text)) => text,
            _ => self.miss(name, ""),
        }
    }

    /// Of an `Int` option.
    pub fn int(&self, name: &str) -> i64 {
        match self.value(name) {
            Some(Value::Int(number)) => *number,
            _ => self.miss(name, 0),
        }
    }

    /// Of a `Duration` option.
    pub fn duration(&self, name: &str) -> Duration {
        match self.value(name) {
            Some(Value::Duration(duration)) => *duration,
            _ => self.miss(name, Duration::ZERO),
        }
    }

    /// Of a `Bool` option.
    pub fn is_on(&self, name: &str) -> bool {
        match self.value(name) {
            Some(Value::Bool(on)) => *on,
            _ => self.miss(name, false),
        }
    }

    /// Of a `List` option.
    pub fn list(&self, name: &str) -> &[String] {
        match self.value(name) {
            Some(Value::List(items)) => items,
            _ => self.miss(name, &[]),
        }
    }

    /// Whether it was given, even with its default as the value.
    pub fn is_set(&self, name: &str) -> bool {
        match self.settings.get(name) {
            Some(setting) => setting.is_set,
            None => self.miss(name, false),
        }
    }

    /// Names asked for that the table does not have, or has with another kind. A daemon's test asserts it is
    /// empty.
    pub fn unknown_names(&self) -> Vec<String> {
        self.unknown.lock().map(|names| names.iter().cloned().collect()).unwrap_or_default()
    }

    fn value(&self, name: &str) -> Option<&Value> {
        self.settings.get(name).map(|setting| &setting.value)
    }

    fn miss<T>(&self, name: &str, zero: T) -> T {
        if let Ok(mut names) = self.unknown.lock() {
            names.insert(name.to_owned());
        }
        zero
    }
}

#[derive(Debug)]
struct Setting {
    value: Value,
    is_set: bool,
}

#[derive(Debug)]
enum Value {
    Bool(bool),
    Int(i64),
    Duration(Duration),
    Text(String),
    List(Vec<String>),
}

/// Flags every table has without naming them.
const OURS: [&str; 3] = ["help", "h", "version"];

fn rows(table: &[Opt]) -> impl Iterator<Item = &Opt> {
    let mut seen = BTreeSet::from(OURS);
    table.iter().filter(move |opt| seen.insert(opt.name))
}

fn command(binary: &str, about: &str, table: &[Opt]) -> Command {
    let general = |name: &'static str, help| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help).help_heading("General")
    };
    let mut command = Command::new("daemon")
        .bin_name(binary)
        .about(about.to_owned())
        .no_binary_name(true)
        .disable_help_flag(true)
        .disable_version_flag(true)
        .args_override_self(true)
        .arg(general("help", "Print this text and exit"))
        .arg(general("version", "Print the version and exit"));
    for opt in rows(table) {
        command = command.arg(argument(opt));
    }
    command
}

fn argument(opt: &Opt) -> Arg {
    let default = if opt.default.is_empty() { String::new() } else { format!(" [default: {}]", opt.default) };
    let arg = Arg::new(opt.name)
        .long(opt.name)
        .help(format!("{}{default}", opt.help))
        .help_heading(opt.heading)
        .allow_hyphen_values(true);
    match opt.kind {
        Kind::Bool => arg
            .action(ArgAction::Set)
            .num_args(0..=1)
            .require_equals(true)
            .default_missing_value("true")
            .value_name("BOOL"),
        Kind::Int => arg.action(ArgAction::Set).value_name("N"),
        Kind::Choice(_) => arg.action(ArgAction::Set).value_name("WORD"),
        Kind::Duration => arg.action(ArgAction::Set).value_name("DURATION"),
        Kind::Text => arg.action(ArgAction::Set).value_name("TEXT"),
        Kind::List => arg.action(ArgAction::Append).value_name("TEXT,.."),
    }
}

/// Go's forms as one form, `--name=value`, which leaves clap nothing to guess: `-x v` always takes `v` as the
/// value, even when `v` begins with a dash, and a Bool never takes the next argument.
fn normalise(
    binary: &str,
    table: &[Opt],
    mut args: impl Iterator<Item = OsString>,
) -> Result<Vec<String>, UsageError> {
    let mut argv = Vec::new();
    while let Some(arg) = args.next() {
        let arg = utf8(arg)?;
        let Some(flag) = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|f| !f.is_empty())
        else {
            return Err(stray(binary, &arg));
        };
        let (name, value) = match flag.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (flag, None),
        };
        if OURS.contains(&name) {
            let asked = if name == "h" { "help" } else { name };
            // `-version=false` is legal in Go and means what it says.
            if value.is_none_or(|text| boolean(&text) != Some(false)) {
                argv.push(format!("--{asked}"));
            }
            continue;
        }
        let Some(opt) = table.iter().find(|opt| opt.name == name) else {
            return Err(unknown_flag(binary, table, name));
        };
        let value = match (value, opt.kind) {
            (Some(value), _) => value,
            (None, kind) if kind.is_switch() => "true".to_owned(),
            (None, _) => match args.next() {
                Some(value) => utf8(value)?,
                None => {
                    return Err(UsageError(format!(
                        "--{name} needs a value, for example --{}",
                        example(opt)
                    )));
                }
            },
        };
        argv.push(format!("--{name}={value}"));
    }
    Ok(argv)
}

fn utf8(arg: OsString) -> Result<String, UsageError> {
    arg.into_string().map_err(|arg| UsageError(format!("argument {arg:?} is not UTF-8")))
}

fn example(opt: &Opt) -> String {
    let value = match opt.default {
        "" => "...",
        default => default,
    };
    format!("{}={value}", opt.name)
}

// nsqd: silently ignores the first argument that is no flag and all flags after it, so `-verbose true -x`
// loses `-x`.
fn stray(binary: &str, arg: &str) -> UsageError {
    UsageError(format!(
        "argument {arg:?} is not a flag; flags start with a dash ({binary} --help lists them)"
    ))
}

fn unknown_flag(binary: &str, table: &[Opt], name: &str) -> UsageError {
    let near = table
        .iter()
        .map(|opt| (strsim::damerau_levenshtein(opt.name, name), opt.name))
        .filter(|(distance, _)| *distance <= 1 + name.len() / 3)
        .min();
    let advice = near.map_or(String::new(), |(_, near)| format!("; did you mean --{near}?"));
    UsageError(format!("unknown flag --{name}{advice} ({binary} --help lists all)"))
}

fn read(opt: &Opt, text: &str) -> Result<Value, UsageError> {
    let value = match opt.kind {
        Kind::Text => Ok(Value::Text(text.to_owned())),
        Kind::Choice(names) => choice(names, opt.default, text).map(|name| Value::Text(name.to_owned())),
        Kind::List => Ok(Value::List(split(text).collect())),
        Kind::Bool => boolean(text).map(Value::Bool).ok_or_else(|| format!("{text:?} is not true or false")),
        Kind::Int => text.parse().map(Value::Int).map_err(|_| format!("{text:?} is not a whole number")),
        Kind::Duration => duration::parse(text).map(Value::Duration),
    };
    value.map_err(|why| UsageError(format!("--{}: {why}", opt.name)))
}

fn choice<'a>(names: &[&'a str], default: &'a str, text: &str) -> Result<&'a str, String> {
    if text.is_empty() {
        return Ok(default);
    }
    let lower = text.to_ascii_lowercase();
    let spelling = match boolean(&lower) {
        Some(on) if names.contains(&"true") => {
            if on {
                "true"
            } else {
                "false"
            }
        }
        _ => lower.as_str(),
    };
    let found = names.iter().find(|name| **name == spelling).copied();
    found.ok_or_else(|| format!("{text:?} is unknown; choose {}", alternatives(names)))
}

fn alternatives(names: &[&str]) -> String {
    let named: Vec<&str> = names.iter().copied().filter(|name| !name.is_empty()).collect();
    match named.split_last() {
        Some((last, rest)) if !rest.is_empty() => format!("{} or {last}", rest.join(", ")),
        _ => named.concat(),
    }
}

fn split(text: &str) -> impl Iterator<Item = String> {
    text.split(',').map(str::trim).filter(|part| !part.is_empty()).map(str::to_owned)
}

fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
