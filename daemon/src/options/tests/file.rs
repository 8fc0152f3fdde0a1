//! The TOML file: what stock takes is taken, everything else is said with line and caret.

use super::*;
use crate::options::file::read_text;

const FILE_TABLE: &[Opt] = &[
    Opt::new("config", Kind::Text, "", "File", "General"),
    Opt::new("node-id", Kind::Int, "-1", "Node", "General").keyed("id"),
    Opt::new("tcp-address", Kind::Text, "0.0.0.0:4150", "Where", "Network"),
    Opt::new("lookupd-tcp-address", Kind::List, "", "Lookupds", "Network").keyed("nsqlookupd_tcp_addresses"),
    Opt::new("msg-timeout", Kind::Duration, "1m", "Time to finish", "Queue"),
    Opt::new("deflate", Kind::Bool, "true", "Offer it", "Network"),
    Opt::new("tls-required", Kind::Choice(&["true", "false", "tcp-https"]), "false", "Must", "Security"),
];

/// What one line gives, or all that is wrong with it.
fn told(text: &str) -> Result<Vec<String>, String> {
    let file = read_text(FILE_TABLE, "nsqd.toml", text);
    let problems = [file.problems, file.unknown].concat();
    if !problems.is_empty() {
        return Err(problems.join("\n"));
    }
    Ok(file.given.iter().map(|(opt, _, value)| format!("{} {value:?}", opt.name)).collect())
}

fn check(text: &str, expected: &str) {
    assert_eq!(told(text), Ok(vec![expected.to_owned()]), "{text}");
}

#[test]
fn every_form_that_stock_takes_is_taken() {
    check("id = 5", "node-id Int(5)");
    check("id = \"5\"", "node-id Int(5)");
    check("id = 0x1_0", "node-id Int(16)");
    check("tcp_address = \":1\"", "tcp-address Text(\":1\")");
    check("msg_timeout = \"1m30s\"", "msg-timeout Duration(90000000000)");
    check("msg_timeout = 1500", "msg-timeout Duration(1500000000)");
    check("msg_timeout = -5", "msg-timeout Duration(-5000000)");
    check("deflate = false", "deflate Bool(false)");
    check("deflate = \"f\"", "deflate Bool(false)");
    check("deflate = 0", "deflate Bool(false)");
    check("nsqlookupd_tcp_addresses = [\"a:1\", \"b:2\"]", "lookupd-tcp-address List([\"a:1\", \"b:2\"])");
    check("nsqlookupd_tcp_addresses = \"a:1, b:2\"", "lookupd-tcp-address List([\"a:1\", \"b:2\"])");
    check("nsqlookupd_tcp_addresses = [1.0, 0.99]", "lookupd-tcp-address List([\"1.0\", \"0.99\"])");
    check("tls_required = true", "tls-required Text(\"true\")");
    check("tls_required = \"tcp-https\"", "tls-required Text(\"tcp-https\")");
    check("tls_required = \"\"", "tls-required Text(\"false\")");
    check("\u{feff}id = 5", "node-id Int(5)");
    check("# nothing\r\nid = 5\r\n", "node-id Int(5)");
    assert_eq!(told(""), Ok(Vec::new()));
}

#[test]
fn an_unknown_key_is_shown_with_its_line_a_caret_and_the_nearest_name() {
    let text = "id = 1\n\n  tcp_adress = \"x\"\n";
    let expected = "nsqd.toml:3:3: unknown key tcp_adress; did you mean tcp_address?\n \
                    3 |   tcp_adress = \"x\"\n   |   ^^^^^^^^^^";
    assert_eq!(told(text), Err(expected.to_owned()));
}

#[test]
fn what_is_known_under_another_name_is_named() {
    for (text, part) in [
        ("node-id = 1", "did you mean id?"),
        ("node_id = 1", "unknown key node_id; did you mean id?"),
        ("lookupd-tcp-address = []", "did you mean nsqlookupd_tcp_addresses?"),
        ("config = \"x\"", "config is not a key of a file: give --config or its variable"),
        ("[nsqd]\nid = 1", "options stand outside of any [section]"),
        ("zzzzzzzz = 1", "unknown key zzzzzzzz\n"),
    ] {
        let error = told(text).unwrap_err();
        assert!(error.contains(part), "{text}: {error}");
    }
}

#[test]
fn a_value_of_the_wrong_type_is_shown_with_carets_below_it() {
    let expected = "nsqd.toml:2:15: msg_timeout: must be a duration such as \"1m30s\", or whole milliseconds, not true or false\n \
                    2 | msg_timeout = true\n   |               ^^^^";
    assert_eq!(told("id = 1\nmsg_timeout = true"), Err(expected.to_owned()));
    for (text, part) in [
        ("id = \"many\"", "id: \"many\" is not a whole number"),
        ("id = 1.5", "id: must be a whole number, not a fraction"),
        ("id = 99999999999999999999", "too large"),
        ("msg_timeout = \"60\"", "lacks a unit"),
        ("tcp_address = [\"a\"]", "must be text, not a list"),
        ("deflate = 2", "must be true or false, not a number"),
        ("nsqlookupd_tcp_addresses = 5", "must be a list of texts, or one text with commas, not a number"),
        ("nsqlookupd_tcp_addresses = [\"a\", [\"b\"]]", "a list holds texts, not a list"),
        ("tls_required = 2020-01-01", "must be text, not a date"),
        ("tls_required = \"often\"", "choose true, false or tcp-https"),
    ] {
        let error = told(text).unwrap_err();
        assert!(error.contains(part) && error.contains('^'), "{text}: {error}");
    }
}

#[test]
fn all_mistakes_of_a_file_are_told_at_once() {
    let error = told("id = true\nnothing_like_it = 1\ndeflate = []\n").unwrap_err();
    for place in ["nsqd.toml:1:6:", "nsqd.toml:2:1:", "nsqd.toml:3:11:"] {
        assert!(error.contains(place), "{place} is missing in:\n{error}");
    }
}

#[test]
fn a_file_that_is_not_toml_is_an_error_with_its_place_and_no_crash() {
    for text in ["id 5", "id = ", "id = 5\nid = 6", "= 3", "[[", "\"", "id = \"\u{1}\u{1b}[31m", "a.b.c"] {
        let error = told(text).unwrap_err();
        assert!(error.starts_with("nsqd.toml:"), "{text}: {error}");
        assert!(!error.contains('\u{1b}'), "{text}: {error:?}");
    }
    let binary: String = (0..20_000_u32).filter_map(|n| char::from_u32(n % 255)).collect();
    assert!(told(&binary).unwrap_err().len() < 10_000_000);
}

#[test]
fn carets_stand_below_what_they_mean_behind_letters_of_any_width() {
    let error = told("tcp_address = \"\u{fc}\u{fc}\"\nid =\t\"\u{e9}\"").unwrap_err();
    assert!(error.ends_with("2 | id = \"\u{e9}\"\n   |      ^^^"), "{error}");
}
