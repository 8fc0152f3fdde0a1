//! One event as one line: its time, level, message and fields in each format, with nothing in it that could end the
//! line or move a terminal's cursor.

use std::fmt::{self, Write as _};

use jiff::Timestamp;
use jiff::tz::TimeZone;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

use super::flood::{Flood, Verdict};
use super::{FATAL, Format};

/// How events become lines.
pub(super) struct Form {
    prefix: String,
    format: Format,
    flood: Flood,
}

impl Form {
    pub(super) fn new(prefix: &str, format: Format) -> Self {
        Self { prefix: escaped(prefix), format, flood: Flood::default() }
    }

    fn line(&self, now: Timestamp, level: &str, record: &Record) -> String {
        match self.format {
            Format::Text => text(&self.prefix, now, level, record),
            Format::Json => json(now, level, record),
            Format::Logfmt => logfmt(now, level, record),
        }
    }
}

impl<S, N> FormatEvent<S, N> for Form
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
{
    fn format_event(&self, _: &FmtContext<'_, S, N>, mut out: Writer<'_>, event: &Event<'_>) -> fmt::Result {
        let now = Timestamp::now();
        let mut record = Record::default();
        event.record(&mut record);
        let level = level_name(event.metadata().level(), event.metadata().target());
        let verdict = self.flood.look(event.metadata(), level, &record.message, now.as_second());
        if let Verdict::Log { left_out } = verdict {
            for left in left_out {
                let message = format!("{} more lines like {:?} were left out", left.count, left.message);
                out.write_str(&self.line(now, left.level, &Record { message, fields: Vec::new() }))?;
            }
            out.write_str(&self.line(now, level, &record))?;
        }
        Ok(())
    }
}

/// What an event says.
#[derive(Default)]
struct Record {
    message: String,
    fields: Vec<(&'static str, Value)>,
}

enum Value {
    /// A number or a boolean: the same in every format.
    Bare(String),
    Text(String),
}

impl Record {
    fn take(&mut self, field: &Field, value: Value) {
        match value {
            Value::Text(text) | Value::Bare(text) if field.name() == "message" => self.message = text,
            value => self.fields.push((field.name(), value)),
        }
    }
}

impl Visit for Record {
    fn record_str(&mut self, field: &Field, value: &str) {
        self.take(field, Value::Text(value.to_owned()));
    }

    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.take(field, Value::Text(format!("{value:?}")));
    }

    fn record_i64(&mut self, field: &Field, value: i64) {
        self.take(field, Value::Bare(value.to_string()));
    }

    fn record_u64(&mut self, field: &Field, value: u64) {
        self.take(field, Value::Bare(value.to_string()));
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        self.take(field, Value::Bare(value.to_string()));
    }
}

// nsqd: Go's log package writes local time.
fn text(prefix: &str, now: Timestamp, level: &str, record: &Record) -> String {
    let time = now.to_zoned(TimeZone::system()).strftime("%Y/%m/%d %H:%M:%S%.6f").to_string();
    let mut line = format!("{prefix}{time} {level}: {}", escaped(&record.message));
    for (name, value) in &record.fields {
        let (Value::Bare(value) | Value::Text(value)) = value;
        line.push(' ');
        line.push_str(name);
        line.push('=');
        push_escaped(&mut line, value);
    }
    line.push('\n');
    line
}

fn json(now: Timestamp, level: &str, record: &Record) -> String {
    let quoted = |text: &str| serde_json::to_string(text).unwrap_or_default();
    let mut line = format!(
        "{{\"time\":\"{now:.6}\",\"level\":\"{}\",\"message\":{}",
        level.to_ascii_lowercase(),
        quoted(&record.message)
    );
    for (name, value) in &record.fields {
        // A name twice in one object means something else to every reader.
        let mark = if ["time", "level", "message"].contains(name) { "_" } else { "" };
        let _string_takes_all = match value {
            Value::Bare(value) => write!(line, ",\"{name}{mark}\":{value}"),
            Value::Text(value) => write!(line, ",\"{name}{mark}\":{}", quoted(value)),
        };
    }
    line.push_str("}\n");
    line
}

fn logfmt(now: Timestamp, level: &str, record: &Record) -> String {
    let mut line =
        format!("time={now:.6} level={} message={}", level.to_ascii_lowercase(), word(&record.message));
    for (name, value) in &record.fields {
        let (Value::Bare(value) | Value::Text(value)) = value;
        let _string_takes_all = write!(line, " {name}={}", word(value));
    }
    line.push('\n');
    line
}

/// A value of logfmt: in quotes where it would not end where it should.
fn word(text: &str) -> String {
    let is_plain = |c: char| !c.is_whitespace() && !c.is_control() && c != '"' && c != '=' && c != '\\';
    if !text.is_empty() && text.chars().all(is_plain) {
        return text.to_owned();
    }
    let mut out = String::from('"');
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            c if c.is_control() => out.extend(c.escape_default()),
            c => out.push(c),
        }
    }
    out.push('"');
    out
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
