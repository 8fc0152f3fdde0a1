//! Flags, environment and file together: which one counts, and what is said about each.

use super::*;

const NEVER: &[Opt] = &[
    Opt::new("config", Kind::Text, "", "File", "General"),
    Opt::new("config-strict", Kind::Bool, "false", "Strict", "General"),
    Opt::new("check-config", Kind::Bool, "false", "Check", "General"),
    Opt::new("tcp-address", Kind::Text, "0.0.0.0:4150", "Where <here>", "Network"),
    Opt::new("http-address", Kind::Text, ":1", "Where", "Network"),
    Opt::new("lookupd-tcp-address", Kind::List, "", "Lookupds", "Network").keyed("nsqlookupd_tcp_addresses"),
    Opt::new("msg-timeout", Kind::Duration, "1m", "Time to finish", "Queue"),
    Opt::new("max-msg-size", Kind::Int, "1048576", "Bytes", "Queue"),
    Opt::new("log-level", Kind::Choice(&["info", "warn"]), "info", "Least", "General"),
];
const PROGRAM: Program = Program { binary: "nsqd", about: "The daemon.", table: NEVER };

fn read(args: &[&str], variables: &[(&str, &str)]) -> Result<Parsed, UsageError> {
    let own = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
    Sources::new(&PROGRAM, args, variables.iter().map(own).collect()).read()
}

fn values(args: &[&str], variables: &[(&str, &str)]) -> Values {
    match read(args, variables) {
        Ok(Parsed::Run(values)) => values,
        other => panic!("{args:?} {variables:?}: {other:?}"),
    }
}

/// A file on disk with `--config=` in front of its path.
struct File {
    flag: String,
    path: std::path::PathBuf,
}

impl File {
    fn with(name: &str, text: &str) -> Self {
        let path = std::env::temp_dir().join(format!("nsqube-options-{}-{name}.toml", std::process::id()));
        std::fs::write(&path, text).unwrap();
        Self { flag: format!("--config={}", path.display()), path }
    }
}

impl Drop for File {
    fn drop(&mut self) {
        let _gone_already = std::fs::remove_file(&self.path);
    }
}

#[test]
fn a_flag_comes_before_a_variable_before_the_file_before_the_default() {
    let file = File::with("order", "tcp_address = \"file\"\nnsqlookupd_tcp_addresses = [\"a\", \"b\"]\n");
    let address = |args: &[&str], variables: &[(&str, &str)]| {
        let values = values(args, variables);
        (values.text("tcp-address").to_owned(), values.is_set("tcp-address"))
    };
    let variable = ("NSQD_TCP_ADDRESS", "variable");
    assert_eq!(address(&["--tcp-address=flag", &file.flag], &[variable]), ("flag".to_owned(), true));
    assert_eq!(address(&[&file.flag], &[variable]), ("variable".to_owned(), true));
    assert_eq!(address(&[&file.flag], &[]), ("file".to_owned(), true));
    assert_eq!(address(&[], &[]), ("0.0.0.0:4150".to_owned(), false));
}

#[test]
fn a_list_is_taken_from_one_place_only() {
    let file = File::with("list", "nsqlookupd_tcp_addresses = [\"a\", \"b\"]\n");
    let list = |args: &[&str], variables: &[(&str, &str)]| {
        values(args, variables).list("lookupd-tcp-address").join(" ")
    };
    assert_eq!(list(&[&file.flag], &[]), "a b");
    assert_eq!(list(&[&file.flag], &[("NSQD_LOOKUPD_TCP_ADDRESS", "c,d")]), "c d");
    assert_eq!(list(&[&file.flag, "-lookupd-tcp-address=e", "-lookupd-tcp-address=f"], &[]), "e f");
}

#[test]
fn the_file_may_be_named_by_a_variable() {
    let file = File::with("variable", "max_msg_size = 5");
    let path = file.path.display().to_string();
    assert_eq!(values(&[], &[("NSQD_CONFIG", &path)]).int("max-msg-size"), 5);
}

#[test]
fn an_unknown_key_is_a_remark_and_under_strict_an_error() {
    let file = File::with("strict", "tcp_adress = \"x\"");
    let remarks = values(&[&file.flag], &[]).remarks().join("\n");
    assert!(remarks.contains("did you mean tcp_address?"), "{remarks}");
    for (args, variables) in [
        (vec![file.flag.as_str(), "--config-strict"], vec![]),
        (vec![file.flag.as_str()], vec![("NSQD_CONFIG_STRICT", "true")]),
    ] {
        let error = read(&args, &variables).unwrap_err();
        assert!(error.to_string().contains("did you mean tcp_address?"), "{error}");
    }
}

