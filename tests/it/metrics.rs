//! /metrics of both daemons, against what the reference page says of them, and probes.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use harness::{Lookupd, Nsqd, eventually, root};

/// A metric: its type and its labels without `le`.
type Metric = (String, BTreeSet<String>);

/// All metrics of a page by the names of their samples; of a histogram without `_bucket` and the like.
fn metrics(page: &str) -> BTreeMap<String, Metric> {
    let mut found = BTreeMap::new();
    let mut current = String::new();
    for line in page.lines() {
        if let Some((name, kind)) = line.strip_prefix("# TYPE ").and_then(|line| line.split_once(' ')) {
            name.clone_into(&mut current);
            assert_eq!(kind == "counter", name.ends_with("_total"), "{line}");
            let before = found.insert(current.clone(), (kind.to_owned(), BTreeSet::new()));
            assert_eq!(before, None, "{name} is there twice");
        } else if !line.starts_with('#') {
            assert!(line.starts_with(&current), "{line} does not belong to {current}");
            let labels = line
                .split_once('{')
                .and_then(|(_, rest)| rest.rsplit_once('}'))
                .map_or("", |(labels, _)| labels);
            let names = labels.split("\",").filter_map(|one| Some(one.split_once('=')?.0.to_owned()));
            found.get_mut(&current).unwrap().1.extend(names.filter(|name| name != "le"));
        }
    }
    found
}

/// The tables of the reference page, for the daemon whose own metrics begin like this.
fn documented(other_daemon: &str) -> BTreeMap<String, Metric> {
    let page = std::fs::read_to_string(root().join("docs/reference/metrics.md")).unwrap();
    let rows = page.lines().filter_map(|line| line.strip_prefix("| `"));
    let row = |line: &str| {
        let cells: Vec<_> = line.split(" | ").collect();
        let labels = cells[2].split(", ").filter(|label| *label != "-").map(str::to_owned).collect();
        assert!(cells[3].len() > 10, "{line}");
        (cells[0].trim_end_matches('`').to_owned(), (cells[1].to_owned(), labels))
    };
    rows.map(row).filter(|(name, _)| !name.starts_with(other_daemon)).collect()
}

/// The figure of one series.
fn value(page: &str, series: &str) -> f64 {
    let found = page.lines().find_map(|line| line.strip_prefix(series)?.strip_prefix(' '));
    found.unwrap_or_else(|| panic!("no {series} in\n{page}")).parse().unwrap()
}

#[test]
fn the_reference_page_and_the_daemons_tell_the_same_metrics() {
    let lookupd = Lookupd::start();
    let nsqd = Nsqd::with(&[&format!("--lookupd-tcp-address={}", lookupd.tcp())]);
    nsqd.create("t", &["ch"]);
    let mut peer = nsqd.peer();
    peer.send(b"FIN 0123456789abcdef\n");
    peer.expect_error("E_INVALID cannot FIN in current state");
    let page = nsqd.get("/metrics").ok();
    assert_eq!(page.header("content-type"), Some("text/plain; version=0.0.4; charset=utf-8"));
    assert_eq!(metrics(&page.text()), documented("nsqlookupd_"));
    lookupd.get("/ping").ok();
    let page = lookupd.get("/metrics").ok().text();
    let own: BTreeMap<_, _> = documented("nsqd_")
        .into_iter()
        .filter(|(name, _)| {
            let is_common = name.starts_with("process_") || name.starts_with("nsq_http_");
            is_common
                || name.starts_with("nsqlookupd_")
                || name == "nsq_build_info"
                || name == "nsq_start_time_seconds"
        })
        .collect();
    assert_eq!(metrics(&page), own);
}

#[test]
fn recording_rules_name_metrics_that_exist() {
    let rules = std::fs::read_to_string(root().join("examples/prometheus/recording-rules.yaml")).unwrap();
    let known = documented("nsqlookupd_");
    let mut count = 0;
    for expression in rules.lines().filter_map(|line| line.trim().strip_prefix("expr: ")) {
        for word in expression.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_')) {
            if word.starts_with("nsq_") {
                assert!(known.contains_key(word.trim_end_matches("_bucket")), "{expression}: no {word}");
                count += 1;
            }
        }
    }
    assert!(count >= 8, "{rules}");
}

#[test]
fn a_command_that_must_first_have_its_topic_made_counts_once() {
    let nsqd = Nsqd::start();
    nsqd.peer().publish("new", "x");
    nsqd.peer().subscribe("another", "ch");
    let page = nsqd.get("/metrics").ok().text();
    for verb in ["PUB", "SUB"] {
        assert_eq!(value(&page, &format!("nsq_commands_total{{command=\"{verb}\"}}")), 1.0, "{verb}");
    }
}

