//! The command line, in the forms that Go's flag package takes.

use std::ffi::OsString;

use super::nearest::nearest;
use super::read::boolean;
use super::{OURS, Opt};

/// What a command line says.
#[derive(Debug, Default)]
pub(super) struct Flags<'t> {
    /// In order, each with the text of its value.
    pub(super) given: Vec<(&'t Opt, String)>,
    pub(super) help: Option<Help>,
    pub(super) is_version: bool,
    /// All of it, in order.
    pub(super) problems: Vec<String>,
}

/// In which form `--help` was asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Help {
    Text,
    /// `--help=markdown`: the reference page.
    Markdown,
}

/// Read `args` by `table`. `-x v` always takes `v` as the value, even when `v` begins with a dash, and a Bool never
/// takes the next argument.
pub(super) fn parse<'t>(
    binary: &str,
    table: &'t [Opt],
    args: impl IntoIterator<Item = OsString>,
) -> Flags<'t> {
    let mut flags = Flags::default();
    let mut args = args.into_iter().peekable();
    while let Some(arg) = args.next() {
        let arg = match arg.into_string() {
            Ok(arg) => arg,
            Err(arg) => {
                flags.problems.push(format!("argument {arg:?} is not UTF-8"));
                continue;
            }
        };
        let Some((name, value)) = split(&arg) else {
            flags.problems.push(stray(binary, &arg));
            continue;
        };
        if OURS.contains(&name) {
            flags.ours(name, value);
            continue;
        }
        let Some(opt) = table.iter().find(|opt| opt.name == name) else {
            flags.problems.push(unknown_flag(binary, table, name));
            // What follows is probably its value, and no mistake of its own.
            if value.is_none() {
                args.next_if(|next| !next.to_string_lossy().starts_with('-'));
            }
            continue;
        };
        let value = match value {
            Some(value) => Ok(value.to_owned()),
            None if opt.kind.is_switch() => Ok("true".to_owned()),
            None => value_of(opt, args.next()),
        };
        match value {
            Ok(value) => flags.given.push((opt, value)),
            Err(problem) => flags.problems.push(problem),
        }
    }
    flags
}

impl Flags<'_> {
    /// `-version=false` is legal in Go and means what it says.
    fn ours(&mut self, name: &str, value: Option<&str>) {
        if value.is_some_and(|text| boolean(text) == Some(false)) {
            return;
        }
        match (name, value) {
            ("version", _) => self.is_version = true,
            (_, Some("markdown")) => self.help = Some(Help::Markdown),
            _ => self.help = Some(Help::Text),
        }
    }
}

/// `name` and `value` of `-name`, `--name`, `-name=value`, `--name=value`.
fn split(arg: &str) -> Option<(&str, Option<&str>)> {
    let flag = arg.strip_prefix("--").or_else(|| arg.strip_prefix('-')).filter(|flag| !flag.is_empty())?;
    Some(match flag.split_once('=') {
        Some((name, value)) => (name, Some(value)),
        None => (flag, None),
    })
}

fn value_of(opt: &Opt, next: Option<OsString>) -> Result<String, String> {
    let Some(next) = next else {
        let example = if opt.default.is_empty() { "..." } else { opt.default };
        return Err(format!("--{0} needs a value, for example --{0}={example}", opt.name));
    };
    next.into_string().map_err(|arg| format!("argument {arg:?} is not UTF-8"))
}

// nsqd: silently ignores the first argument that is no flag and all flags after it, so `-verbose true -x`
// loses `-x`.
fn stray(binary: &str, arg: &str) -> String {
    format!("argument {arg:?} is not a flag; flags start with a dash ({binary} --help lists them)")
}

fn unknown_flag(binary: &str, table: &[Opt], name: &str) -> String {
    let near = nearest(name, table.iter().map(|opt| opt.name.to_owned()));
    let advice = near.map_or(String::new(), |near| format!("; did you mean --{near}?"));
    format!("unknown flag --{name}{advice} ({binary} --help lists all)")
}