#[test]
fn a_file_that_is_missing_is_named() {
    let error = read(&["--config=/nowhere/nsqd.toml"], &[]).unwrap_err().to_string();
    assert!(error.starts_with("--config: cannot read /nowhere/nsqd.toml: "), "{error}");
}

#[test]
fn variables_of_others_and_of_kubernetes_are_left_alone() {
    let values = values(
        &[],
        &[
            ("NSQ_TCP_ADDRESS", "x"),
            ("PATH", "x"),
            ("NSQD", "x"),
            ("NSQD_SERVICE_HOST", "10.0.0.1"),
            ("NSQD_SERVICE_PORT", "4150"),
            ("NSQD_SERVICE_PORT_HTTP", "4151"),
            ("NSQD_PORT", "tcp://10.0.0.1:4150"),
            ("NSQD_PORT_4150_TCP", "tcp://10.0.0.1:4150"),
            ("NSQD_PORT_4150_TCP_PROTO", "tcp"),
            ("NSQD_PORT_4150_TCP_PORT", "4150"),
            ("NSQD_PORT_4150_TCP_ADDR", "10.0.0.1"),
            ("NSQD_HTTP_PORT_4151_TCP", "tcp://10.0.0.1:4151"),
        ],
    );
    assert_eq!(values.remarks(), [""; 0]);
}

#[test]
fn a_variable_that_is_no_option_is_a_remark_with_the_nearest_name() {
    let values = values(&[], &[("NSQD_TCP_ADRESS", "x"), ("NSQD_BROADCAST_PORT", "1")]);
    assert_eq!(
        values.remarks(),
        [
            "environment variable NSQD_BROADCAST_PORT is no option of nsqd and is ignored",
            "environment variable NSQD_TCP_ADRESS is no option of nsqd and is ignored; did you mean NSQD_TCP_ADDRESS?"
        ]
    );
}

#[test]
fn an_empty_variable_is_a_value_only_for_texts() {
    let values =
        values(&[], &[("NSQD_HTTP_ADDRESS", ""), ("NSQD_MAX_MSG_SIZE", ""), ("NSQD_MSG_TIMEOUT", "")]);
    assert_eq!(values.text("http-address"), "");
    assert_eq!(values.int("max-msg-size"), 1_048_576);
    assert!(!values.is_set("msg-timeout"));
}

#[test]
fn a_bad_variable_is_named_as_it_was_written() {
    let error = read(&[], &[("NSQD_MSG_TIMEOUT", "60")]).unwrap_err().to_string();
    assert!(error.starts_with("NSQD_MSG_TIMEOUT: \"60\" lacks a unit"), "{error}");
}

#[test]
fn version_and_help_need_nothing_to_be_right() {
    for flag in ["--version", "--help", "--help=markdown"] {
        let exit = read(&[flag, "--config=/nowhere"], &[("NSQD_MSG_TIMEOUT", "60")]);
        assert!(matches!(exit, Ok(Parsed::Exit { code: 0, .. })), "{flag}: {exit:?}");
    }
}

#[test]
fn help_names_the_variables_and_the_reference_has_a_row_for_every_option() {
    let text = |flag: &str| match read(&[flag], &[]) {
        Ok(Parsed::Exit { text, .. }) => text,
        other => panic!("{other:?}"),
    };
    let help = text("--help");
    assert!(help.contains("[env: NSQD_LOOKUPD_TCP_ADDRESS]") && help.contains("[info or warn]"), "{help}");
    let page = text("--help=markdown");
    assert!(page.starts_with("# Options of nsqd\n"), "{page}");
    for row in [
        "| `--tcp-address` | text | `0.0.0.0:4150` | `tcp_address` | Where &lt;here> |",
        "| `--lookupd-tcp-address` | list |  | `nsqlookupd_tcp_addresses` | Lookupds |",
        "| `--config` | text |  |  | File |",
        "| `--log-level` | info or warn | `info` | `log_level` | Least |",
    ] {
        assert!(page.contains(row), "{row} is missing in:\n{page}");
    }
}

#[test]
fn what_config_shows_is_text_or_json_by_its_key_without_passwords() {
    let args = ["-lookupd-tcp-address=a", "-tcp-address=http://user:canary@host/x@y", "-msg-timeout=1s"];
    let values = values(&args, &[]);
    let (text, json) = (
        |text: &str| Some(Shown::Text(text.to_owned())),
        |text: &str| Some(Shown::Json(serde_json::from_str(text).unwrap())),
    );
    for (key, shown) in [
        ("tcp_address", text("http://user:***@host/x@y")),
        ("nsqlookupd_tcp_addresses", json("[\"a\"]")),
        ("msg_timeout", json("1000000000")),
        ("max_msg_size", json("1048576")),
        ("config_strict", json("false")),
        ("tcp-address", None),
        ("lookupd_tcp_address", None),
    ] {
        assert_eq!(values.shown(key), shown, "{key}");
    }
}

