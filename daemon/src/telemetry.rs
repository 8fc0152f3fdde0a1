//! Log lines on stderr in stock NSQ's form: `[nsqd] 2026/11/22 08:59:54.739271 INFO: text key=value`.
//! Times are UTC. Everything logs through `tracing`; no other file formats a log line.

use std::fmt;
use std::io;
use std::sync::OnceLock;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

/// An event with this target is printed as FATAL; `fatal` is the short way.
pub const FATAL: &str = "fatal";

/// Starts logging at `level` (debug, info, warn, error, fatal; any case), each line behind `prefix` as it is.
/// A second call in one process only changes the level: the first prefix stays.
///
/// # Errors
/// `level` is none of the five.
pub fn init(prefix: &str, level: &str) -> Result<(), BadLevel> {
    let filter = filter(level)?;
    let (layer, handle) = reload::Layer::new(filter);
    let form = Form { prefix: escaped(prefix) };
    let lines = tracing_subscriber::fmt::layer().event_format(form).with_writer(io::stderr);
    if tracing_subscriber::registry().with(layer).with(lines).try_init().is_ok() {
        let _only_once = HANDLE.set(handle);
        return Ok(());
    }
    set_level(level)
}

/// Changes the level of a running daemon, for `PUT /config/log_level`.
///
/// # Errors
/// `level` is none of the five.
pub fn set_level(level: &str) -> Result<(), BadLevel> {
    let filter = filter(level)?;
    if let Some(handle) = HANDLE.get() {
        // The only failure is a subscriber that is gone, and then nothing is logged anyway.
        let _ = handle.reload(filter);
    }
    Ok(())
}

/// Logs why the process is about to exit.
pub fn fatal(text: &str) {
    tracing::error!(target: FATAL, "{text}");
}

/// A log level that is none of debug, info, warn, error, fatal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BadLevel(String);

impl fmt::Display for BadLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "log level {:?} is unknown; choose debug, info, warn, error or fatal", self.0)
    }
}

impl std::error::Error for BadLevel {}

static HANDLE: OnceLock<reload::Handle<LevelFilter, Registry>> = OnceLock::new();

// FATAL lines are events of level ERROR, so a daemon at "fatal" shows errors too; hiding them would gain
// nothing.
fn filter(level: &str) -> Result<LevelFilter, BadLevel> {
    match level.to_ascii_lowercase().as_str() {
        "debug" => Ok(LevelFilter::DEBUG),
        "info" => Ok(LevelFilter::INFO),
        "warn" | "warning" => Ok(LevelFilter::WARN),
        "error" | "fatal" => Ok(LevelFilter::ERROR),
        _ => Err(BadLevel(level.to_owned())),
    }
}

struct Form {
    prefix: String,
}

impl<S, N> FormatEvent<S, N> for Form
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut text = Text::default();
        event.record(&mut text);
        let (level, target) = (event.metadata().level(), event.metadata().target());
        out.write_str(&self.prefix)?;
        write_time(&mut out, now)?;
        writeln!(out, " {}: {}{}", level_name(level, target), text.message, text.fields)
    }
}

/// The event's text and ` key=value` pairs, with nothing in them that could move a terminal's cursor.
#[derive(Default)]
struct Text {
    message: String,
    fields: String,
}

impl Text {
    fn take(&mut self, field: &Field, value: &str) {
        if field.name() == "message" {
            push_escaped(&mut self.message, value);
            return;
        }
        self.fields.push(' ');
        self.fields.push_str(field.name());
        self.fields.push('=');
        push_escaped(&mut self.fields, value);
    }
}

impl Visit for Text {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, value);
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, &format!("{value:?}"));
    }
}

fn level_name(level: &Level, target: &str) -> &'static str {
    match *level {
        Level::ERROR if target == FATAL => "FATAL",
        Level::ERROR => "ERROR",
        Level::WARN => "WARNING",
        Level::INFO => "INFO",
        _ => "DEBUG",
    }
}

fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    push_escaped(&mut out, text);
    out
}

// What is logged may come from the network: a name or an error with a line feed must not look like a second
// line.
fn push_escaped(out: &mut String, text: &str) {
    for c in text.chars() {
        if c.is_control() { out.extend(c.escape_default()) } else { out.push(c) }
    }
}

fn write_time(out: &mut impl fmt::Write, since_epoch: Duration) -> fmt::Result {
    let seconds = since_epoch.as_secs();
    let (year, month, day) = civil_date(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3600 % 24, seconds / 60 % 60, seconds % 60);
    let micros = since_epoch.subsec_micros();
    write!(out, "{year:04}/{month:02}/{day:02} {hour:02}:{minute:02}:{second:02}.{micros:06}")
}

/// Year, month, day of a day counted from 1970-01-01.
fn civil_date(days: u64) -> (u64, u64, u64) {
    // Counting from 0000-03-01 puts the leap day last, which makes the month lengths one formula.
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era = (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = era * 400 + year_of_era + u64::from(month <= 2);
    (year, month, day)
}

#[cfg(test)]
mod tests {
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

    /// The line without its time, which is checked for its form only.
    fn logged(log: impl FnOnce()) -> String {
        let captured = Captured::default();
        let form = Form { prefix: "[nsqd] ".to_owned() };
        let lines = tracing_subscriber::fmt::layer().event_format(form).with_writer(captured.clone());
        tracing::subscriber::with_default(tracing_subscriber::registry().with(lines), log);
        let text = String::from_utf8(captured.0.lock().expect("lock").clone()).expect("UTF-8");
        let rest = text.strip_prefix("[nsqd] ").expect("prefix");
        let (time, line) = rest.split_at("2026/11/22 08:59:54.739271 ".len());
        let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '9' } else { c }).collect();
        assert_eq!(shape, "9999/99/99 99:99:99.999999 ");
        line.to_owned()
    }

    #[test]
    fn lines_have_the_stock_form() {
        assert_eq!(logged(|| tracing::info!("TCP: listening on {}", 1)), "INFO: TCP: listening on 1\n");
        assert_eq!(
            logged(|| tracing::warn!(topic = "t", depth = 3, "slow")),
            "WARNING: slow topic=t depth=3\n"
        );
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
    fn dates_are_right_around_leap_days() {
        for (seconds, text) in [
            (0, "1970/01/01 00:00:00.000000"),
            (951_782_399, "2000/02/28 23:59:59.000000"),
            (951_782_400, "2000/02/29 00:00:00.000000"),
            (951_868_800, "2000/03/01 00:00:00.000000"),
            (1_735_689_599, "2024/12/31 23:59:59.000000"),
            (4_107_542_400, "2100/03/01 00:00:00.000000"),
        ] {
            let mut out = String::new();
            write_time(&mut out, Duration::from_secs(seconds)).expect("a string takes all");
            assert_eq!(out, text);
        }
    }

    #[test]
    fn starting_twice_is_fine_and_a_wrong_level_is_not() {
        assert_eq!(init("[a] ", "warn"), Ok(()));
        assert_eq!(init("[b] ", "ERROR"), Ok(()));
        assert_eq!(set_level("fatal"), Ok(()));
        let error = init("[c] ", "loud").expect_err("no such level").to_string();
        assert!(error.contains("\"loud\"") && error.contains("warn"), "{error}");
    }
}
