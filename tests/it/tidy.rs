//! What the sources themselves must be like, checked by reading them: who may depend on whom, how long things may be,
//! and what must not be in them. A rule that is not checked here or by clippy is a wish.

use std::collections::BTreeMap;
use std::process::Command;

use harness::root;
use serde_json::Value;

const LINES_PER_FUNCTION: usize = 70;
const LINES_PER_FILE: usize = 600;

/// Which of our crates each may use. The arrows of ARCHITECTURE.md; a new one needs its reason there first.
const ARROWS: &[(&str, &[&str])] = &[
    ("protocol", &[]),
    ("queue", &["protocol"]),
    ("storage", &[]),
    ("stock", &[]),
    ("daemon", &[]),
    ("broker", &["protocol", "queue", "storage", "stock", "daemon"]),
    ("lookupd", &["protocol", "daemon"]),
    ("operator", &["protocol", "daemon"]),
    ("controller", &["operator", "protocol", "daemon"]),
    ("cli", &["broker", "lookupd", "operator", "daemon"]),
    ("tools", &["protocol", "daemon"]),
    (
        "tests",
        &["protocol", "queue", "storage", "daemon", "broker", "lookupd", "operator", "controller", "cli"],
    ),
    ("fuzz", &["protocol", "daemon", "tests"]),
    ("xtask", &[]),
    ("chaos", &["protocol", "storage", "crashfs"]),
    ("crashfs", &[]),
];

/// Time, sockets, chance and logs come in as arguments or not at all. `storage` has files, and only files.
const PURE: &[&str] = &["protocol", "queue", "storage", "stock"];
const IMPURE: &[&str] = &[
    "tokio",
    "async-std",
    "smol",
    "futures",
    "mio",
    "socket2",
    "hyper",
    "hyper-util",
    "axum",
    "reqwest",
    "tracing",
    "tracing-subscriber",
    "log",
    "rand",
    "fastrand",
    "getrandom",
    "chrono",
    "time",
    "jiff",
];

/// Pauses that are not waiting for something to become true.
const PAUSES: &[(&str, &str)] = &[
    (
        "tests/harness/waiting.rs",
        "the pause between two looks at a condition: the one place where tests wait",
    ),
    ("tests/it/tidy.rs", "names what it looks for"),
];

#[test]
fn crates_depend_only_along_the_arrows() {
    for (package, dependencies) in packages() {
        let allowed = ARROWS.iter().find(|(name, _)| *name == package);
        let Some((_, allowed)) = allowed else { panic!("crate {package} has no row in ARROWS") };
        for dependency in dependencies.iter().filter(|dependency| dependency.is_ours) {
            // operator's and cli's tests may try their output on the real daemons' flag parsers.
            let is_allowed = allowed.contains(&dependency.name.as_str()) || dependency.is_dev;
            assert!(is_allowed, "{package} -> {}: not an arrow of ARCHITECTURE.md", dependency.name);
        }
    }
}

#[test]
fn pure_crates_have_no_runtime_clock_chance_or_log() {
    let packages = packages();
    for package in PURE {
        let impure: Vec<&str> = packages[*package]
            .iter()
            .filter(|dependency| !dependency.is_dev && IMPURE.contains(&dependency.name.as_str()))
            .map(|dependency| dependency.name.as_str())
            .collect();
        assert_eq!(impure, [""; 0], "{package} is pure");
    }
}

#[test]
fn files_and_functions_are_short() {
    let mut long = Vec::new();
    for (path, text) in rust_files() {
        let lines: Vec<&str> = text.lines().collect();
        if lines.len() > LINES_PER_FILE {
            long.push(format!("{path}: {} lines, {LINES_PER_FILE} allowed", lines.len()));
        }
        for (number, length) in functions(&lines) {
            if length > LINES_PER_FUNCTION {
                long.push(format!(
                    "{path}:{number}: a function of {length} lines, {LINES_PER_FUNCTION} allowed"
                ));
            }
        }
    }
    assert!(long.is_empty(), "split by noun:\n{}", long.join("\n"));
}

