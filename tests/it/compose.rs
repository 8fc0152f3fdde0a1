//! compose.yaml, as far as it can be tried without a container engine: the daemons take the flags it gives them, and what
//! it refers to is there.

use std::collections::BTreeSet;
use std::process::Command;

use harness::{nsqd_binary, nsqlookupd_binary, root};
use serde_json::Value;

fn compose() -> Value {
    let text = std::fs::read_to_string(root().join("compose.yaml")).unwrap();
    serde_saphyr::from_str(&text).unwrap()
}

fn texts(value: &Value) -> Vec<&str> {
    value.as_array().unwrap().iter().map(|text| text.as_str().unwrap()).collect()
}

#[test]
fn every_service_gets_flags_that_its_daemon_takes() {
    let data = tempfile::tempdir().unwrap();
    let compose = compose();
    let services = compose["services"].as_object().unwrap();
    assert_eq!(services.len(), 3);
    for (name, service) in services {
        let words = texts(&service["command"]);
        let binary = match words[0] {
            "/nsqd" => nsqd_binary(),
            "/nsqlookupd" => nsqlookupd_binary(),
            other => panic!("{name} starts {other}, which is not at that path of the image"),
        };
        let flags =
            words[1..].iter().map(|flag| flag.replace("=/data", &format!("={}", data.path().display())));
        let output = Command::new(binary).arg("--check-config").args(flags).output().unwrap();
        assert!(output.status.success(), "{name}: {}", String::from_utf8_lossy(&output.stderr));
        let address = format!("--broadcast-address={name}");
        assert!(words.contains(&address.as_str()), "{name} is found by the name of its service");
    }
}

#[test]
fn ports_are_published_on_loopback_only_and_volumes_and_the_target_exist() {
    let compose = compose();
    let containerfile = std::fs::read_to_string(root().join("Containerfile")).unwrap();
    let mut volumes = BTreeSet::new();
    for (name, service) in compose["services"].as_object().unwrap() {
        assert!(texts(&service["ports"]).iter().all(|port| port.starts_with("127.0.0.1:")), "{name}");
        let target = service["build"]["target"].as_str().unwrap();
        assert!(containerfile.contains(&format!("FROM scratch AS {target}\n")), "{name}: {target}");
        if !service["volumes"].is_null() {
            volumes.extend(texts(&service["volumes"]).iter().map(|volume| volume.split(':').next().unwrap()));
        }
    }
    let declared: BTreeSet<&str> =
        compose["volumes"].as_object().unwrap().keys().map(String::as_str).collect();
    assert_eq!(volumes, declared);
}
