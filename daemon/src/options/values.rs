//! Every option's value with where it came from, and the check that finds all that is wrong with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::read::{Value, read};
use super::{CHECK, Kind, Opt};
use crate::duration;

/// Every option's value, given or default. A name or kind that is not in the table gives that type's zero
/// value and is remembered for `unknown_names`, so that a misspelt name fails a test and never a running
/// daemon.
#[derive(Debug, Clone)]
pub struct Values {
    settings: Arc<BTreeMap<&'static str, Setting>>,
    remarks: Arc<[String]>,
    /// What is used in place of values that cannot be, by whoever checks them.
    replaced: Arc<Mutex<BTreeSet<String>>>,
    unknown: Arc<Mutex<BTreeSet<String>>>,
}

/// How `/config` shows a value. nsqd: texts as they are, everything else as JSON; durations in nanoseconds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Shown {
    /// As it is.
    Text(String),
    /// JSON.
    Json(serde_json::Value),
}

impl Shown {
    /// A number, a boolean or a list.
    pub fn json(value: impl Into<serde_json::Value>) -> Self {
        Self::Json(value.into())
    }

    /// A duration.
    pub fn nanos(duration: Duration) -> Self {
        Self::json(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX))
    }
}

/// An option as it was set.
#[derive(Debug, Clone)]
pub(super) struct Setting {
    pub(super) row: Opt,
    pub(super) value: Value,
    pub(super) origin: Origin,
}

/// Where a value stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Origin {
    Default,
    /// `nsqd.toml:12`.
    File(String),
    /// The variable's name.
    Environment(String),
    Flag,
}

impl Values {
    pub(super) fn new(settings: BTreeMap<&'static str, Setting>, remarks: Vec<String>) -> Self {
        Self {
            settings: Arc::new(settings),
            remarks: remarks.into(),
            replaced: Arc::default(),
            unknown: Arc::default(),
        }
    }

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

    /// Of an `Int` option, if it is from `min` to `max`; `i64::MAX` means that there is no upper limit to speak of.
    ///
    /// # Errors
    /// A sentence that begins with the flag.
    pub fn number<T: TryFrom<i64>>(&self, name: &str, min: i64, max: i64) -> Result<T, String> {
        let value = self.int(name);
        let checked = (min..=max).contains(&value).then(|| T::try_from(value).ok()).flatten();
        checked.ok_or_else(|| match max {
            i64::MAX => format!("--{name}={value} is too small: at least {min}"),
            _ => format!("--{name}={value} is out of range: {min} to {max}"),
        })
    }

    /// Of an `Int` option that stock takes with any value: the nearest from `min` to `max`, with a remark where that is
    /// another one.
    ///
    /// # Errors
    /// A sentence that begins with the flag: the type cannot hold it.
    pub fn clamped<T: TryFrom<i64>>(&self, name: &str, min: i64, max: i64) -> Result<T, String> {
        let value = self.int(name);
        let used = value.clamp(min, max);
        if used != value {
            self.replace(name, &value.to_string(), &used.to_string());
        }
        T::try_from(used).map_err(|_| format!("--{name}={value} is out of range: {min} to {max}"))
    }

    /// Of a `Duration` option; one below 0 is 0, with a remark.
    pub fn duration(&self, name: &str) -> Duration {
        self.duration_from(name, Duration::ZERO)
    }

    /// Of a `Duration` option; one below `min` is `min`, with a remark.
    pub fn duration_from(&self, name: &str, min: Duration) -> Duration {
        self.duration_or(name, min, min)
    }

    /// Of a `Duration` option; one below `min` is `other`, with a remark.
    pub fn duration_or(&self, name: &str, min: Duration, other: Duration) -> Duration {
        let nanos = match self.value(name) {
            Some(Value::Duration(nanos)) => *nanos,
            _ => self.miss(name, 0),
        };
        let length = Duration::from_nanos(nanos.unsigned_abs());
        if nanos >= 0 && length >= min {
            return length;
        }
        let sign = if nanos < 0 { "-" } else { "" };
        self.replace(name, &format!("{sign}{}", duration::format(length)), &duration::format(other));
        other
    }

    /// Remark that an option's value cannot be used, and what is used in its place.
    pub fn replace(&self, name: &str, value: &str, used: &str) {
        if let Ok(mut replaced) = self.replaced.lock() {
            replaced.insert(format!("--{name}={value} cannot be; it is {used}{}", self.place_of(name)));
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
            Some(setting) => setting.origin != Origin::Default,
            None => self.miss(name, false),
        }
    }

    /// What should be logged about the options: keys and variables that nobody knows, and, once they are checked, values
    /// in whose place others are used.
    pub fn remarks(&self) -> Vec<String> {
        let replaced = self.replaced.lock().map(|replaced| replaced.iter().cloned().collect());
        [self.remarks.to_vec(), replaced.unwrap_or_default()].concat()
    }

