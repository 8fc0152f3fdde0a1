//! How the daemons start and refuse to start: flags in Go's forms, the lines scripts wait for, errors that help.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::Output;

use harness::{Process, nsqd_binary, nsqlookupd_binary};

#[test]
fn the_version_is_one_line_in_the_form_that_scripts_match() {
    for (binary, name) in [(nsqd_binary(), "nsqd"), (nsqlookupd_binary(), "nsqlookupd")] {
        for flag in ["--version", "-version"] {
            let output = run(&binary, &[flag]);
            let text = String::from_utf8(output.stdout).unwrap();
            assert!(output.status.success(), "{name} {flag}");
            let rest =
                text.strip_prefix(&format!("{name} v1.3.0 (built w/")).unwrap_or_else(|| panic!("{text}"));
            assert!(rest.contains(')') && text.trim_end().lines().count() == 1, "{text}");
        }
    }
}

#[test]
fn flags_are_taken_in_every_form_go_knows() {
    let folder = tempfile::TempDir::new().unwrap();
    let data = folder.path().display().to_string();
    let args = [
        "-tcp-address",
        "127.0.0.1:0",
        "--http-address=127.0.0.1:0",
        "-data-path",
        &data,
        "-verbose",
        "--msg-timeout",
        "1m30s",
    ];
    let process = Process::start(&nsqd_binary(), &args.map(str::to_owned));
    let http = process.address("HTTP");
    assert_ne!(process.address("TCP").port(), 0);
    assert_eq!(harness::request(http, "GET", "/ping", b"").text(), "OK");
    let mut peer = harness::Peer::connect(process.address("TCP"));
    assert_eq!(peer.identify(serde_json::json!({}))["msg_timeout"], 90_000);
}

#[test]
fn an_unknown_flag_is_refused_with_the_nearest_known_one() {
    for (binary, wrong, nearest) in [
        (nsqd_binary(), "--mem-queue-siz=1", "mem-queue-size"),
        (nsqlookupd_binary(), "--tcp-adress=x", "tcp-address"),
    ] {
        let output = run(&binary, &[wrong]);
        let text = said(&output);
        assert!(!output.status.success() && text.contains(nearest), "{wrong}: {text}");
    }
}

#[test]
fn a_value_that_cannot_be_is_an_error_and_not_a_crash() {
    // nsqd: refuses these too. What it starts with starts here: tests/it/options.rs.
    for flag in [
        "--mem-queue-size=many",
        "--msg-timeout=60",
        "--msg-timeout=soon",
        "--node-id=1024",
        "--e2e-processing-latency-percentile=0.5,99",
    ] {
        let folder = tempfile::TempDir::new().unwrap();
        let data = format!("--data-path={}", folder.path().display());
        let output =
            run(&nsqd_binary(), &["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", &data, flag]);
        let (text, name) = (said(&output), flag.split('=').next().unwrap().trim_start_matches('-'));
        assert!(
            output.status.code() == Some(1) || output.status.code() == Some(2),
            "{flag}: {} {text}",
            output.status
        );
        assert!(text.contains(name) && !text.contains("panicked"), "{flag}: {text}");
    }
}

#[test]
fn a_port_in_use_is_named() {
    let holder = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = holder.local_addr().unwrap().to_string();
    let folder = tempfile::TempDir::new().unwrap();
    let data = format!("--data-path={}", folder.path().display());
    for (binary, flag, data) in [
        (nsqd_binary(), "tcp-address", Some(&data)),
        (nsqd_binary(), "http-address", Some(&data)),
        (nsqlookupd_binary(), "tcp-address", None),
        (nsqlookupd_binary(), "http-address", None),
    ] {
        let other = if flag == "tcp-address" { "http-address" } else { "tcp-address" };
        let mut args = vec![format!("--{flag}={address}"), format!("--{other}=127.0.0.1:0")];
        args.extend(data.cloned());
        let output = run(&binary, &args.iter().map(String::as_str).collect::<Vec<_>>());
        let text = said(&output);
        assert!(!output.status.success() && text.contains(&address) && text.contains(flag), "{flag}: {text}");
    }
}

#[test]
fn a_data_folder_that_cannot_be_used_is_named() {
    let folder = tempfile::TempDir::new().unwrap();
    let file = folder.path().join("a-file");
    std::fs::write(&file, "x").unwrap();
    for data in [file.clone(), file.join("below")] {
        let flag = format!("--data-path={}", data.display());
        let output = run(&nsqd_binary(), &["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0", &flag]);
        let text = said(&output);
        assert!(!output.status.success() && text.contains(&file.display().to_string()), "{text}");
    }
}

fn run(binary: &Path, args: &[&str]) -> Output {
    // Started through `timeout`, so that a daemon which serves where it should refuse ends the test and not the day.
    let mut command = std::process::Command::new(PathBuf::from("timeout"));
    command.arg("20").arg(binary).args(args).output().unwrap()
}

fn said(output: &Output) -> String {
    String::from_utf8_lossy(&[output.stdout.as_slice(), output.stderr.as_slice()].concat()).into_owned()
}