#[test]
fn every_file_says_what_lives_in_it() {
    let silent: Vec<String> = rust_files()
        .into_iter()
        .filter(|(_, text)| !text.starts_with("//! "))
        .map(|(path, _)| path)
        .collect();
    assert!(silent.is_empty(), "these do not open with a `//!` comment:\n{}", silent.join("\n"));
}

#[test]
fn no_test_is_switched_off_and_nothing_is_left_to_do() {
    // Put together here so that this file does not find itself.
    let marks = [["#[ig", "nore"].concat(), ["to", "do!("].concat(), ["unimpl", "emented!("].concat()];
    let found = places(&rust_files(), |line| marks.iter().any(|mark| line.contains(mark.as_str())));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn no_test_sleeps_to_wait() {
    let is_excused = |path: &str| PAUSES.iter().any(|(excused, _)| *excused == path);
    let tests: Vec<(String, String)> = rust_files()
        .into_iter()
        .filter(|(path, _)| !is_excused(path))
        .map(|(path, text)| {
            let test_part = if is_test_file(&path) { text } else { after_test_mark(&text) };
            (path, test_part)
        })
        .collect();
    let found = places(&tests, |line| line.contains("thread::sleep(") || line.contains("time::sleep("));
    assert!(found.is_empty(), "wait for a condition with a limit instead:\n{}", found.join("\n"));
}

#[test]
fn nothing_names_a_machine_or_a_registry() {
    let slashed = |name: &str| format!("/{name}/");
    let mut marks: Vec<String> = ["work", "root", "home", "farm"].map(slashed).to_vec();
    marks.extend(
        [["crates", ".io"], ["pypi", ".org"], ["pythonhosted", ".org"], ["proxy.golang", ".org"]]
            .map(|w| w.concat()),
    );
    marks.extend(
        [["npmjs", ".org"], ["npmjs", ".com"], ["deb.debian", ".org"], ["docker", ".io"]].map(|w| w.concat()),
    );
    let generated = [
        "Cargo.lock",
        "tests/clients/go/go.sum",
        "tests/clients/diskqueue/go.sum",
        "tests/clients/rust/Cargo.lock",
    ];
    let files: Vec<(String, String)> =
        text_files().into_iter().filter(|(path, _)| !generated.contains(&path.as_str())).collect();
    let found = places(&files, |line| marks.iter().any(|mark| names(line, mark)));
    assert!(found.is_empty(), "{}", found.join("\n"));
}

#[test]
fn manifests_take_versions_and_lints_from_the_workspace() {
    // A client program is not of the workspace: its dependencies are those of the client it tries.
    let is_ours = |path: &str| path.ends_with("/Cargo.toml") && !path.starts_with("tests/clients/");
    for (path, text) in text_files().iter().filter(|(path, _)| is_ours(path)) {
        assert!(text.contains("[lints]\nworkspace = true"), "{path}: no workspace lints");
        let versions: Vec<&str> = text.lines().filter(|line| line.contains("version = \"")).collect();
        assert!(versions.is_empty(), "{path}: versions belong in the root manifest: {versions:?}");
    }
}

/// A path is meant when nothing of a longer path or name stands before it: `src/work/` is nobody's machine.
fn names(line: &str, mark: &str) -> bool {
    line.match_indices(mark).any(|(at, _)| {
        let before = line[..at].chars().next_back();
        !before.is_some_and(|c| c.is_ascii_alphanumeric() || "_-.}".contains(c))
    })
}

struct Dependency {
    name: String,
    is_ours: bool,
    is_dev: bool,
}

/// Every package of the workspace with what it depends on, as cargo reads the manifests.
fn packages() -> BTreeMap<String, Vec<Dependency>> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args(["metadata", "--no-deps", "--offline", "--format-version", "1"]).current_dir(root());
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let metadata: Value = serde_json::from_slice(&output.stdout).unwrap();
    let dependency = |value: &Value| Dependency {
        name: value["name"].as_str().unwrap().to_owned(),
        is_ours: value["path"].is_string(),
        is_dev: value["kind"] == "dev",
    };
    let package = |value: &Value| {
        let dependencies = value["dependencies"].as_array().unwrap().iter().map(dependency).collect();
        (value["name"].as_str().unwrap().to_owned(), dependencies)
    };
    metadata["packages"].as_array().unwrap().iter().map(package).collect()
}

