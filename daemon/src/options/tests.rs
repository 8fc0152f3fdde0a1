//! The option table as people and scripts use it: Go's flag forms, help, errors.

use std::time::Duration;

use super::*;
use crate::version;

mod elsewhere;
mod file;

const TABLE: &[Opt] = &[
    Opt::new("tcp-address", Kind::Text, "0.0.0.0:4150", "Where", "Network"),
    Opt::new("lookupd-tcp-address", Kind::List, "", "Lookupds", "Network"),
    Opt::new("mem-queue-size", Kind::Int, "10000", "Messages", "Queue"),
    Opt::new("msg-timeout", Kind::Duration, "1m", "Time to finish", "Queue"),
    Opt::new("deflate", Kind::Bool, "true", "Offer it", "Network"),
    Opt::new("verbose", Kind::Bool, "false", "No effect", "Logging"),
];

#[test]
fn a_choice_takes_its_words_in_any_case_and_go_spellings_of_true_and_false() {
    const CHOICES: &[Opt] = &[
        Opt::new("tls-required", Kind::Choice(&["true", "false", "tcp-https"]), "false", "h", "g"),
        Opt::new("tls-min-version", Kind::Choice(&["tls1.2", "tls1.3"]), "tls1.2", "h", "g"),
    ];
    let check = |args: &[&str], name: &str, expected: &str| match parse("nsqd", "", CHOICES, args) {
        Ok(Parsed::Run(values)) => assert_eq!(values.text(name), expected, "{args:?}"),
        other => panic!("{args:?}: {other:?}"),
    };
    check(&["-tls-required"], "tls-required", "true");
    check(&["-tls-required", "-tls-min-version", "TLS1.3"], "tls-required", "true");
    check(&["-tls-required", "-tls-min-version", "TLS1.3"], "tls-min-version", "tls1.3");
    check(&["-tls-required=1"], "tls-required", "true");
    check(&["-tls-required=F"], "tls-required", "false");
    check(&["-tls-required=TCP-HTTPS"], "tls-required", "tcp-https");
    check(&["-tls-min-version="], "tls-min-version", "tls1.2");
    let error = parse("nsqd", "", CHOICES, ["-tls-required=maybe", "-tls-min-version=ssl3.0"]).unwrap_err();
    assert_eq!(
        error.problems(),
        [
            "--tls-required: \"maybe\" is unknown; choose true, false or tcp-https",
            "--tls-min-version: \"ssl3.0\" is unknown; choose tls1.2 or tls1.3"
        ]
    );
}

fn values(args: &[&str]) -> Values {
    match parse("nsqd", "The daemon.", TABLE, args) {
        Ok(Parsed::Run(values)) => values,
        other => panic!("{args:?}: {other:?}"),
    }
}

fn refusal(args: &[&str]) -> String {
    parse("nsqd", "The daemon.", TABLE, args).map(|_| ()).expect_err("a usage error").to_string()
}

fn printed(args: &[&str]) -> String {
    match parse("nsqd", "The daemon.", TABLE, args) {
        Ok(Parsed::Exit { code: 0, text }) => text,
        other => panic!("{args:?}: {other:?}"),
    }
}

#[test]
fn defaults_hold_without_flags() {
    let values = values(&[]);
    assert_eq!(values.text("tcp-address"), "0.0.0.0:4150");
    assert_eq!(values.int("mem-queue-size"), 10_000);
    assert_eq!(values.duration("msg-timeout"), Duration::from_secs(60));
    assert!(values.is_on("deflate"));
    assert!(!values.is_on("verbose"));
    assert!(values.list("lookupd-tcp-address").is_empty());
    assert!(!values.is_set("tcp-address"));
    assert!(values.unknown_names().is_empty());
}

#[test]
fn every_form_go_accepts_is_accepted() {
    for args in [
        &["-mem-queue-size", "5"][..],
        &["--mem-queue-size", "5"],
        &["-mem-queue-size=5"],
        &["--mem-queue-size=5"],
        &["--mem-queue-size=4", "-mem-queue-size=5"],
    ] {
        assert_eq!(values(args).int("mem-queue-size"), 5, "{args:?}");
        assert!(values(args).is_set("mem-queue-size"));
    }
    assert_eq!(values(&["-mem-queue-size", "-1"]).int("mem-queue-size"), -1);
    assert_eq!(values(&["-tcp-address", "--verbose"]).text("tcp-address"), "--verbose");
    assert_eq!(values(&["-tcp-address="]).text("tcp-address"), "");
    assert_eq!(values(&["-tcp-address=a=b"]).text("tcp-address"), "a=b");
    assert_eq!(values(&["-tcp-address", ""]).text("tcp-address"), "");
}

