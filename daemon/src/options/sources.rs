//! Flags, environment and file put together: a flag comes before a variable, a variable before the file, the file
//! before the default.

use std::collections::BTreeMap;
use std::ffi::OsString;

use super::flags::{self, Flags, Help};
use super::read::{Value, read as read_value};
use super::values::{Origin, Setting, default_of};
use super::{CHECK, CONFIG, Opt, Parsed, Program, STRICT, UsageError, Values, rows};
use super::{environment, file, help, reference};
use crate::version;

/// Where a process has its options from. Kept, so that they can be read again: the file may have changed.
#[derive(Debug, Clone)]
pub struct Sources {
    program: Program,
    args: Vec<OsString>,
    environment: Vec<(String, String)>,
}

impl Sources {
    /// This process's: `args` without the program's own name, and the environment as it is now.
    pub fn of_process<A: Into<OsString>>(program: &Program, args: impl IntoIterator<Item = A>) -> Self {
        let text =
            |(name, value): (OsString, OsString)| Some((name.into_string().ok()?, value.into_string().ok()?));
        Self::new(program, args, std::env::vars_os().filter_map(text).collect())
    }

    /// Any others.
    pub fn new<A: Into<OsString>>(
        program: &Program,
        args: impl IntoIterator<Item = A>,
        environment: Vec<(String, String)>,
    ) -> Self {
        Self { program: *program, args: args.into_iter().map(Into::into).collect(), environment }
    }

    /// The program's name.
    pub fn binary(&self) -> &'static str {
        self.program.binary
    }

    /// Reads all of them, the file as it is now.
    ///
    /// # Errors
    /// Everything that is wrong with any of them.
    pub fn read(&self) -> Result<Parsed, UsageError> {
        let Program { binary, about, table } = self.program;
        let (args, environment) = (self.args.clone(), &self.environment);
        read(&Given { binary, about, table, args, environment, takes_environment: true })
    }
}

/// All that options are made of.
pub(super) struct Given<'a> {
    pub(super) binary: &'a str,
    pub(super) about: &'a str,
    pub(super) table: &'a [Opt],
    pub(super) args: Vec<OsString>,
    pub(super) environment: &'a [(String, String)],
    /// Whether this program has variables at all; help and reference speak of them only then.
    pub(super) takes_environment: bool,
}

pub(super) fn read(given: &Given<'_>) -> Result<Parsed, UsageError> {
    let Given { binary, table, .. } = *given;
    let flags = flags::parse(binary, table, given.args.iter().cloned());
    if flags.problems.is_empty()
        && let Some(text) = answer(given, &flags)
    {
        return Ok(Parsed::Exit { code: 0, text });
    }
    let mut draft = Draft { problems: flags.problems, ..Draft::default() };
    for row in rows(table) {
        match default_of(row) {
            Ok(setting) => _ = draft.settings.insert(row.name, setting),
            Err(problem) => draft.problems.push(problem),
        }
    }
    let environment = environment::read(binary, table, given.environment);
    draft.remarks = environment.remarks;
    // The file first, so that what comes before it overwrites it; which file that is, the others say.
    let texts = || {
        let variables = environment.given.iter().map(|(opt, _, text)| (opt.name, text.as_str()));
        variables.chain(flags.given.iter().map(|(opt, text)| (opt.name, text.as_str())))
    };
    let last = |name: &str| texts().rfind(|(found, _)| *found == name).map(|(_, text)| text);
    let is_on = |name: &str| last(name).is_some_and(|text| super::read::boolean(text) == Some(true));
    if let Some(path) = last(CONFIG).filter(|path| !path.is_empty()) {
        draft.take_file(table, path, is_on(STRICT));
    }
    for (opt, variable, text) in &environment.given {
        draft.take(opt, text, Origin::Environment(variable.clone()));
    }
    for (opt, text) in &flags.given {
        draft.take(opt, text, Origin::Flag);
    }
    if !draft.problems.is_empty() {
        return Err(UsageError { problems: draft.problems, is_check: is_on(CHECK) });
    }
    Ok(Parsed::Run(Values::new(draft.settings, draft.remarks)))
}

/// What `--help` or `--version` prints.
fn answer(given: &Given<'_>, flags: &Flags<'_>) -> Option<String> {
    match flags.help {
        Some(Help::Text) => Some(help::render(given)),
        Some(Help::Markdown) => Some(reference::render(given)),
        None => flags.is_version.then(|| version::version_line(given.binary)),
    }
}

#[derive(Default)]
struct Draft {
    settings: BTreeMap<&'static str, Setting>,
    remarks: Vec<String>,
    problems: Vec<String>,
}

impl Draft {
    fn take(&mut self, opt: &Opt, text: &str, origin: Origin) {
        let name = match &origin {
            Origin::Environment(variable) => variable.clone(),
            _ => format!("--{}", opt.name),
        };
        match read_value(opt, text) {
            Ok(value) => self.set(opt, value, origin),
            Err(why) => self.problems.push(format!("{name}: {why}")),
        }
    }

    fn take_file(&mut self, table: &[Opt], path: &str, is_strict: bool) {
        let file = file::read_file(table, path);
        self.problems.extend(file.problems);
        if is_strict {
            self.problems.extend(file.unknown);
        } else {
            self.remarks.extend(file.unknown);
        }
        for (opt, place, value) in file.given {
            self.set(opt, value, Origin::File(place));
        }
    }

    fn set(&mut self, opt: &Opt, value: Value, origin: Origin) {
        if let Some(setting) = self.settings.get_mut(opt.name) {
            setting.take(value, origin);
        }
    }
}
