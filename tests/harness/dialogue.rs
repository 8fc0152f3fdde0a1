//! A client program and the test that runs it, taking turns: the program prints a line, and where that is a word in
//! capitals it waits for a line of input while the test looks at the daemons or restarts them.

use std::fmt;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::{Duration, Instant};

/// How long a program may say nothing. Its own patience is shorter, so that it can still tell what it waits for.
const SILENCE: Duration = Duration::from_secs(60);

/// How long it may talk: one that repeats itself for ever is no better than one that is silent.
const PATIENCE: Duration = Duration::from_secs(300);

/// What was said, and how the program ended.
#[derive(Debug)]
pub struct Dialogue {
    /// How the program ended.
    pub status: ExitStatus,
    lines: Vec<String>,
    errors: String,
}

impl Dialogue {
    /// Whether the program printed exactly this line.
    pub fn has_line(&self, wanted: &str) -> bool {
        self.lines.iter().any(|line| line == wanted)
    }

    /// What follows this word and a space on the first line that begins with them.
    pub fn after(&self, word: &str) -> Option<&str> {
        self.lines.iter().find_map(|line| line.strip_prefix(word)?.strip_prefix(' '))
    }
}

impl fmt::Display for Dialogue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}\n{}\n{}", self.status, self.lines.join("\n"), self.errors)
    }
}

/// Run the program to its end, answering each of its words.
///
/// # Panics
/// When it cannot be started, says nothing for [`SILENCE`], or has not come to its end after [`PATIENCE`].
#[track_caller]
pub(crate) fn converse(mut command: Command, mut answer: impl FnMut(&str)) -> Dialogue {
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().unwrap_or_else(|error| panic!("cannot start {command:?}: {error}"));
    let mut program = Program(child);
    let errors = program.0.stderr.take().map(|mut stderr| {
        std::thread::spawn(move || {
            let mut bytes = Vec::new();
            let _ = stderr.read_to_end(&mut bytes);
            String::from_utf8_lossy(&bytes).into_owned()
        })
    });
    let spoken = follow(&mut program.0);
    let mut lines = Vec::new();
    let until = Instant::now() + PATIENCE;
    while let Some(line) = next(&spoken, until, &lines) {
        if is_word(&line) {
            answer(&line);
            if let Some(stdin) = program.0.stdin.as_mut() {
                // A program that has ended tells more by its last lines than by this.
                let _ = stdin.write_all(b"\n").and_then(|()| stdin.flush());
            }
        }
        lines.push(line);
    }
    let status = program.0.wait().unwrap_or_else(|error| panic!("how did {command:?} end? {error}"));
    let errors = errors.and_then(|thread| thread.join().ok()).unwrap_or_default();
    Dialogue { status, lines, errors }
}

/// A program that does not outlive the test that fails around it.
struct Program(Child);

impl Drop for Program {
    fn drop(&mut self) {
        // An error means that it has ended already.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

fn follow(child: &mut Child) -> Receiver<String> {
    let (speak, spoken) = channel();
    if let Some(stdout) = child.stdout.take() {
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if speak.send(line).is_err() {
                    break;
                }
            }
        });
    }
    spoken
}

#[track_caller]
fn next(spoken: &Receiver<String>, until: Instant, before: &[String]) -> Option<String> {
    use std::sync::mpsc::RecvTimeoutError::{Disconnected, Timeout};
    let since = Instant::now();
    match spoken.recv_timeout(SILENCE.min(until.saturating_duration_since(since))) {
        Ok(line) => Some(line),
        Err(Disconnected) => None,
        Err(Timeout) => {
            panic!(
                "silent for {} s, or too long in all, after:\n{}",
                since.elapsed().as_secs(),
                before.join("\n")
            )
        }
    }
}

fn is_word(line: &str) -> bool {
    ["LOOK", "CHECK", "RESTART"].contains(&line)
}