#[test]
fn booleans_need_the_equals_sign() {
    assert!(values(&["-verbose"]).is_on("verbose"));
    assert!(values(&["--verbose", "--msg-timeout=1s"]).is_on("verbose"));
    for no in ["false", "0", "f", "F", "False", "FALSE"] {
        assert!(!values(&[&format!("-deflate={no}")]).is_on("deflate"), "{no}");
    }
    assert!(refusal(&["-verbose", "true"]).contains("argument \"true\" is not a flag"));
    assert!(refusal(&["-verbose=yes"]).contains("--verbose: \"yes\" is not true or false"));
}

#[test]
fn lists_come_repeated_or_with_commas() {
    let args = ["-lookupd-tcp-address", "a:1", "--lookupd-tcp-address=b:2,c:3,"];
    assert_eq!(values(&args).list("lookupd-tcp-address"), ["a:1", "b:2", "c:3"]);
}

#[test]
fn durations_need_a_unit() {
    assert_eq!(values(&["-msg-timeout=1h0m0s"]).duration("msg-timeout"), Duration::from_secs(3600));
    assert_eq!(values(&["-msg-timeout", "250ms"]).duration("msg-timeout"), Duration::from_millis(250));
    assert!(refusal(&["-msg-timeout=60"]).contains("--msg-timeout: \"60\" lacks a unit"));
}

#[test]
fn everything_that_is_wrong_is_told_at_once() {
    let error = parse("nsqd", "", TABLE, ["--nothing", "x", "-deflate=no", "stray", "-mem-queue-size"]);
    let text = error.map(|_| ()).unwrap_err().to_string();
    for part in ["unknown flag --nothing", "--deflate: \"no\"", "\"stray\" is not a flag", "needs a value"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert!(!text.contains("\"x\""), "the value of an unknown flag is no mistake of its own: {text}");
}

#[test]
fn errors_name_the_flag_and_the_way_out() {
    let text = refusal(&["--tcp-addres=x"]);
    assert_eq!(text, "unknown flag --tcp-addres; did you mean --tcp-address? (nsqd --help lists all)");
    assert_eq!(refusal(&["-zzzzzz"]), "unknown flag --zzzzzz (nsqd --help lists all)");
    assert!(refusal(&["-mem-queue-size=many"]).contains("--mem-queue-size: \"many\" is not a whole number"));
    assert!(refusal(&["-msg-timeout"]).contains("--msg-timeout needs a value, for example --msg-timeout=1m"));
    assert!(refusal(&["serve"]).contains("\"serve\" is not a flag"));
    assert!(refusal(&["-"]).contains("not a flag"));
    assert!(refusal(&["--"]).contains("not a flag"));
}

#[test]
fn argument_that_is_not_utf8_is_refused() {
    use std::os::unix::ffi::OsStringExt as _;
    let args = [OsString::from_vec(vec![b'-', 0xff])];
    let error = parse("nsqd", "The daemon.", TABLE, args).map(|_| ()).expect_err("not UTF-8");
    assert!(error.to_string().contains("not UTF-8"), "{error}");
}

#[test]
fn help_shows_groups_and_defaults() {
    let text = printed(&["--help"]);
    for part in
        ["The daemon.", "Usage: nsqd", "Network:", "Queue:", "--msg-timeout", "[default: 1m]", "--version"]
    {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }
    assert_eq!(printed(&["-h"]), text);
    assert_eq!(printed(&["-help", "-verbose"]), text);
}

#[test]
fn version_is_one_line_and_can_be_switched_off() {
    assert_eq!(printed(&["-version"]), version::version_line("nsqd"));
    assert_eq!(printed(&["--version", "--verbose"]), version::version_line("nsqd"));
    assert!(!values(&["-version=false"]).is_on("verbose"));
}

#[test]
fn misspelt_name_in_the_code_is_reported_and_harmless() {
    let values = values(&[]);
    assert_eq!(values.text("tcp-adress"), "");
    assert_eq!(values.int("tcp-address"), 0);
    assert_eq!(values.duration("nothing"), Duration::ZERO);
    assert!(!values.is_set("none"));
    assert_eq!(values.unknown_names(), ["none", "nothing", "tcp-address", "tcp-adress"]);
}

#[test]
fn table_with_mistakes_is_described() {
    assert_eq!(table_problems(TABLE), Vec::<String>::new());
    const NONE: [&str; 0] = [];
    let wrong = [
        Opt::new("version", Kind::Text, "", "h", "g"),
        Opt::new("a", Kind::Int, "x", "h", "g"),
        Opt::new("a", Kind::Int, "1", "", "g"),
    ];
    assert_eq!(table_problems(&wrong).len(), 4);
    assert!(parse("nsqd", "", &wrong, NONE).is_err(), "the first row's default is checked at the start");
}
