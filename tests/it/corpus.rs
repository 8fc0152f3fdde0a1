//! The wire corpus against live daemons: every case of `tests/corpus`. `CORPUS=stock` plays only what stock NSQ does
//! too, for runs with `NSQD` and `NSQLOOKUPD` pointing at stock binaries.

use std::time::Instant;

use harness::corpus::{self, Case, File, Target, Truth};
use harness::{AuthServer, Authority, Lookupd, Nsqd};

/// Files at a time: each has a daemon of its own.
const FILES_AT_A_TIME: usize = 4;

#[test]
fn nsqd_answers_every_case_of_the_corpus_to_the_letter() {
    let count = check("tests/corpus/wire", |file, cases| {
        let (authority, auth) = (Authority::new(), AuthServer::knowing(&[]));
        SECRETS.iter().for_each(|(secret, answer)| auth.tell(secret, answer));
        let flags = flags(&file.flags, &authority, &auth);
        let mut flags: Vec<&str> = flags.iter().map(String::as_str).collect();
        if !only_stock() {
            // Hundreds of cases at once make more topics than any client should.
            flags.push("--max-creation-rate=0");
        }
        let nsqd = Nsqd::with(&flags);
        file.play(cases, Target { tcp: nsqd.tcp(), http: nsqd.http(), is_lookupd: false })
    });
    assert!(count >= 500 || only_stock(), "only {count} cases");
}

#[test]
fn nsqlookupd_answers_every_case_of_the_corpus_to_the_letter() {
    let count = check("tests/corpus/lookupd", |file, cases| {
        let lookupd = Lookupd::start();
        file.play(cases, Target { tcp: lookupd.tcp(), http: lookupd.http(), is_lookupd: true })
    });
    assert!(count >= 60 || only_stock(), "only {count} cases");
}

/// `<cert>` and `<auth>` in a file's flags are what it takes to have a authority and an auth server.
fn flags(of_file: &[String], authority: &Authority, auth: &AuthServer) -> Vec<String> {
    let address = auth.address().to_string();
    let expanded = of_file.iter().flat_map(|flag| match flag.as_str() {
        "<cert>" => authority.flags(),
        flag => vec![flag.replace("<auth>", &address)],
    });
    expanded.collect()
}

/// What the auth server says of whom.
const SECRETS: &[(&str, &str)] = &[
    (
        "everything",
        r#"{"ttl":3600,"identity":"bob","identity_url":"http://x","authorizations":[{"permissions":["subscribe","publish"],"topic":".*","channels":[".*"]}]}"#,
    ),
    (
        "subscriber",
        r#"{"ttl":3600,"identity":"s","authorizations":[{"permissions":["subscribe"],"topic":".*","channels":[".*"]}]}"#,
    ),
    (
        "publisher",
        r#"{"ttl":3600,"identity":"p","authorizations":[{"permissions":["publish"],"topic":".*","channels":[".*"]}]}"#,
    ),
    (
        "foo-only",
        r#"{"ttl":3600,"identity":"f","authorizations":[{"permissions":["subscribe","publish"],"topic":"foo","channels":["^arch$"]}]}"#,
    ),
    ("nothing", r#"{"ttl":3600,"identity":"n","authorizations":[]}"#),
    (
        "no-ttl",
        r#"{"ttl":0,"identity":"x","authorizations":[{"permissions":["subscribe"],"topic":".*","channels":[".*"]}]}"#,
    ),
    (
        "odd-permission",
        r#"{"ttl":60,"identity":"x","authorizations":[{"permissions":["fly"],"topic":".*","channels":[".*"]}]}"#,
    ),
    (
        "odd-pattern",
        r#"{"ttl":60,"identity":"x","authorizations":[{"permissions":["subscribe"],"topic":"[","channels":[".*"]}]}"#,
    ),
    ("no-json", "hello"),
];

fn only_stock() -> bool {
    std::env::var("CORPUS").is_ok_and(|value| value == "stock")
}

/// How many cases there were; all of them went as written.
fn check(folder: &str, play: impl Fn(&File, &[&Case]) -> Vec<corpus::Failure> + Sync) -> usize {
    let (start, files) = (Instant::now(), corpus::read(folder));
    let mut failures = Vec::new();
    let (mut count, mut stock) = (0, 0);
    for group in files.chunks(FILES_AT_A_TIME) {
        let played: Vec<(usize, usize, Vec<corpus::Failure>)> = std::thread::scope(|scope| {
            let threads: Vec<_> = group.iter().map(|file| scope.spawn(|| check_file(file, &play))).collect();
            threads.into_iter().map(|thread| thread.join().unwrap()).collect()
        });
        for (cases, of_stock, failed) in played {
            count += cases;
            stock += of_stock;
            failures.extend(failed);
        }
    }
    println!(
        "{folder}: {count} cases, each in 3 cuts; {stock} are what stock NSQ does; {} failed; {:.1} s",
        failures.len(),
        start.elapsed().as_secs_f64()
    );
    let texts: Vec<String> = failures.into_iter().map(|failure| failure.text).collect();
    assert!(texts.is_empty(), "{} of {count} cases:\n{}", texts.len(), texts.join("\n"));
    count
}

fn check_file(
    file: &File,
    play: &impl Fn(&File, &[&Case]) -> Vec<corpus::Failure>,
) -> (usize, usize, Vec<corpus::Failure>) {
    let is_wanted = |case: &&Case| case.truth == Truth::Stock || !only_stock();
    let cases: Vec<&Case> = file.cases.iter().filter(is_wanted).collect();
    let stock = cases.iter().filter(|case| case.truth == Truth::Stock).count();
    let failures = if cases.is_empty() { Vec::new() } else { play(file, &cases) };
    (cases.len(), stock, failures)
}
