//! What a child says on standard error: kept in its log file, its last lines remembered, the addresses it
//! listens on picked out. It is read to the end in any case, or the child would block on a full pipe.

use std::collections::VecDeque;
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncRead, BufReader};
use tokio::sync::watch;
use tokio::task::JoinHandle;

use super::console::Console;
use super::layout::{Addresses, Name};
use super::log_line::{self, Listening};

/// As many lines are repeated when a child fails.
const LAST_LINES_MAX: usize = 20;
/// A child's pipe closes with it; this only bounds the odd case of somebody else holding it.
const END_LIMIT: Duration = Duration::from_secs(1);

/// The journal of one life of a child.
#[derive(Debug)]
pub(crate) struct Journal {
    listening: watch::Receiver<Option<Addresses>>,
    last_lines: JoinHandle<VecDeque<String>>,
}

impl Journal {
    /// Reads `stderr` until it ends, in a task of its own.
    pub(crate) fn keep(
        name: Name,
        stderr: impl AsyncRead + Send + Unpin + 'static,
        log: &Path,
        console: Console,
    ) -> Self {
        let (found, listening) = watch::channel(None);
        // Without a log the child still works; the reason shows when somebody looks for the log.
        let file = File::options().create(true).append(true).open(log).ok();
        let writer = Writer { name, file, console, last_lines: VecDeque::new() };
        Self { listening, last_lines: tokio::spawn(writer.read(stderr, found)) }
    }

    /// The addresses of the child, once it has said both; never if it ends before.
    pub(crate) async fn listening(&mut self) -> Addresses {
        if let Ok(addresses) = self.listening.wait_for(Option::is_some).await
            && let Some(addresses) = *addresses
        {
            return addresses;
        }
        std::future::pending().await
    }

    /// The last lines, after the child has ended.
    pub(crate) async fn last_lines(self) -> Vec<String> {
        let lines = tokio::time::timeout(END_LIMIT, self.last_lines).await;
        lines.ok().and_then(Result::ok).unwrap_or_default().into()
    }
}

struct Writer {
    name: Name,
    file: Option<File>,
    console: Console,
    last_lines: VecDeque<String>,
}

impl Writer {
    async fn read(
        mut self,
        stderr: impl AsyncRead + Unpin,
        found: watch::Sender<Option<Addresses>>,
    ) -> VecDeque<String> {
        let mut stderr = BufReader::new(stderr);
        let (mut tcp, mut http) = (None, None);
        let mut bytes = Vec::new();
        while let Ok(1..) = stderr.read_until(b'\n', &mut bytes).await {
            let line = String::from_utf8_lossy(&bytes).trim_end().to_owned();
            bytes.clear();
            match log_line::listening(&line) {
                Some(Listening::Tcp(address)) => tcp = Some(address),
                Some(Listening::Http(address)) => http = Some(address),
                None => {}
            }
            let both = tcp.zip(http).map(|(tcp, http)| Addresses { tcp, http });
            found.send_if_modified(|known| std::mem::replace(known, both) != both);
            self.line(line);
        }
        self.last_lines
    }

    fn line(&mut self, line: String) {
        if let Some(file) = &mut self.file {
            // A full disk must not end the reading.
            let _ = file.write_all(format!("{line}\n").as_bytes());
        }
        if log_line::is_grave(&line) {
            self.console.grave(self.name, &line);
        }
        if self.last_lines.len() == LAST_LINES_MAX {
            self.last_lines.pop_front();
        }
        self.last_lines.push_back(line);
    }
}
