//! One table per daemon says which options exist; the command line, the environment, the file of `--config`, `--help`,
//! `/config` and the reference page come from it. What an option means is the daemon's matter, as are its limits.

use std::collections::BTreeSet;
use std::ffi::OsString;
use std::fmt;
use std::io::{self, Write as _};
use std::process::ExitCode;

mod environment;
mod file;
mod flags;
mod help;
mod nearest;
mod place;
mod read;
mod reference;
mod sources;
mod values;

#[cfg(test)]
mod tests;

pub use sources::Sources;
pub use values::{Shown, Values, all_problems, without_password};

/// A daemon as its options see it.
#[derive(Debug, Clone, Copy)]
pub struct Program {
    /// The binary's name; in capitals it begins the names of environment variables.
    pub binary: &'static str,
    /// What `--help` begins with.
    pub about: &'static str,
    /// Its options.
    pub table: &'static [Opt],
}

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

    /// Whether a file may set it: what says how to read the file stands outside of it.
    fn is_for_files(&self) -> bool {
        ![CONFIG, STRICT, CHECK].contains(&self.name)
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
            Self::Choice(words) => words.contains(&"true"),
            _ => false,
        }
    }

    /// What stands for the value in help and reference.
    fn placeholder(self) -> &'static str {
        match self {
            Self::Bool => "BOOL",
            Self::Int => "N",
            Self::Duration => "DURATION",
            Self::Text => "TEXT",
            Self::Choice(_) => "WORD",
            Self::List => "TEXT,..",
        }
    }
}

/// The option that names a file of options, if a table has it.
const CONFIG: &str = "config";
/// The option that makes unknown keys of that file errors.
const STRICT: &str = "config-strict";
/// The option that only checks.
const CHECK: &str = "check-config";

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

/// Options that cannot be obeyed. Each problem says which option, why, and what would be right.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsageError {
    problems: Vec<String>,
    is_check: bool,
}

impl UsageError {
    /// All of them; those of a file have lines of their own below the first.
    pub fn problems(&self) -> &[String] {
        &self.problems
    }

    /// Whether `--check-config` was given: then the problems are the answer and not a failed start.
    pub fn is_check(&self) -> bool {
        self.is_check
    }
}

impl fmt::Display for UsageError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problems.join("\n"))
    }
}

impl std::error::Error for UsageError {}

/// Reads `args`, which do **not** include the program's own name, by `table`: a command line and nothing else.
/// `-help`, `-h` and `-version` exist for every table. Where a flag is repeated the last one wins, as in Go.
///
/// # Errors
/// Unknown flags (the nearest one is named), values of the wrong form, arguments that are no flags.
pub fn parse<A>(binary: &str, about: &str, table: &[Opt], args: A) -> Result<Parsed, UsageError>
where
    A: IntoIterator,
    A::Item: Into<OsString>,
{
    let args = args.into_iter().map(Into::into).collect();
    sources::read(&sources::Given { binary, about, table, args, environment: &[], takes_environment: false })
}

/// Writes the text of `Parsed::Exit` to stdout and gives the exit code; 1 when stdout is closed.
pub fn print(code: i32, text: &str) -> ExitCode {
    let written = writeln!(io::stdout(), "{text}");
    let code = if written.is_ok() { u8::try_from(code).unwrap_or(1) } else { 1 };
    ExitCode::from(code)
}

/// The answer to `--check-config`: what is wrong on stderr and 1, or a line on stdout and 0.
pub fn print_check(problems: &[String], remarks: &[String]) -> ExitCode {
    let mut said = String::new();
    for remark in remarks {
        said.push_str(&format!("warning: {remark}\n"));
    }
    for problem in problems {
        said.push_str(&format!("error: {problem}\n"));
    }
    let _stderr_is_closed = io::stderr().write_all(said.as_bytes());
    if problems.is_empty() { print(0, "configuration ok") } else { ExitCode::FAILURE }
}

/// What is wrong with a table, for a test in the daemon that owns it: names given twice or taken, bad
/// defaults.
pub fn table_problems(table: &[Opt]) -> Vec<String> {
    let mut seen: BTreeSet<String> = OURS.iter().map(|name| (*name).to_owned()).collect();
    let mut problems = Vec::new();
    for opt in table {
        let key = opt.key();
        let is_new = seen.insert(opt.name.to_owned()) && (key == opt.name || seen.insert(key));
        if !is_new {
            problems.push(format!("--{} is in the table twice or taken by every table", opt.name));
        }
        if let Err(error) = read::read(opt, opt.default) {
            problems.push(format!("default: --{}: {error}", opt.name));
        }
        if opt.help.is_empty() || opt.heading.is_empty() {
            problems.push(format!("--{} lacks its help or heading", opt.name));
        }
    }
    problems
}

/// Flags every table has without naming them.
const OURS: [&str; 3] = ["help", "h", "version"];

fn rows(table: &[Opt]) -> impl Iterator<Item = &Opt> {
    let mut seen = BTreeSet::from(OURS);
    table.iter().filter(move |opt| seen.insert(opt.name))
}
