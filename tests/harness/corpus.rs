//! The wire corpus: cases of exact input and exact answer, kept as text in `tests/corpus`. Here they are read; what
//! their bytes are is in `corpus/bytes.rs`, how they are played against a daemon in `corpus/play.rs`. The format is
//! described in `tests/corpus/README.md`.

mod bytes;
mod play;
mod wire;

use std::collections::BTreeMap;
use std::path::Path;

pub use bytes::bytes;
pub use play::{Failure, Target, fits};

/// One file: cases for one daemon with certain flags.
#[derive(Debug)]
pub struct File {
    /// From the checkout's root.
    pub path: String,
    /// What the daemon is started with.
    pub flags: Vec<String>,
    /// In the order of the file.
    pub cases: Vec<Case>,
}

/// Whose behaviour a case writes down.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Truth {
    /// Stock NSQ 1.3.0 does it: the case passes against it too.
    Stock,
    /// Stock does something else, or cannot; the text says why.
    Ours(String),
}

/// One case.
#[derive(Debug)]
pub struct Case {
    /// A sentence.
    pub name: String,
    /// Where it starts.
    pub line: usize,
    /// Whose behaviour it is.
    pub truth: Truth,
    /// What happens.
    pub(crate) steps: Vec<Step>,
}

impl Case {
    /// All that connection A sends, as far as it is known before the case is played; names of topics are `t` and `t2`.
    pub fn input(&self) -> Vec<u8> {
        let names = ["t", "t2"].map(|name| (name.to_owned(), name.to_owned()));
        let sends = self.steps.iter().filter(|step| step.verb == "send" && step.connection == 'A');
        sends
            .filter_map(|step| bytes(&substitute(&step.text, &names.clone().into())).ok())
            .flatten()
            .collect()
    }
}

/// One line of a case: `send: line "NOP"`, or `B expect: ok` for a connection that is not A.
#[derive(Debug, Clone)]
pub(crate) struct Step {
    pub(crate) line: usize,
    pub(crate) connection: char,
    pub(crate) verb: String,
    pub(crate) text: String,
}

/// Every `.txt` file of a folder below the root of the checkout, by name.
///
/// # Panics
/// When the folder or a file cannot be read, or a line is none of the format.
pub fn read(folder: &str) -> Vec<File> {
    let list = std::fs::read_dir(crate::root().join(folder));
    let list = list.unwrap_or_else(|error| panic!("{folder}: {error}"));
    let mut names: Vec<String> = list
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "txt"))
        .collect();
    names.sort_unstable();
    names.iter().map(|name| file(&format!("{folder}/{name}"))).collect()
}

fn file(path: &str) -> File {
    let text = std::fs::read_to_string(crate::root().join(path));
    let text = text.unwrap_or_else(|error| panic!("{path}: {error}"));
    let mut reading = Reading {
        file: File { path: path.to_owned(), flags: Vec::new(), cases: Vec::new() },
        truth: Truth::Stock,
        case: None,
    };
    for (index, line) in text.lines().enumerate() {
        if !line.trim().is_empty() && !line.trim_start().starts_with('#') {
            reading.line(index + 1, line.trim());
        }
    }
    reading.finish_case();
    assert!(!reading.file.cases.is_empty(), "{path} has no case");
    reading.file
}

/// A file half read.
struct Reading {
    file: File,
    /// Of cases that do not say.
    truth: Truth,
    case: Option<Draft>,
}

/// A case before its `with:` lines are put in.
struct Draft {
    case: Case,
    variants: Vec<(usize, BTreeMap<String, String>)>,
}

impl Reading {
    fn line(&mut self, number: usize, line: &str) {
        let (head, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.trim();
        match (head, &mut self.case) {
            ("case", _) => {
                self.finish_case();
                let name = value.to_owned();
                let case = Case { name, line: number, truth: self.truth.clone(), steps: Vec::new() };
                self.case = Some(Draft { case, variants: Vec::new() });
            }
            ("flags", None) => self.file.flags = value.split(' ').map(str::to_owned).collect(),
            ("truth", None) => self.truth = self.file.truth(number, value),
            ("truth", Some(draft)) => draft.case.truth = self.file.truth(number, value),
            ("with", Some(draft)) => draft.variants.push((number, assignments(value))),
            (_, Some(draft)) => {
                let step = step(number, head, value);
                let step = step.unwrap_or_else(|| panic!("{}:{number}: what is `{line}`?", self.file.path));
                draft.case.steps.push(step);
            }
            (_, None) => panic!("{}:{number}: `{line}` stands before the first case", self.file.path),
        }
    }

    fn finish_case(&mut self) {
        let Some(Draft { case, variants }) = self.case.take() else { return };
        if variants.is_empty() {
            self.file.cases.push(case);
            return;
        }
        for (line, values) in variants {
            let put = |text: &str| substitute(text, &values);
            let steps =
                case.steps.iter().map(|step| Step { text: put(&step.text), ..step.clone() }).collect();
            let truth = case.truth.clone();
            self.file.cases.push(Case { name: put(&case.name), line, truth, steps });
        }
    }
}

impl File {
    fn truth(&self, number: usize, value: &str) -> Truth {
        match value.split_once(", because ") {
            None if value == "stock" => Truth::Stock,
            Some(("ours", why)) => Truth::Ours(why.to_owned()),
            _ => panic!("{}:{number}: truth is `stock` or `ours, because ...`", self.path),
        }
    }
}

/// `name = value ; other = value`
fn assignments(line: &str) -> BTreeMap<String, String> {
    let pairs = line.split(" ; ").filter_map(|pair| pair.split_once(" ="));
    pairs.map(|(name, value)| (name.trim().to_owned(), value.trim().to_owned())).collect()
}

/// The text with `<name>` replaced by the values; a name that is none of them stays.
pub(crate) fn substitute(text: &str, values: &BTreeMap<String, String>) -> String {
    let mut text = text.to_owned();
    for (name, value) in values {
        text = text.replace(&format!("<{name}>"), value);
    }
    text
}

fn step(line: usize, head: &str, text: &str) -> Option<Step> {
    let (connection, verb) = match head.split_once(' ') {
        None => ('A', head),
        Some((connection, verb)) if connection.len() == 1 => (connection.chars().next()?, verb),
        Some(_) => return None,
    };
    let is_known = ["send", "expect", "hangup", "bare", "http"].contains(&verb);
    is_known.then(|| Step { line, connection, verb: verb.to_owned(), text: text.to_owned() })
}
