//! The terminal: news on standard output, trouble on standard error, each line out at once. A reader that went
//! away (`nsq up ... | head`) is no reason to stop brokers, so failed writes are ignored.

use std::fmt::Display;
use std::io::{IsTerminal, Write};

use super::layout::Name;

/// Where `nsq up` speaks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Console {
    is_verbose: bool,
    had_terminal: bool,
}

impl Console {
    /// Remembers whether there is a terminal now, to notice when it is closed.
    pub(crate) fn new(is_verbose: bool) -> Self {
        Self { is_verbose, had_terminal: has_terminal() }
    }

    /// Part of the answer to the command itself: no time.
    pub(crate) fn say(&self, text: impl Display) {
        let mut out = std::io::stdout().lock();
        let _ = writeln!(out, "{text}").and_then(|()| out.flush());
    }

    /// A change of state while it runs.
    pub(crate) fn tell(&self, text: impl Display) {
        self.say(format_args!("{}  {text}", jiff::Zoned::now().strftime("%H:%M:%S")));
    }

    /// Something the reader should mend.
    pub(crate) fn complain(&self, text: impl Display) {
        let _ = writeln!(std::io::stderr(), "error: {text}");
    }

    /// Something that takes long, or is good to know in trouble.
    pub(crate) fn note(&self, text: impl Display) {
        let _ = writeln!(std::io::stderr(), "{text}");
    }

    /// A warning or worse from a child's log.
    pub(crate) fn grave(&self, name: Name, line: &str) {
        if self.is_verbose {
            self.note(format_args!("{name}: {line}"));
        }
    }

    /// Whether SIGHUP came because the terminal was closed, not because somebody wants a file reread.
    pub(crate) fn has_lost_its_terminal(&self) -> bool {
        self.had_terminal && !has_terminal()
    }
}

/// A hung-up terminal is none any more: the kernel fails every request to it.
fn has_terminal() -> bool {
    std::io::stdin().is_terminal() || std::io::stdout().is_terminal() || std::io::stderr().is_terminal()
}