#[test]
fn figures_follow_a_message_through_its_life() {
    let nsqd = Nsqd::with(&["--msg-timeout=1s"]);
    nsqd.create("t", &["ch"]);
    let mut publisher = nsqd.peer();
    publisher.publish_all("t", &["a", "bb", "ccc", "dddd"]);
    nsqd.eventually_channel("t", "ch", &[("depth", 4)]);
    let scrape = || nsqd.get("/metrics").ok().text();
    let of =
        |page: &str, name: &str| value(page, &format!("nsq_channel_{name}{{topic=\"t\",channel=\"ch\"}}"));
    let requeued = |page: &str, reason: &str| {
        value(page, &format!("nsq_channel_requeued_total{{topic=\"t\",channel=\"ch\",reason=\"{reason}\"}}"))
    };
    let age = of(&scrape(), "oldest_message_age_seconds");
    eventually("it grows older", || of(&scrape(), "oldest_message_age_seconds") > age + 0.05);
    let mut consumer = nsqd.consumer("t", "ch", 4);
    let held = consumer.expect_messages(4);
    let page = scrape();
    assert_eq!((of(&page, "ready"), of(&page, "in_flight"), of(&page, "clients")), (4.0, 4.0, 1.0));
    assert_eq!(of(&page, "oldest_message_age_seconds"), 0.0);
    consumer.ready(0);
    consumer.finish(&held[0]);
    consumer.requeue(&held[1], Duration::from_secs(100));
    eventually("the others time out", || requeued(&scrape(), "timeout") == 2.0);
    consumer.ready(1);
    consumer.expect_message();
    drop(consumer);
    eventually("its message comes back", || requeued(&scrape(), "disconnect") == 1.0);
    let page = scrape();
    let delivered = "nsq_channel_delivered_total{topic=\"t\",channel=\"ch\",locality=\"global\"}";
    assert_eq!(
        (of(&page, "messages_total"), value(&page, delivered), of(&page, "finished_total")),
        (4.0, 5.0, 1.0)
    );
    assert_eq!(
        (requeued(&page, "client"), of(&page, "timed_out_total"), of(&page, "deferred")),
        (1.0, 2.0, 1.0)
    );
    assert_eq!((of(&page, "processing_seconds_count"), of(&page, "delivery_seconds_count")), (1.0, 4.0));
    assert!(of(&page, "delivery_seconds_sum") > 4.0 * 0.05, "they waited for a consumer\n{page}");
    nsqd.post("/channel/empty?topic=t&channel=ch", "").ok();
    let page = scrape();
    let emptied = "nsq_channel_discarded_total{topic=\"t\",channel=\"ch\",reason=\"emptied\"}";
    assert_eq!((value(&page, emptied), of(&page, "depth"), of(&page, "deferred")), (3.0, 0.0, 0.0));
    for (series, wanted) in [
        ("nsq_topic_messages_total{topic=\"t\"}", 4.0),
        ("nsq_topic_bytes_total{topic=\"t\"}", 10.0),
        ("nsq_commands_total{command=\"MPUB\"}", 1.0),
        ("nsq_commands_total{command=\"FIN\"}", 1.0),
        ("nsq_connections{kind=\"producer\"}", 1.0),
        ("nsq_connections_opened_total", 2.0),
        ("nsq_healthy", 1.0),
        ("nsq_metrics_series_dropped", 0.0),
    ] {
        assert_eq!(value(&page, series), wanted, "{series}");
    }
    for series in
        ["nsq_storage_write_seconds_count", "nsq_storage_bytes{topic=\"t\"}", "nsq_volume_free_bytes"]
    {
        assert!(value(&page, series) > 0.0, "{series}");
    }
}

#[test]
fn a_page_has_no_more_series_than_it_may() {
    let nsqd = Nsqd::with(&["--metrics-max-series=500", "--metrics-exclude-ephemeral"]);
    for topic in 0..30 {
        nsqd.create(&format!("t{topic:02}"), &["a", "b"]);
    }
    nsqd.create("t00", &["c#ephemeral"]);
    let page = nsqd.get("/metrics").ok().text();
    let series = page.lines().filter(|line| !line.starts_with('#')).count();
    assert!(series <= 500 + 70, "{series} series\n{page}");
    assert!(value(&page, "nsq_metrics_series_dropped") > 500.0);
    assert_eq!(value(&page, "nsq_topic_channels{topic=\"t00\"}"), 3.0);
    let folded = value(&page, "nsq_topic_channels{topic=\"__other__\"}");
    let shown = page.lines().filter(|line| line.starts_with("nsq_topic_channels{topic=\"t")).count();
    assert_eq!(folded, 2.0 * (30 - shown) as f64);
    assert!(shown > 0 && !page.contains("#ephemeral"), "{page}");
}

#[test]
fn probes_tell_alive_from_ready() {
    let nsqd = Nsqd::start();
    let lookupd = Lookupd::start();
    for path in ["/livez", "/readyz", "/startupz"] {
        for reply in [nsqd.get(path), lookupd.get(path)] {
            assert_eq!((reply.status, reply.text().as_str()), (200, "OK"), "{path}");
        }
        assert_eq!(nsqd.get(&format!("{path}?verbose")).ok().json()["status"], "ok");
    }
    // A floor that no disk is above.
    let full = Nsqd::with(&["--min-free=1000000TiB"]);
    assert_eq!(full.get("/livez").status, 200);
    assert_eq!(full.get("/startupz").status, 200);
    let ready = full.get("/readyz");
    assert!(ready.status == 503 && ready.text().starts_with("the disk is full"), "{ready:?}");
    let verbose = full.get("/readyz?verbose=1");
    assert_eq!(verbose.status, 503);
    let checks = verbose.json()["checks"].clone();
    let failed: Vec<_> = checks.as_array().unwrap().iter().filter(|check| check["ok"] == false).collect();
    assert_eq!(failed.len(), 1, "{checks}");
    assert_eq!(failed[0]["name"], "space");
}
