//! Playing cases against a running daemon: each three times, its input in one piece, byte by byte, and cut at random
//! places, because where TCP cuts a stream must not matter.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::bytes::{self, Expected};
use super::wire::{Cut, Received, Wire};
use super::{Case, File, Step, substitute};

/// The daemon under test.
#[derive(Debug, Clone, Copy)]
pub struct Target {
    /// Where it speaks its protocol.
    pub tcp: SocketAddr,
    /// Where it serves HTTP.
    pub http: SocketAddr,
    /// nsqlookupd, not nsqd.
    pub is_lookupd: bool,
}

/// A case that did not go as written.
#[derive(Debug)]
pub struct Failure {
    /// `file:line: name`, how the input was cut, and what was expected and came.
    pub text: String,
}

/// Cases of one file at a time; most of them wait for the daemon most of the time.
const THREADS: usize = 6;

impl File {
    /// Play those cases against the daemon, some at a time.
    pub fn play(&self, cases: &[&Case], target: Target) -> Vec<Failure> {
        let (next, failures) = (AtomicUsize::new(0), Mutex::new(Vec::new()));
        std::thread::scope(|scope| {
            for _ in 0..THREADS.min(cases.len()) {
                scope.spawn(|| {
                    while let Some(case) = cases.get(next.fetch_add(1, Ordering::Relaxed)) {
                        if let Err(text) = self.play_case(case, target)
                            && let Ok(mut failures) = failures.lock()
                        {
                            failures.push(Failure { text });
                        }
                    }
                });
            }
        });
        failures.into_inner().unwrap_or_default()
    }

    fn play_case(&self, case: &Case, target: Target) -> Result<(), String> {
        let seed = seed_of(&case.name, case.line);
        for cut in [Cut::Whole, Cut::Bytes, Cut::Random(seed)] {
            let mut run = Run::new(target, cut);
            for step in &case.steps {
                run.step(step).map_err(|why| {
                    format!(
                        "{}:{}: {}\n  at line {}, input {cut:?}: {why}",
                        self.path, case.line, case.name, step.line
                    )
                })?;
            }
        }
        Ok(())
    }
}

/// One case, once.
struct Run {
    target: Target,
    cut: Cut,
    wires: BTreeMap<char, Wire>,
    /// Bytes of a connection that go out with what follows.
    magic: BTreeMap<char, &'static [u8]>,
    values: BTreeMap<String, String>,
}

impl Run {
    fn new(target: Target, cut: Cut) -> Self {
        // Names of its own, so that no case sees what another left.
        static RUNS: AtomicUsize = AtomicUsize::new(0);
        let number = RUNS.fetch_add(1, Ordering::Relaxed);
        let values = ["t", "t2"].map(|name| (name.to_owned(), format!("{name}.{number}")));
        Self { target, cut, wires: BTreeMap::new(), magic: BTreeMap::new(), values: values.into() }
    }

    fn step(&mut self, step: &Step) -> Result<(), String> {
        let text = substitute(&step.text, &self.values);
        match step.verb.as_str() {
            "http" => self.http(&text),
            "bare" => self.wire(step.connection).map(|_| ()).map(|()| {
                self.magic.remove(&step.connection);
            }),
            "send" => self.send(step.connection, &bytes::bytes(&text)?),
            "hangup" => {
                self.send(step.connection, b"")?;
                self.wire(step.connection)?.hang_up();
                Ok(())
            }
            _ => {
                self.send(step.connection, b"")?;
                bytes::frames(&text)?
                    .into_iter()
                    .try_for_each(|expected| self.expect(step.connection, expected))
            }
        }
    }

    /// The connection of that letter, made when it is first spoken of.
    fn wire(&mut self, connection: char) -> Result<&mut Wire, String> {
        if !self.wires.contains_key(&connection) {
            let is_lookupd = self.target.is_lookupd;
            self.wires.insert(connection, Wire::connect(self.target.tcp, !is_lookupd)?);
            self.magic.insert(connection, if is_lookupd { b"  V1" } else { b"  V2" });
        }
        self.wires.get_mut(&connection).ok_or_else(|| "no such connection".to_owned())
    }

    fn send(&mut self, connection: char, bytes: &[u8]) -> Result<(), String> {
        self.wire(connection)?;
        let magic = self.magic.remove(&connection).unwrap_or_default();
        let cut = self.cut;
        self.wire(connection)?.send(&[magic, bytes].concat(), cut);
        Ok(())
    }

