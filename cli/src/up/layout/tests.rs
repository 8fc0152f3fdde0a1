//! Ports, folders and arguments as the documentation states them.

use super::*;

fn layout(ports: Ports) -> Layout {
    Layout { data_dir: PathBuf::from("./nsqube-data"), ports }
}

fn plan(brokers: u32) -> ClusterPlan {
    ClusterPlan {
        name: "quickstart".to_owned(),
        namespace: "default".to_owned(),
        brokers: (0..brokers).map(broker).collect(),
        lookupds: vec![],
        topics: vec![],
    }
}

fn broker(ordinal: u32) -> BrokerPlan {
    BrokerPlan { ordinal, node_id: ordinal, flags: vec![("mem-queue-size".to_owned(), "7".to_owned())] }
}

#[test]
fn stable_ports_never_collide_over_the_whole_range() {
    let layout = layout(Ports::Stable);
    let names = (0..STABLE_BROKERS_MAX).map(Name::nsqd).chain((0..16).map(Name::nsqlookupd));
    let mut ports: Vec<u16> = names
        .flat_map(|name| {
            let Addresses { tcp, http } = layout.addresses(name);
            assert!(tcp.ip().is_loopback() && http.ip().is_loopback());
            // nsqd's third port is kept for HTTPS.
            let https = (name.role == Role::Nsqd).then(|| tcp.port() + 2);
            [tcp.port(), http.port()].into_iter().chain(https)
        })
        .collect();
    let all = ports.len();
    ports.sort_unstable();
    ports.dedup();
    assert_eq!(ports.len(), all);
    assert_eq!(ports.first(), Some(&4150));
    assert_eq!(ports.last(), Some(&9052));
}

#[test]
fn second_broker_and_lookupd_are_a_hundred_ports_further() {
    let layout = layout(Ports::Stable);
    assert_eq!(layout.addresses(Name::nsqd(1)).tcp.to_string(), "127.0.0.1:4250");
    assert_eq!(layout.addresses(Name::nsqd(1)).http.to_string(), "127.0.0.1:4251");
    assert_eq!(layout.addresses(Name::nsqlookupd(1)).tcp.to_string(), "127.0.0.1:4260");
    assert_eq!(layout.addresses(Name::nsqlookupd(1)).http.to_string(), "127.0.0.1:4261");
}

#[test]
fn a_broker_is_told_its_data_its_id_and_every_lookupd() {
    let lookupds = ["127.0.0.1:4160".parse().unwrap(), "127.0.0.1:4260".parse().unwrap()];
    let launch = layout(Ports::Stable).broker_launch("quickstart", &broker(1), &lookupds);
    assert_eq!(
        launch.arguments(None),
        [
            "--tcp-address=127.0.0.1:4250",
            "--http-address=127.0.0.1:4251",
            "--data-path=./nsqube-data/quickstart/broker-1",
            "--node-id=1",
            "--broadcast-address=127.0.0.1",
            "--lookupd-tcp-address=127.0.0.1:4160",
            "--lookupd-tcp-address=127.0.0.1:4260",
            "--mem-queue-size=7",
        ]
    );
}

#[test]
fn ports_that_a_child_chose_are_kept_when_it_starts_again() {
    let launch = layout(Ports::Auto).broker_launch("quickstart", &broker(0), &[]);
    assert_eq!(launch.arguments(None)[..2], ["--tcp-address=127.0.0.1:0", "--http-address=127.0.0.1:0"]);
    let chosen =
        Addresses { tcp: "127.0.0.1:40001".parse().unwrap(), http: "127.0.0.1:40002".parse().unwrap() };
    assert_eq!(
        launch.arguments(Some(chosen))[..2],
        ["--tcp-address=127.0.0.1:40001", "--http-address=127.0.0.1:40002"]
    );
}

#[test]
fn logs_are_named_like_the_children() {
    let layout = layout(Ports::Stable);
    assert_eq!(layout.log_file(Name::nsqd(1)), Path::new("./nsqube-data/logs/nsqd-1.log"));
    assert_eq!(layout.log_file(Name::nsqlookupd(0)), Path::new("./nsqube-data/logs/nsqlookupd-0.log"));
}

#[test]
fn data_of_brokers_no_longer_declared_are_found() {
    let entries = ["broker-3", "broker-0", "broker-2", "broker-x", "notes", "broker-1"].map(Path::new);
    assert_eq!(undeclared_brokers(&plan(2), entries.into_iter()), [2, 3]);
}
