//! What an import or an export did, as people read it.

use std::fmt;

use stock::Note;

/// What was read of one queue.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Tally {
    pub messages: u64,
    pub body_bytes: u64,
    pub body_bytes_max: u64,
    pub files: u64,
    pub damaged_places: u64,
    pub damaged_bytes: u64,
    pub torn_bytes: u64,
}

/// One queue of a stock nsqd.
#[derive(Debug, Default)]
pub(super) struct QueueReport {
    /// `topic`, or `topic:channel`.
    pub name: String,
    pub tally: Tally,
    pub notes: Vec<Note>,
    /// Files that stock gave up and that were left out, and their bytes.
    pub bad: (u64, u64),
    pub is_paused: bool,
    pub is_listed: bool,
}

/// An import.
#[derive(Debug, Default)]
pub(crate) struct ImportReport {
    pub(super) topics: u64,
    pub(super) queues: Vec<QueueReport>,
    /// Messages written: one that several channels hold is written once.
    pub(super) stored: u64,
    pub(super) stored_bytes: u64,
    pub(super) skipped: Vec<String>,
    pub(super) strange: Vec<String>,
    /// Bodies longer than this are larger than what may be published.
    pub(super) message_bytes_max: u64,
    /// Where the old files are, or would be.
    pub(super) legacy: String,
    pub(super) is_dry: bool,
}

impl ImportReport {
    /// Messages owed to channels, or to the topics' first ones.
    pub(crate) fn messages(&self) -> u64 {
        self.queues.iter().map(|queue| queue.tally.messages).sum()
    }

    /// One line that says it all.
    pub(crate) fn summary(&self) -> String {
        let (verb, moved) =
            if self.is_dry { ("would be imported", "would go") } else { ("imported", "went") };
        let damaged: u64 = self.queues.iter().map(|queue| queue.tally.damaged_bytes).sum();
        let damage = if damaged == 0 { String::new() } else { format!(", {damaged} damaged bytes left out") };
        let channels = (self.queues.len() as u64).saturating_sub(self.topics);
        format!(
            "{verb}: {} messages of {} topics and {channels} channels, stored as {} records of {} bytes{damage}; the old \
             files {moved} to {}",
            self.messages(),
            self.topics,
            self.stored,
            self.stored_bytes,
            self.legacy
        )
    }

    /// What an operator should know, beyond the counts.
    pub(crate) fn warnings(&self) -> Vec<String> {
        let mut all: Vec<String> = self
            .queues
            .iter()
            .flat_map(|queue| {
                let lines = queue.remarks(self.message_bytes_max);
                lines.into_iter().map(|line| format!("{}: {line}", queue.name))
            })
            .collect();
        all.extend(self.skipped.iter().map(|name| {
            format!("{name}: not taken along: ephemeral, or a name that stock does not take either")
        }));
        all.extend(
            self.strange.iter().map(|name| format!("{name}: left alone: no queue can have this name")),
        );
        all
    }
}

impl QueueReport {
    fn remarks(&self, message_bytes_max: u64) -> Vec<String> {
        let tally = &self.tally;
        let mut lines: Vec<String> = self.notes.iter().map(ToString::to_string).collect();
        if !self.is_listed {
            lines.push("not in nsqd.dat: found by its files".to_owned());
        }
        if tally.damaged_places > 0 {
            let (places, bytes) = (tally.damaged_places, tally.damaged_bytes);
            lines.push(format!("damaged in {places} place(s): {bytes} bytes could not be read"));
        }
        if tally.torn_bytes > 0 {
            lines.push(format!("a torn write of {} bytes at its end was left out", tally.torn_bytes));
        }
        if self.bad.0 > 0 {
            let (files, bytes) = self.bad;
            lines.push(format!(
                "{files} .bad file(s) of {bytes} bytes left out, most of them delivered already; --include-bad takes them"
            ));
        }
        if tally.body_bytes_max > message_bytes_max {
            lines
                .push(format!("holds a message of {} bytes, more than --max-msg-size", tally.body_bytes_max));
        }
        lines
    }
}

impl fmt::Display for ImportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.queues.iter().map(|queue| queue.name.len()).max().unwrap_or(0);
        for queue in &self.queues {
            let Tally { messages, body_bytes, files, .. } = queue.tally;
            let paused = if queue.is_paused { "  paused" } else { "" };
            writeln!(
                f,
                "{:width$}  {messages:>12} messages {body_bytes:>15} bytes {files:>6} files{paused}",
                queue.name
            )?;
        }
        self.warnings().iter().try_for_each(|line| writeln!(f, "note: {line}"))?;
        f.write_str(&self.summary())
    }
}

/// The default of stock's --max-msg-size.
const STOCK_MESSAGE_BYTES_MAX: u64 = 1 << 20;

/// What one channel or topic gave to an export.
#[derive(Debug, Default)]
pub(super) struct ExportedQueue {
    pub name: String,
    pub messages: u64,
    pub files: u64,
    pub is_paused: bool,
}

/// An export.
#[derive(Debug, Default)]
pub(crate) struct ExportReport {
    pub(super) topics: u64,
    pub(super) queues: Vec<ExportedQueue>,
    /// Messages that were to wait: stock keeps no times on disk.
    pub(super) deferred: u64,
    pub(super) damaged: u64,
    /// What was not in order.
    pub(super) notes: Vec<String>,
    pub(super) body_bytes_max: u64,
    pub(super) to: String,
}

impl fmt::Display for ExportReport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let width = self.queues.iter().map(|queue| queue.name.len()).max().unwrap_or(0);
        for queue in &self.queues {
            let paused = if queue.is_paused { "  paused" } else { "" };
            let (messages, files) = (queue.messages, queue.files);
            writeln!(f, "{:width$}  {messages:>12} messages {files:>6} files{paused}", queue.name)?;
        }
        if self.deferred > 0 {
            let deferred = self.deferred;
            writeln!(f, "note: {deferred} deferred messages are due at once: stock keeps no times on disk")?;
        }
        self.notes.iter().try_for_each(|note| writeln!(f, "note: {note}"))?;
        if self.damaged > 0 {
            writeln!(f, "note: {} messages are damaged on disk and were left out", self.damaged)?;
        }
        let messages: u64 = self.queues.iter().map(|queue| queue.messages).sum();
        let channels = (self.queues.len() as u64).saturating_sub(self.topics);
        if self.body_bytes_max > STOCK_MESSAGE_BYTES_MAX {
            let bytes = self.body_bytes_max;
            writeln!(
                f,
                "note: stock nsqd needs --max-msg-size={bytes} at least, or it gives up files as bad"
            )?;
        }
        write!(
            f,
            "exported: {messages} messages of {} topics and {channels} channels to {}; start a stock nsqd there, and \
             this nsqd no longer on the old folder",
            self.topics, self.to
        )
    }
}