    fn expect(&mut self, connection: char, expected: Expected) -> Result<(), String> {
        match &expected {
            Expected::Open => return self.expect_open(connection),
            Expected::Closed => {
                let received = self.wire(connection)?.receive_any();
                return agree(received == Received::Closed, &expected, &received);
            }
            _ => {}
        }
        let is_heartbeat = expected == Expected::Response(b"_heartbeat_".to_vec());
        let is_message = matches!(expected, Expected::Message { .. });
        let mut received = self.wire(connection)?.receive(is_message);
        while !is_heartbeat && received == Received::Response(b"_heartbeat_".to_vec()) {
            received = self.wire(connection)?.receive(is_message);
        }
        let is_same = match (&expected, &received) {
            (Expected::Response(pattern), Received::Response(text))
            | (Expected::Error(pattern), Received::Error(text)) => fits(pattern, text),
            (Expected::Message { body, attempts, .. }, Received::Message { body: b, attempts: a, .. }) => {
                body == b && attempts == a
            }
            _ => false,
        };
        if let (Expected::Message { id: Some(name), .. }, Received::Message { id, .. }) =
            (&expected, &received)
        {
            self.values.insert(name.clone(), String::from_utf8_lossy(id).into_owned());
        }
        agree(is_same, &expected, &received)
    }

    /// A command is answered, and nothing came before its answer.
    fn expect_open(&mut self, connection: char) -> Result<(), String> {
        let probe: &[u8] = if self.target.is_lookupd { b"PING\n" } else { b"PUB probe\n\0\0\0\x01x" };
        let wire = self.wire(connection)?;
        wire.send(probe, Cut::Whole);
        let mut received = wire.receive_any();
        while received == Received::Response(b"_heartbeat_".to_vec()) {
            received = wire.receive_any();
        }
        agree(received == Received::Response(b"OK".to_vec()), &Expected::Open, &received)
    }

    /// `POST /topic/delete?topic=<t> 200`
    fn http(&self, text: &str) -> Result<(), String> {
        let words: Vec<&str> = text.split(' ').collect();
        let [method, target, status] = words.as_slice() else {
            return Err("METHOD TARGET STATUS".to_owned());
        };
        let reply = crate::request(self.target.http, method, target, b"");
        if reply.status.to_string() == *status {
            return Ok(());
        }
        Err(format!("{method} {target} gave {} {}", reply.status, reply.text()))
    }
}

fn agree(is_same: bool, expected: &Expected, received: &Received) -> Result<(), String> {
    if is_same {
        return Ok(());
    }
    Err(format!(
        "\n  expected {}\n  got      {}",
        shown(
            format!("{expected:?}"),
            match expected {
                Expected::Response(text) | Expected::Error(text) => Some(text),
                _ => None,
            }
        ),
        shown(
            format!("{received:?}"),
            match received {
                Received::Response(text) | Received::Error(text) | Received::Odd(text) => Some(text),
                _ => None,
            }
        )
    ))
}

/// Bytes as text where that is possible.
fn shown(debug: String, text: Option<&Vec<u8>>) -> String {
    let Some(text) = text else { return debug };
    let kind = debug.split('(').next().unwrap_or_default();
    let text = text.get(..text.len().min(600)).unwrap_or_default();
    format!("{kind} \"{}\"", text.escape_ascii())
}

/// A text against a pattern in which `<any>` stands for any text, also for none.
pub fn fits(pattern: &[u8], text: &[u8]) -> bool {
    const ANY: &[u8] = b"<any>";
    let Some(at) = pattern.windows(ANY.len()).position(|window| window == ANY) else {
        return pattern == text;
    };
    let (Some(head), Some(tail)) = (pattern.get(..at), pattern.get(at + ANY.len()..)) else { return false };
    let Some(rest) = text.strip_prefix(head) else { return false };
    (0..=rest.len()).any(|skipped| rest.get(skipped..).is_some_and(|rest| fits(tail, rest)))
}

/// The same at each run, so that a failure comes again.
fn seed_of(name: &str, line: usize) -> u64 {
    name.bytes().fold(0xcbf2_9ce4_8422_2325 ^ line as u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3)
    })
}
