//! Log lines as people, scripts and collectors read them.

use std::io;
use std::sync::{Arc, Mutex};

use tracing_subscriber::fmt::MakeWriter;

use super::*;

#[derive(Clone, Default)]
struct Captured(Arc<Mutex<Vec<u8>>>);

impl io::Write for Captured {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("lock").extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl<'a> MakeWriter<'a> for Captured {
    type Writer = Self;

    fn make_writer(&'a self) -> Self {
        self.clone()
    }
}

fn logged_as(format: Format, log: impl FnOnce()) -> String {
    let captured = Captured::default();
    let form = Form::new("[nsqd] ", format);
    let lines = tracing_subscriber::fmt::layer().event_format(form).with_writer(captured.clone());
    tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), log);
    String::from_utf8(captured.0.lock().expect("lock").clone()).expect("UTF-8")
}

fn shape(text: &str) -> String {
    text.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect()
}

/// The line without its time, which is checked for its form only.
fn logged(log: impl FnOnce()) -> String {
    let text = logged_as(Format::Text, log);
    let rest = text.strip_prefix("[nsqd] ").expect("prefix");
    let (time, line) = rest.split_at("2026/11/22 08:59:54.739271 ".len());
    assert_eq!(shape(time), "9999/99/99 99:99:99.999999 ");
    line.to_owned()
}

#[test]
fn lines_have_the_stock_form() {
    assert_eq!(logged(|| tracing::info!("TCP: listening on {}", 1)), "INFO: TCP: listening on 1\n");
    assert_eq!(logged(|| tracing::warn!(topic = "t", depth = 3, "slow")), "WARNING: slow topic=t depth=3\n");
    assert_eq!(logged(|| tracing::error!("disk")), "ERROR: disk\n");
    assert_eq!(logged(|| tracing::debug!("x")), "DEBUG: x\n");
    assert_eq!(logged(|| fatal("cannot listen")), "FATAL: cannot listen\n");
}

#[test]
fn control_characters_stay_on_their_line() {
    let name = "a\n[nsqd] b\u{1b}[31m";
    assert_eq!(logged(|| tracing::info!(name, "x\ry")), "INFO: x\\ry name=a\\n[nsqd] b\\u{1b}[31m\n");
}

#[test]
fn text_of_several_lines_is_as_many_lines() {
    let text = logged_as(Format::Text, || warn("a.toml:1:1: what\n 1 | x\n   | ^"));
    let lines: Vec<&str> = text.lines().map(|line| line.split_once("WARNING: ").expect(line).1).collect();
    assert_eq!(lines, ["a.toml:1:1: what", " 1 | x", "   | ^"]);
}

#[test]
fn json_is_one_object_a_line_whatever_is_in_it() {
    let text = logged_as(Format::Json, || {
        let level = "fsync";
        tracing::warn!(topic = "a\"\n", depth = 3_u64, paused = true, level, less = -1, "slow \u{1b}");
    });
    let value: serde_json::Value = serde_json::from_str(&text).expect(&text);
    assert_eq!(text.lines().count(), 1);
    let time = value["time"].as_str().expect("a time");
    assert_eq!(shape(time), "9999-99-99T99:99:99.999999Z");
    let rest = serde_json::json!({
        "time": time, "level": "warning", "message": "slow \u{1b}",
        "topic": "a\"\n", "depth": 3, "paused": true, "level_": "fsync", "less": -1
    });
    assert_eq!(value, rest);
}

#[test]
fn logfmt_quotes_what_would_not_end_where_it_should() {
    let text = logged_as(Format::Logfmt, || {
        tracing::info!(topic = "t", name = "a b=\"c\"\n", none = "", depth = 3, "new topic");
    });
    let rest = text.split_once(" level=").expect("a level").1;
    assert_eq!(rest, "info message=\"new topic\" topic=t name=\"a b=\\\"c\\\"\\n\" none=\"\" depth=3\n");
    assert_eq!(shape(&text[..32]), "time=9999-99-99T99:99:99.999999Z");
}

#[test]
fn what_clients_cause_is_limited_and_counted() {
    let text = logged_as(Format::Text, || {
        for client in 0..1000 {
            tracing::warn!(client, "refused");
        }
        for topic in 0..50 {
            tracing::warn!(topic, "damaged");
        }
        for client in 0..20 {
            tracing::debug!(client, "asked");
        }
    });
    let count = |part: &str| text.matches(part).count();
    // Two seconds may be met.
    assert!((10..=20).contains(&count("WARNING: refused")), "{text}");
    assert_eq!((count("damaged"), count("asked")), (50, 20), "{text}");
}

#[test]
fn what_was_left_out_is_told_by_the_next_line_of_a_later_second() {
    use flood::{Flood, LeftOut, Verdict};
    let metadata = refused();
    let flood = Flood::default();
    let none = || Verdict::Log { left_out: Vec::new() };
    for _ in 0..10 {
        assert_eq!(flood.look(metadata, "WARNING", "a", 5), none());
    }
    assert_eq!(flood.look(metadata, "WARNING", "b", 5), Verdict::LeaveOut);
    assert_eq!(flood.look(metadata, "WARNING", "c", 5), Verdict::LeaveOut);
    assert_eq!(flood.look(other(), "INFO", "d", 5), none(), "the second is not over");
    let left_out = vec![LeftOut { count: 2, level: "WARNING", message: "b".to_owned() }];
    assert_eq!(flood.look(other(), "INFO", "e", 6), Verdict::Log { left_out });
    assert_eq!(flood.look(metadata, "WARNING", "f", 6), none(), "told once");
}

/// The place of an event that names a client, and of one that does not.
fn refused() -> &'static tracing::Metadata<'static> {
    place_of(|| tracing::warn!(client = 1, "refused"))
}

fn other() -> &'static tracing::Metadata<'static> {
    place_of(|| tracing::info!("other"))
}

fn place_of(log: impl FnOnce()) -> &'static tracing::Metadata<'static> {
    struct Seen(Arc<Mutex<Option<&'static tracing::Metadata<'static>>>>);
    impl<S: tracing::Subscriber> tracing_subscriber::Layer<S> for Seen {
        fn on_event(&self, event: &tracing::Event<'_>, _: tracing_subscriber::layer::Context<'_, S>) {
            *self.0.lock().expect("lock") = Some(event.metadata());
        }
    }
    let seen = Arc::default();
    let registry = tracing_subscriber::registry().with(Seen(Arc::clone(&seen)));
    tracing::subscriber::with_default(registry, log);
    let found = seen.lock().expect("lock").take();
    found.expect("an event")
}

#[test]
fn starting_twice_is_fine_and_a_wrong_level_is_not() {
    assert_eq!(init("[a] ", "warn", Format::Text), Ok(()));
    assert_eq!(init("[b] ", "ERROR", Format::Json), Ok(()));
    assert_eq!(set_level("fatal"), Ok(()));
    let error = init("[c] ", "loud", Format::Text).expect_err("no such level").to_string();
    assert!(error.contains("\"loud\"") && error.contains("warn"), "{error}");
    assert!(set_level("warning").is_err(), "nsqd: the word is warn");
}