/// First line and length of each function. Formatted sources end a function with a brace at its own indentation.
fn functions(lines: &[&str]) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    for (start, line) in lines.iter().enumerate() {
        if !starts_function(line) {
            continue;
        }
        let indentation = line.len() - line.trim_start().len();
        let is_end = |line: &&str| {
            let own = line.len() - line.trim_start().len() == indentation;
            own && (line.trim_end() == format!("{:indentation$}}}", "")
                || line.ends_with(';')
                || line.ends_with("{}"))
        };
        if line.ends_with('}') || line.ends_with(';') {
            continue;
        }
        let length = lines[start..].iter().position(is_end).map_or(lines.len() - start, |end| end + 1);
        found.push((start + 1, length));
    }
    found
}

fn starts_function(line: &str) -> bool {
    let mut words = line.trim_start().split(' ').peekable();
    while words
        .next_if(|word| {
            word.starts_with("pub") || ["const", "async", "in", "crate)", "super)"].contains(word)
        })
        .is_some()
    {}
    words.next() == Some("fn") && words.next().is_some_and(|name| name.contains(['(', '<']))
}

fn is_test_file(path: &str) -> bool {
    path.starts_with("tests/")
        || path.contains("/tests/")
        || path.ends_with("/tests.rs")
        || path.ends_with("_tests.rs")
}

fn after_test_mark(text: &str) -> String {
    text.split_once("#[cfg(test)]").map(|(_, tests)| tests.to_owned()).unwrap_or_default()
}

/// `path: line` for each line that is found.
fn places(files: &[(String, String)], is_found: impl Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for (path, text) in files {
        found.extend(
            text.lines().filter(|line| is_found(line)).map(|line| format!("{path}: {}", line.trim())),
        );
    }
    found
}

fn rust_files() -> Vec<(String, String)> {
    text_files().into_iter().filter(|(path, _)| path.ends_with(".rs")).collect()
}

/// Every text file that is tracked or about to be, by its path from the root.
fn text_files() -> Vec<(String, String)> {
    let mut command = Command::new("git");
    command.args(["ls-files", "-z", "--cached", "--others", "--exclude-standard"]).current_dir(root());
    let output = command.output().expect("tidy reads the list of files from git");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let list = String::from_utf8(output.stdout).unwrap();
    let paths = list.split('\0').filter(|path| !path.is_empty());
    let files: Vec<(String, String)> = paths
        .filter_map(|path| Some((path.to_owned(), std::fs::read_to_string(root().join(path)).ok()?)))
        .collect();
    assert!(files.len() > 50, "only {} files: is this the whole checkout?", files.len());
    files
}

#[test]
fn a_function_is_measured_from_its_name_to_its_brace() {
    let source = "fn one() {}\n\npub(crate) async fn two(\n    x: u8,\n) -> u8 {\n    if x {\n    }\n}\n\nfn three();\n    fn four() {\n        let x = 1;\n    }\n";
    let lines: Vec<&str> = source.lines().collect();
    assert_eq!(functions(&lines), [(3, 6), (11, 3)]);
}

#[test]
fn a_machine_path_is_told_from_a_folder_of_that_name() {
    let mark = ["/wo", "rk/"].concat();
    for (line, wanted) in [("see {}main", true), ("src{}x", false), ("\"{}main\"", true), (".{}", false)] {
        assert_eq!(names(&line.replace("{}", &mark), &mark), wanted, "{line}");
    }
}
