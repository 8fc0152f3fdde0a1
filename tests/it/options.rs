//! Where options come from: flags, environment, TOML file; and what SIGHUP, --check-config and /config make of them.
//! The flags of stock are the rows of tests/flags.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use harness::{Frame, Nsqd, Process, Signal, eventually, nsqd_binary, nsqlookupd_binary, request, root};
use tempfile::TempDir;

/// Every key of stock's example of a configuration, with the kinds of values it has there.
const STOCK_NSQD: &str = r#"
log_level = "info"
id = 515
tcp_address = "127.0.0.1:0"
http_address = "127.0.0.1:0"
https_address = "127.0.0.1:0"
broadcast_address = "127.0.0.1"
nsqlookupd_tcp_addresses = [
    "127.0.0.1:1"
]
http_client_connect_timeout = "2s"
http_client_request_timeout = "5s"
mem_queue_size = 10000
max_bytes_per_file = 104857600
sync_every = 2500
sync_timeout = "2s"
msg_timeout = "60s"
max_msg_timeout = 900000
max_msg_size = 1024768
max_req_timeout = "1h"
max_body_size = 5123840
max_heartbeat_interval = "60s"
max_rdy_count = "2500"
max_output_buffer_size = 65536
max_output_buffer_timeout = "1s"
statsd_prefix = "nsq.%s"
statsd_interval = "60s"
statsd_mem_stats = true
statsd_udp_packet_size = 508
e2e_processing_latency_percentiles = [
    1.0,
    0.99,
    0.95
]
e2e_processing_latency_window_time = "10m"
tls_cert = ""
tls_key = ""
tls_client_auth_policy = ""
tls_root_ca_file = ""
tls_required = false
tls_min_version = ""
deflate = true
max_deflate_level = 6
snappy = true
"#;

const STOCK_NSQLOOKUPD: &str = r#"
log_level = "info"
tcp_address = "127.0.0.1:0"
http_address = "127.0.0.1:0"
broadcast_address = "127.0.0.1"
inactive_producer_timeout = "300s"
tombstone_lifetime = "45s"
"#;

struct File {
    folder: TempDir,
    path: PathBuf,
}

impl File {
    fn with(text: &str) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("nsq.toml");
        std::fs::write(&path, text).unwrap();
        Self { folder, path }
    }

    fn flag(&self) -> String {
        format!("--config={}", self.path.display())
    }

    fn data_flag(&self) -> String {
        format!("--data-path={}", self.folder.path().display())
    }
}

fn run(binary: &Path, args: &[&str]) -> Output {
    Command::new("timeout").arg("20").arg(binary).args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}

