//! Log lines on stderr: in stock NSQ's form `[nsqd] 2026/11/22 08:59:54.739271 INFO: text key=value`, as JSON, or as
//! logfmt. Everything logs through `tracing`; how a line looks is in `form`, what a flood of clients costs in `flood`.

use std::fmt;
use std::io::{self, IsTerminal as _};
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use tracing_subscriber::filter::LevelFilter;
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

use form::Form;

mod flood;
mod form;

#[cfg(test)]
mod tests;

/// An event with this target is printed as FATAL; `fatal` is the short way.
pub const FATAL: &str = "fatal";

/// The words of `--log-level`.
pub const LEVELS: &[&str] = &["debug", "info", "warn", "error", "fatal"];

/// The words of `--log-format`.
pub const FORMATS: &[&str] = &["text", "json", "logfmt", "auto"];

/// How a line looks.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// As stock NSQ, in local time.
    Text,
    /// An object a line, in UTC.
    Json,
    /// `key=value` pairs, in UTC.
    Logfmt,
}

impl Format {
    /// By a word of `FORMATS`. `auto` is for people who look and machines that collect: text on a terminal, JSON
    /// elsewhere. Any other word is stock's form.
    pub fn from_name(name: &str) -> Self {
        match name {
            "json" => Self::Json,
            "logfmt" => Self::Logfmt,
            "auto" if !io::stderr().is_terminal() => Self::Json,
            _ => Self::Text,
        }
    }
}

/// Starts logging at `level` (debug, info, warn, error, fatal; any case), each line of text behind `prefix` as it is.
/// A second call in one process only changes the level: the first prefix and format stay.
///
/// # Errors
/// `level` is none of the five.
pub fn init(prefix: &str, level: &str, format: Format) -> Result<(), BadLevel> {
    let (filter, number) = filter(level)?;
    let (layer, handle) = reload::Layer::new(filter);
    let form = Form::new(prefix, format);
    let lines = tracing_subscriber::fmt::layer().event_format(form).with_writer(io::stderr);
    if tracing_subscriber::registry().with(layer).with(lines).try_init().is_ok() {
        let _only_once = HANDLE.set((handle, format));
        NUMBER.store(number, Ordering::Relaxed);
        return Ok(());
    }
    set_level(level)
}

/// Changes the level of a running daemon, for `PUT /config/log_level` and SIGHUP.
///
/// # Errors
/// `level` is none of the five.
pub fn set_level(level: &str) -> Result<(), BadLevel> {
    let (filter, number) = filter(level)?;
    NUMBER.store(number, Ordering::Relaxed);
    if let Some((handle, _)) = HANDLE.get() {
        // The only failure is a subscriber that is gone, and then nothing is logged anyway.
        let _ = handle.reload(filter);
    }
    Ok(())
}

/// The level as stock counts them at `/config/log_level`: debug 1, info 2, warn 3, error 4, fatal 5.
pub fn level_number() -> u8 {
    NUMBER.load(Ordering::Relaxed)
}

/// Logs why the process is about to exit. Text of several lines stays together: as lines of their own, or as one
/// value where lines are records.
pub fn fatal(text: &str) {
    each_record(text, |text| tracing::error!(target: FATAL, "{text}"));
}

/// Logs a warning that may have several lines, such as a place in a file with carets below it.
pub fn warn(text: &str) {
    each_record(text, |text| tracing::warn!("{text}"));
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

static HANDLE: OnceLock<(reload::Handle<LevelFilter, Registry>, Format)> = OnceLock::new();

static NUMBER: AtomicU8 = AtomicU8::new(2);

fn each_record(text: &str, log: impl Fn(&str)) {
    match HANDLE.get() {
        Some((_, Format::Json | Format::Logfmt)) => log(text),
        _ => text.lines().for_each(log),
    }
}

// FATAL lines are events of level ERROR, so a daemon at "fatal" shows errors too; hiding them would gain
// nothing.
fn filter(level: &str) -> Result<(LevelFilter, u8), BadLevel> {
    match level.to_ascii_lowercase().as_str() {
        "debug" => Ok((LevelFilter::DEBUG, 1)),
        "info" => Ok((LevelFilter::INFO, 2)),
        "warn" => Ok((LevelFilter::WARN, 3)),
        "error" => Ok((LevelFilter::ERROR, 4)),
        "fatal" => Ok((LevelFilter::ERROR, 5)),
        _ => Err(BadLevel(level.to_owned())),
    }
}