#[test]
fn passwords_are_left_out_of_addresses_of_any_form() {
    for (text, shown) in [
        ("user:canary@host:4181", "user:***@host:4181"),
        ("https://user:can@ary@host/p?q=1", "https://user:***@host/p?q=1"),
        ("user:can/ary@host:1", "user:***@host:1"),
        ("http://user:can#ary@host:1/p", "http://user:***@host:1/p"),
        ("user:can://ary@host:1", "user:***@host:1"),
        ("http://host:1/p?q=a@b", "http://host:***@b"),
        ("http://host/p@q", "http://host/p@q"),
        ("host:4181", "host:4181"),
        ("[nsqd] ", "[nsqd] "),
    ] {
        assert_eq!(without_password(text), shown, "{text}");
    }
}

#[test]
fn a_value_that_cannot_be_used_is_replaced_and_told_with_its_place() {
    let file = File::with("replaced", "max_msg_size = -1\nmsg_timeout = -5\n");
    let values = values(&[&file.flag], &[]);
    assert_eq!(values.remarks(), [""; 0]);
    assert_eq!(values.clamped::<u16>("max-msg-size", 0, 10), Ok(0));
    assert_eq!(values.duration("msg-timeout"), Duration::ZERO);
    let remarks = values.remarks().join("\n");
    let place = |line| format!(" ({}:{line})", file.path.display());
    assert!(remarks.contains(&format!("--max-msg-size=-1 cannot be; it is 0{}", place(1))), "{remarks}");
    assert!(remarks.contains(&format!("--msg-timeout=-5ms cannot be; it is 0s{}", place(2))), "{remarks}");
    assert_eq!(values.shown("msg_timeout"), Some(Shown::json(-5_000_000)));
}

#[test]
fn every_value_that_is_refused_is_told_with_its_place() {
    let file = File::with("places", "\nmax_msg_size = 0\n");
    let values = values(&[&file.flag, "--msg-timeout=0s"], &[("NSQD_TCP_ADDRESS", "x")]);
    let check = |values: &Values| -> Result<&'static str, String> {
        if values.int("max-msg-size") == 0 {
            return Err("--max-msg-size=0 is too small".to_owned());
        }
        if values.duration("msg-timeout").is_zero() {
            return Err("--msg-timeout is too short".to_owned());
        }
        if values.text("tcp-address") == "x" {
            return Err("--tcp-address: no address".to_owned());
        }
        Ok("fine")
    };
    let problems = all_problems(&values, check).unwrap_err();
    assert_eq!(
        problems,
        [
            format!("--max-msg-size=0 is too small ({}:2)", file.path.display()),
            "--msg-timeout is too short".to_owned(),
            "--tcp-address: no address (NSQD_TCP_ADDRESS)".to_owned()
        ]
    );
    assert_eq!(all_problems(&self::values(&[], &[]), check), Ok("fine"));
}

#[test]
fn a_check_that_is_never_satisfied_ends() {
    let values = values(&["--msg-timeout=2s"], &[]);
    let same = |_: &Values| -> Result<(), String> { Err("--msg-timeout is never right".to_owned()) };
    assert_eq!(all_problems(&values, same).unwrap_err().len(), 2);
    let other = |_: &Values| -> Result<(), String> { Err("nothing fits".to_owned()) };
    assert_eq!(all_problems(&values, other).unwrap_err(), ["nothing fits"]);
}

#[test]
fn what_has_changed_in_the_file_is_found_by_reading_again() {
    let file = File::with("again", "log_level = \"info\"\nmax_msg_size = 1\n");
    let sources = Sources::new(&PROGRAM, [&file.flag], Vec::new());
    let read = || match sources.read() {
        Ok(Parsed::Run(values)) => values,
        other => panic!("{other:?}"),
    };
    let before = read();
    std::fs::write(&file.path, "log_level = \"warn\"\nmax_msg_size = 1\n").unwrap();
    assert_eq!(read().differences(&before), ["log-level"]);
}

#[test]
fn a_check_is_known_as_one_even_when_its_options_are_wrong() {
    for (args, variables) in
        [(vec!["--check-config", "--wrong"], vec![]), (vec!["--wrong"], vec![("NSQD_CHECK_CONFIG", "1")])]
    {
        assert!(read(&args, &variables).unwrap_err().is_check(), "{args:?} {variables:?}");
    }
    assert!(!read(&["--wrong"], &[]).unwrap_err().is_check());
    assert!(values(&["--check-config"], &[]).is_check());
}