    /// Whether nothing is to be started: `--check-config`.
    pub fn is_check(&self) -> bool {
        matches!(self.value(CHECK), Some(Value::Bool(true)))
    }

    /// The option with this key as `/config` shows it, without passwords that stand within URLs.
    pub fn shown(&self, key: &str) -> Option<Shown> {
        let setting = self.settings.values().find(|setting| setting.row.key() == key)?;
        Some(match &setting.value {
            Value::Text(text) => Shown::Text(without_password(text)),
            Value::Int(number) => Shown::json(*number),
            Value::Bool(on) => Shown::json(*on),
            Value::Duration(nanos) => Shown::json(*nanos),
            Value::List(items) => {
                Shown::json(items.iter().map(|item| without_password(item)).collect::<Vec<_>>())
            }
        })
    }

    /// The flags of options whose values are not those of `other`.
    pub fn differences(&self, other: &Self) -> Vec<&'static str> {
        let differs = |(name, setting): (&&'static str, &Setting)| {
            let same = other.settings.get(name).is_some_and(|other| other.value == setting.value);
            (!same).then_some(*name)
        };
        self.settings.iter().filter_map(differs).collect()
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

    /// The same with one option as if it had not been given; nothing if it was not.
    fn without(&self, name: &str) -> Option<Self> {
        let mut settings = (*self.settings).clone();
        let setting = settings.get_mut(name).filter(|setting| setting.origin != Origin::Default)?;
        setting.origin = Origin::Default;
        setting.value = read(&setting.row, setting.row.default).ok()?;
        Some(Self { settings: Arc::new(settings), ..self.clone() })
    }

    /// ` (nsqd.toml:12)` if the option was not set on the command line, where everybody sees it.
    fn place_of(&self, name: &str) -> String {
        match self.settings.get(name).map(|setting| &setting.origin) {
            Some(Origin::File(place)) => format!(" ({place})"),
            Some(Origin::Environment(variable)) => format!(" ({variable})"),
            _ => String::new(),
        }
    }
}

/// Checks `values`.
///
/// # Errors
/// Everything that is wrong with them and not only the first: an option that is refused is taken back to its default,
/// and the rest is looked at again. `check` begins its error with the flag it is about; another beginning ends this.
pub fn all_problems<T>(
    values: &Values,
    check: impl Fn(&Values) -> Result<T, String>,
) -> Result<T, Vec<String>> {
    let mut problems = Vec::new();
    let mut tried = values.clone();
    loop {
        let problem = match check(&tried) {
            Ok(checked) if problems.is_empty() => return Ok(checked),
            Ok(_) => return Err(problems),
            Err(problem) => problem,
        };
        let flag = flag_of(&problem).to_owned();
        problems.push(problem + &values.place_of(&flag));
        match tried.without(&flag) {
            Some(next) => tried = next,
            None => return Err(problems),
        }
    }
}

/// `max-msg-size` of `--max-msg-size=0 is too small`.
fn flag_of(problem: &str) -> &str {
    let name = problem.strip_prefix("--").unwrap_or_default();
    name.split(|c: char| !c.is_ascii_alphanumeric() && c != '-').next().unwrap_or_default()
}

/// `http://user:***@host` for `http://user:secret@host`, also without a scheme. What cannot be told from a password is
/// left out too: a slash may be a part of one.
pub fn without_password(text: &str) -> String {
    let is_scheme = |name: &str| name.chars().all(|c| c.is_ascii_alphanumeric() || "+-.".contains(c));
    let scheme = text.split_once("://").map(|(name, _)| name).filter(|name| is_scheme(name));
    let begin = scheme.map_or(0, |name| name.len() + "://".len());
    let (scheme, rest) = text.split_at_checked(begin).unwrap_or(("", text));
    let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
    let (authority, path) = rest.split_at_checked(end).unwrap_or((rest, ""));
    let (user_info, host, path) = match (authority.rsplit_once('@'), rest.rsplit_once('@')) {
        (Some((user_info, host)), _) => (user_info, host, path),
        (None, Some((user_info, host))) => (user_info, host, ""),
        (None, None) => return text.to_owned(),
    };
    match user_info.split_once(':') {
        Some((user, _)) => format!("{scheme}{user}:***@{host}{path}"),
        None => text.to_owned(),
    }
}

/// The value that a row has when nobody sets it.
pub(super) fn default_of(row: &Opt) -> Result<Setting, String> {
    let value = read(row, row.default).map_err(|why| format!("--{}: {why}", row.name))?;
    Ok(Setting { row: *row, value, origin: Origin::Default })
}

impl Setting {
    /// A list takes what its own source says several times; anything else takes what was said last.
    pub(super) fn take(&mut self, value: Value, origin: Origin) {
        match (&mut self.value, value) {
            (Value::List(items), Value::List(more))
                if self.row.kind == Kind::List && self.origin == origin =>
            {
                items.extend(more);
            }
            (old, value) => *old = value,
        }
        self.origin = origin;
    }
}