#[test]
fn a_configuration_of_stock_starts_both_daemons_unchanged() {
    let file = File::with(STOCK_NSQD);
    let nsqd = Process::start(&nsqd_binary(), &[file.flag(), file.data_flag()]);
    let config = |key: &str| request(nsqd.address("HTTP"), "GET", &format!("/config/{key}"), b"").ok().text();
    for (key, value) in [
        ("id", "515"),
        ("msg_timeout", "60000000000"),
        ("max_msg_timeout", "900000000000"),
        ("max_msg_size", "1024768"),
        ("max_rdy_count", "2500"),
        ("nsqlookupd_tcp_addresses", r#"["127.0.0.1:1"]"#),
        ("e2e_processing_latency_percentiles", "[1,0.99,0.95]"),
        ("deflate", "true"),
        ("broadcast_address", "127.0.0.1"),
        ("tls_required", "0"),
        ("log_level", "2"),
    ] {
        assert_eq!(config(key), value, "{key}");
    }
    assert!(!nsqd.log().contains("unknown"), "{}", nsqd.log());

    let file = File::with(STOCK_NSQLOOKUPD);
    let nsqlookupd = Process::start(&nsqlookupd_binary(), &[file.flag()]);
    assert_eq!(request(nsqlookupd.address("HTTP"), "GET", "/ping", b"").text(), "OK");
    assert!(!nsqlookupd.log().contains("unknown"), "{}", nsqlookupd.log());
}

#[test]
fn an_unknown_key_is_a_warning_with_its_place_and_under_strict_the_end() {
    let text = "tcp_address = \"127.0.0.1:0\"\nhttp_address = \"127.0.0.1:0\"\ntcp_adress = \"x\"\n";
    for (binary, more) in [(nsqd_binary(), true), (nsqlookupd_binary(), false)] {
        let file = File::with(text);
        let mut args = vec![file.flag()];
        args.extend(more.then(|| file.data_flag()));
        let process = Process::start(&binary, &args);
        process.address("HTTP");
        let log = process.log();
        assert!(log.contains(":3:1: unknown key tcp_adress; did you mean tcp_address?"), "{log}");
        assert!(log.contains("WARNING:  3 | tcp_adress = \"x\"") && log.contains("| ^^^^^^^^^^"), "{log}");
        drop(process);
        args.push("--config-strict".to_owned());
        let output = run(&binary, &args.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(output.status.code(), Some(1));
        assert!(said(&output).contains("did you mean tcp_address?"), "{}", said(&output));
    }
}

#[test]
fn a_check_says_everything_that_is_wrong_and_starts_nothing() {
    let file = File::with("max_msg_size = 0\ntcp_adress = \"x\"\nmsg_timeout = []\n");
    let output = run(&nsqd_binary(), &["--check-config", &file.flag(), "--nothing", "--deflate=no"]);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(1), 0));
    let text = said(&output);
    for part in ["unknown flag --nothing", "--deflate: \"no\"", ":3:15: msg_timeout: must be a duration"] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }

    let file = File::with("max_topics = -1\nmax_channels = -1\n");
    let output = run(&nsqd_binary(), &["--check-config", &file.flag(), "--max-creation-rate=-1"]);
    let text = said(&output);
    for part in [
        "nsq.toml:1)",
        "--max-channels=-1 is too small",
        "nsq.toml:2)",
        "--max-creation-rate=-1 is out of range",
    ] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }

    let output = run(
        &nsqd_binary(),
        &["--check-config", "--data-path=/nowhere/at/all", "--tcp-address=4150", "--lookupd-tcp-address=:1"],
    );
    let text = said(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    for part in ["--data-path: /nowhere/at/all", "--tcp-address: \"4150\"", "--lookupd-tcp-address: \":1\""] {
        assert!(text.contains(part), "{part} is missing in:\n{text}");
    }

    let file = File::with(STOCK_NSQD);
    for (binary, args) in [
        (nsqd_binary(), vec!["--check-config".to_owned(), file.flag(), file.data_flag()]),
        (nsqlookupd_binary(), vec!["--check-config".to_owned()]),
    ] {
        let output = run(&binary, &args.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!((output.status.code(), said(&output).as_str()), (Some(0), "configuration ok\n"));
    }
    assert_eq!(std::fs::read_dir(file.folder.path()).unwrap().count(), 1, "a check leaves nothing behind");
}

#[test]
fn a_value_that_stock_starts_with_starts_here_and_what_is_used_in_its_place_is_told() {
    let mut nsqd = Nsqd::with(&[
        "--max-rdy-count=0",
        "--max-msg-size=9223372036854775807",
        "--max-body-size=2147483648",
        "--max-channel-consumers=-1",
        "--mem-queue-size=-1",
        "--max-bytes-per-file=1",
        "--broadcast-tcp-port=-1",
        "--statsd-address=127.0.0.1:1",
        "--statsd-udp-packet-size=65508",
        "--statsd-interval=-1s",
        "--sync-timeout=-1s",
        "--http-client-request-timeout=0s",
    ]);
    let log = nsqd.process().log();
    for (value, used) in [
        ("max-msg-size=9223372036854775807", "2147483647"),
        ("max-body-size=2147483648", "2147483647"),
        ("max-channel-consumers=-1", "0"),
        ("mem-queue-size=-1", "0"),
        ("max-bytes-per-file=1", "4096"),
        ("broadcast-tcp-port=-1", "0, the port that is listened on"),
        ("statsd-udp-packet-size=65508", "65507"),
        ("statsd-interval=-1s", "1ms"),
        ("http-client-request-timeout=0s", "1m0s"),
    ] {
        let line = format!("WARNING: --{value} cannot be; it is {used}\n");
        assert!(log.contains(&line), "{line} is missing in:\n{log}");
    }
    assert!(!log.contains("max-rdy-count") && !log.contains("sync-timeout"), "{log}");
    let config = |key: &str| request(nsqd.http(), "GET", &format!("/config/{key}"), b"").ok().text();
    assert_eq!((config("max_rdy_count").as_str(), config("statsd_interval").as_str()), ("0", "-1000000000"));
    let mut peer = nsqd.peer();
    peer.publish("t", [7; 10_000]);
    peer.subscribe("t", "c");
    peer.line("RDY 0");
    peer.line("RDY 1");
    assert_eq!(peer.receive(), Frame::Error("E_INVALID RDY count 1 out of range 0-0".to_owned()));
}

#[test]
fn nsqlookupd_starts_with_what_stock_starts_with() {
    let args = ["--tcp-address=127.0.0.1:", "--http-address=", "--tombstone-lifetime=-1s"].map(str::to_owned);
    let nsqlookupd = Process::start(&nsqlookupd_binary(), &args);
    let here = SocketAddr::from(([127, 0, 0, 1], nsqlookupd.address("HTTP").port()));
    assert_eq!(request(here, "GET", "/ping", b"").text(), "OK");
    assert!(
        nsqlookupd.log().contains("--tombstone-lifetime=-1s cannot be; it is 0s"),
        "{}",
        nsqlookupd.log()
    );
}

#[test]
fn a_variable_sets_an_option_and_a_misspelt_one_is_a_warning() {
    let file = File::with("");
    let variables = [
        ("NSQD_TCP_ADDRESS", "127.0.0.1:0"),
        ("NSQD_HTTP_ADDRESS", "127.0.0.1:0"),
        ("NSQD_MSG_TIMEOUT", "7s"),
        ("NSQD_MSG_TIMOUT", "8s"),
        ("NSQD_PORT", "tcp://10.0.0.1:4150"),
    ];
    let nsqd = Process::start_in(&nsqd_binary(), &[file.data_flag()], &variables);
    assert_eq!(request(nsqd.address("HTTP"), "GET", "/config/msg_timeout", b"").text(), "7000000000");
    let log = nsqd.log();
    assert!(
        log.contains("NSQD_MSG_TIMOUT is no option") && log.contains("did you mean NSQD_MSG_TIMEOUT?"),
        "{log}"
    );
    assert!(!log.contains("NSQD_PORT"), "{log}");
    let variables = [("NSQLOOKUPD_TCP_ADDRESS", "127.0.0.1:0"), ("NSQLOOKUPD_HTTP_ADDRESS", "127.0.0.1:0")];
    Process::start_in(&nsqlookupd_binary(), &[], &variables).address("HTTP");
}

#[test]
fn sighup_takes_the_log_level_of_the_file_and_keeps_connections() {
    let file = File::with("log_level = \"info\"\n");
    let local = ["--tcp-address=127.0.0.1:0".to_owned(), "--http-address=127.0.0.1:0".to_owned()];
    let nsqd = Process::start(&nsqd_binary(), &[&local[..], &[file.flag(), file.data_flag()]].concat());
    let mut peer = harness::Peer::connect(nsqd.address("TCP"));
    peer.identify(serde_json::json!({}));
    let level = || request(nsqd.address("HTTP"), "GET", "/config/log_level", b"").text();
    assert_eq!(level(), "2");
    std::fs::write(&file.path, "log_level = \"debug\"\nmax_msg_size = 5\n").unwrap();
    nsqd.signal(Signal::HUP);
    eventually("the level is that of the file", || level() == "1");
    nsqd.wait_for_line("changed, but take a restart: max-msg-size");
    std::fs::write(&file.path, "log_level = \"warn\"\nmsg_timeout = \n").unwrap();
    nsqd.signal(Signal::HUP);
    nsqd.wait_for_line("the options stay as they are");
    assert_eq!(level(), "1");
    peer.publish("t", b"still here");

    let nsqlookupd = Process::start(&nsqlookupd_binary(), &local);
    nsqlookupd.address("HTTP");
    nsqlookupd.signal(Signal::HUP);
    nsqlookupd.wait_for_line("the log level is info");
    assert_eq!(request(nsqlookupd.address("HTTP"), "GET", "/ping", b"").text(), "OK");
}

#[test]
fn logs_are_json_or_logfmt_if_that_is_asked() {
    let local = ["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"].map(str::to_owned);
    for format in ["json", "auto"] {
        let nsqlookupd =
            Process::start(&nsqlookupd_binary(), &[&local[..], &[format!("--log-format={format}")]].concat());
        let line = nsqlookupd.wait_for_line("HTTP: listening on");
        let value: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(value["level"], "info", "{format}: {line}");
    }
    let nsqlookupd =
        Process::start(&nsqlookupd_binary(), &[&local[..], &["--log-format=logfmt".to_owned()]].concat());
    let line = nsqlookupd.wait_for_line("HTTP: listening on");
    assert!(
        line.starts_with("time=") && line.contains(" level=info message=\"HTTP: listening on "),
        "{line}"
    );
}

/// A row of tests/flags.
struct Row {
    flag: String,
    key: String,
    default: String,
    sample: String,
    is_changed: bool,
}

fn rows(daemon: &str) -> Vec<Row> {
    let text = std::fs::read_to_string(root().join(format!("tests/flags/{daemon}.txt"))).unwrap();
    let row = |line: &str| {
        let cells: Vec<&str> = line.split('|').map(str::trim).collect();
        let [flag, key, default, sample, meaning] = cells[..] else { panic!("not five cells: {line}") };
        assert!(["kept", "changed"].contains(&meaning), "{line}");
        Row {
            flag: flag.to_owned(),
            key: key.to_owned(),
            default: default.to_owned(),
            sample: sample.to_owned(),
            is_changed: meaning == "changed",
        }
    };
    text.lines().filter(|line| !line.starts_with('#')).map(row).collect()
}

#[test]
fn every_flag_of_stock_is_accepted_in_every_form() {
    for (daemon, binary) in [("nsqd", nsqd_binary()), ("nsqlookupd", nsqlookupd_binary())] {
        let page = said(&run(&binary, &["--help=markdown"]));
        let rows: Vec<Row> = rows(daemon).into_iter().filter(|row| row.flag != "version").collect();
        let is_switch = |row: &Row| row.sample == "true" || row.sample == "false";
        type Form = fn(&str, &str) -> Vec<String>;
        let forms: [Form; 4] = [
            |flag, value| vec![format!("-{flag}"), value.to_owned()],
            |flag, value| vec![format!("--{flag}"), value.to_owned()],
            |flag, value| vec![format!("-{flag}={value}")],
            |flag, value| vec![format!("--{flag}={value}")],
        ];
        for form in forms {
            let mut args = vec!["--check-config".to_owned()];
            for row in &rows {
                // In Go too a flag that is on or off takes its value only behind `=`.
                let parts = form(&row.flag, &row.sample);
                args.extend(if is_switch(row) { vec![parts[0].clone()] } else { parts });
            }
            // As a switch it is on, which needs a certificate.
            args.extend(
                rows.iter().any(|row| row.flag == "tls-required").then(|| "-tls-required=false".to_owned()),
            );
            let output = run(&binary, &args.iter().map(String::as_str).collect::<Vec<_>>());
            assert_eq!(said(&output), "configuration ok\n", "{daemon}: {args:?}");
        }
        for row in &rows {
            let start = format!("| `--{}` |", row.flag);
            let line = page.lines().find(|line| line.starts_with(&start));
            let line = line.unwrap_or_else(|| panic!("{daemon} --{} is on no page", row.flag));
            let is_ours = row.default.starts_with('<') || row.is_changed || row.default.is_empty();
            assert!(is_ours || line.contains(&format!("| `{}", row.default)), "{}: {line}", row.default);
            assert!(row.key == "-" || line.contains(&format!("| `{}` |", row.key)), "{}: {line}", row.key);
        }
    }
}

#[test]
fn every_flag_with_a_changed_meaning_is_in_the_documentation_and_no_other() {
    let page = std::fs::read_to_string(root().join("docs/compatibility.md")).unwrap();
    let section = page.split("\n## ").find(|section| section.starts_with("Flags")).expect("a section Flags");
    let documented: BTreeSet<String> = section
        .lines()
        .filter_map(|line| line.strip_prefix("| `--")?.split_once('`'))
        .map(|(flag, _)| flag.to_owned())
        .collect();
    let changed: BTreeSet<String> = ["nsqd", "nsqlookupd"]
        .into_iter()
        .flat_map(rows)
        .filter(|row| row.is_changed)
        .map(|row| row.flag)
        .collect();
    assert_eq!(documented, changed);
}
