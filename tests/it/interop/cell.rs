//! One client with one feature, against a cluster of its own: an nsqlookupd and two nsqds that take nothing else.

use harness::{AuthServer, Authority, Cluster, Nsqd, client, eventually};
use serde_json::Value;

use super::matrix::{Client, Feature, named};
use super::table::Cell;

const SECRET: &str = "an-open-secret";

/// Run the cell, or say why there is none.
#[track_caller]
pub(super) fn check(name: &str, feature: Feature) {
    let row = named(name);
    let cell = Cell::begin(row, feature);
    if let Some(why) = row.lack(feature) {
        cell.client_cannot(why);
        return;
    }
    let Some(program) = client(program(name, feature)) else {
        cell.skipped();
        return;
    };
    let surroundings = Surroundings::new(feature.has_tls(), feature == Feature::Auth);
    let mut cluster = Cluster::with(&surroundings.nsqd_flags());
    let flags = surroundings.client_flags(feature);
    let dialogue = program.run_against(&mut cluster, &flags, &row.scenarios(), |word, cluster| match word {
        "LOOK" => {
            everybody_negotiated(cluster, feature);
            nothing_is_owed(cluster);
        }
        "RESTART" => kill_and_restart(cluster),
        _ => nothing_is_owed(cluster),
    });
    let said = dialogue.after("CLIENT").unwrap_or_default();
    assert_eq!(said, format!("{} {}", row.name, row.version), "the table names another version");
    nothing_is_owed(&mut cluster);
    surroundings.was_asked();
    cell.passed();
}

/// The program for a client; pynsq needs another tornado to compress.
fn program(name: &str, feature: Feature) -> &str {
    match name {
        "pynsq" if feature.has_snappy() || feature.has_deflate() => "pynsq, tornado 6.0",
        _ => name,
    }
}

/// The program that the README shows for a stock configuration: TLS, deflate, AUTH and nsqlookupd at once.
#[track_caller]
pub(super) fn readme() {
    let Some(program) = client("go-nsq") else { return };
    let surroundings = Surroundings::new(true, true);
    let mut cluster = Cluster::with(&surroundings.nsqd_flags());
    let flags = surroundings.client_flags(Feature::Tls);
    let dialogue = program.run_against(&mut cluster, &flags, &["readme"], |_, _| {});
    assert!(dialogue.has_line("hello"), "{dialogue}");
    surroundings.was_asked();
}

/// What stands around the cluster.
struct Surroundings {
    authority: Option<Authority>,
    auth: Option<AuthServer>,
}

impl Surroundings {
    fn new(has_tls: bool, has_auth: bool) -> Self {
        let authority = has_tls.then(Authority::new);
        let auth = has_auth.then(|| AuthServer::knowing(&[SECRET]));
        Self { authority, auth }
    }

    fn nsqd_flags(&self) -> Vec<String> {
        let mut flags = Vec::new();
        if let Some(authority) = &self.authority {
            flags.extend(authority.flags());
            // HTTP stays open, for this test looks at /stats.
            flags.push("--tls-required=tcp-https".to_owned());
        }
        if let Some(auth) = &self.auth {
            flags.push(format!("--auth-http-address={}", auth.address()));
        }
        flags
    }

    fn client_flags(&self, feature: Feature) -> Vec<String> {
        let mut flags = Vec::new();
        if let Some(authority) = &self.authority {
            flags.extend(["--tls".to_owned(), "--ca".to_owned(), authority.ca().display().to_string()]);
        }
        if feature.has_snappy() {
            flags.push("--snappy".to_owned());
        }
        if feature.has_deflate() {
            flags.push("--deflate".to_owned());
        }
        if self.auth.is_some() {
            flags.extend(["--auth-secret".to_owned(), SECRET.to_owned()]);
        }
        flags
    }

    #[track_caller]
    fn was_asked(&self) {
        if let Some(auth) = &self.auth {
            assert!(!auth.requests().is_empty(), "nobody asked the auth server");
        }
    }
}

/// Every connection there is has what the cell is about, and nothing else.
#[track_caller]
fn everybody_negotiated(cluster: &mut Cluster, feature: Feature) {
    let wanted = [
        ("tls", feature.has_tls()),
        ("snappy", feature.has_snappy()),
        ("deflate", feature.has_deflate()),
        ("authed", feature == Feature::Auth),
    ];
    for nsqd in &cluster.nsqds {
        let stats = nsqd.stats();
        let topic = &stats["topics"][0];
        let consumers = items(&topic["channels"][0], "clients");
        assert_eq!(consumers.len(), 1, "consumers in {stats}");
        let producers = items(&stats, "producers");
        assert!(!producers.is_empty(), "no producer in {stats}");
        for client in consumers.iter().chain(&producers) {
            for (field, is_wanted) in wanted {
                // What is false is left out of some of stock's objects.
                assert_eq!(client[field].as_bool().unwrap_or(false), is_wanted, "{field} of {client}");
            }
        }
    }
}

/// Both nsqds are killed and come back, and nsqlookupd has heard of all their topics again.
#[track_caller]
fn kill_and_restart(cluster: &mut Cluster) {
    for nsqd in &mut cluster.nsqds {
        nsqd.kill_and_restart();
    }
    let mut ports: Vec<u16> = cluster.nsqds.iter().map(|nsqd| nsqd.tcp().port()).collect();
    ports.sort_unstable();
    let topics = topics(&cluster.nsqds[0]);
    for topic in topics {
        eventually(&format!("both nsqds are registered for {topic}"), || {
            cluster.lookupd.ports(&topic) == ports
        });
    }
}

/// Every message was finished, which the nsqds know better than the client.
#[track_caller]
fn nothing_is_owed(cluster: &mut Cluster) {
    for nsqd in &cluster.nsqds {
        for topic in topics(nsqd) {
            let fields = [("depth", 0), ("in_flight_count", 0), ("deferred_count", 0)];
            nsqd.eventually_channel(&topic, "ch", &fields);
        }
    }
}

fn topics(nsqd: &Nsqd) -> Vec<String> {
    let names = items(&nsqd.stats(), "topics");
    names.iter().filter_map(|topic| topic["topic_name"].as_str().map(str::to_owned)).collect()
}

fn items(object: &Value, name: &str) -> Vec<Value> {
    object[name].as_array().cloned().unwrap_or_default()
}

impl Client {
    /// How the table and the messages of its cells call it.
    pub(super) fn title(&self) -> String {
        format!("{} {} ({})", self.name, self.version, self.language)
    }
}
