//! A connection as the corpus needs it: bytes go out cut into pieces, frames come back as bytes. Both protocols:
//! nsqd's frames have a type, nsqlookupd's have none.

use std::collections::VecDeque;
use std::io::{ErrorKind, Read as _, Write as _};
use std::net::{Shutdown, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

/// How long a frame may take. Well below what a hanging case may cost the whole run.
const FRAME_WITHIN: Duration = Duration::from_secs(15);

/// What the other side sent.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Received {
    Response(Vec<u8>),
    Error(Vec<u8>),
    Message {
        attempts: u16,
        id: Vec<u8>,
        body: Vec<u8>,
    },
    Odd(Vec<u8>),
    Closed,
    /// Nothing, for longer than it may take.
    Nothing,
}

impl Received {
    pub(super) fn is_message(&self) -> bool {
        matches!(self, Self::Message { .. })
    }
}

/// How what is sent is cut into pieces.
#[derive(Debug, Clone, Copy)]
pub(super) enum Cut {
    Whole,
    /// Each byte alone; of long inputs the first and the last ones.
    Bytes,
    /// At places that this number chooses.
    Random(u64),
}

pub(super) struct Wire {
    stream: TcpStream,
    has_types: bool,
    inbox: Vec<u8>,
    /// Received, and not asked for yet.
    pub(super) waiting: VecDeque<Received>,
}

impl Wire {
    pub(super) fn connect(address: SocketAddr, has_types: bool) -> Result<Self, String> {
        let stream = TcpStream::connect(address).map_err(|error| format!("connecting: {error}"))?;
        let prepared = stream.set_nodelay(true).and(stream.set_write_timeout(Some(FRAME_WITHIN)));
        prepared.map_err(|error| error.to_string())?;
        Ok(Self { stream, has_types, inbox: Vec::new(), waiting: VecDeque::new() })
    }

    /// What the daemon does not take any more is lost: it may have closed, which is for `receive` to say.
    pub(super) fn send(&mut self, bytes: &[u8], cut: Cut) {
        for piece in pieces(bytes, cut) {
            if self.stream.write_all(piece).is_err() {
                return;
            }
            std::thread::yield_now();
        }
    }

    pub(super) fn hang_up(&self) {
        let _ = self.stream.shutdown(Shutdown::Write);
    }

    /// The next one that is a message, or the next one that is none.
    pub(super) fn receive(&mut self, is_message: bool) -> Received {
        if let Some(at) = self.waiting.iter().position(|received| received.is_message() == is_message)
            && let Some(received) = self.waiting.remove(at)
        {
            return received;
        }
        loop {
            let received = self.read();
            if received.is_message() == is_message || matches!(received, Received::Closed | Received::Nothing)
            {
                return received;
            }
            self.waiting.push_back(received);
        }
    }

    /// The next of any kind.
    pub(super) fn receive_any(&mut self) -> Received {
        self.waiting.pop_front().unwrap_or_else(|| self.read())
    }

    fn read(&mut self) -> Received {
        let limit = Instant::now() + FRAME_WITHIN;
        loop {
            if let Some(received) = self.take() {
                return received;
            }
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Received::Nothing;
            }
            let _ = self.stream.set_read_timeout(Some(left.max(Duration::from_millis(1))));
            let mut buffer = [0; 64 * 1024];
            match self.stream.read(&mut buffer) {
                Ok(0) => return self.closed(),
                Ok(count) => self.inbox.extend_from_slice(buffer.get(..count).unwrap_or_default()),
                Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                // A reset is what a close looks like when the daemon did not read all that was sent.
                Err(_) => return self.closed(),
            }
        }
    }

    fn closed(&mut self) -> Received {
        if self.inbox.is_empty() { Received::Closed } else { Received::Odd(std::mem::take(&mut self.inbox)) }
    }

    fn take(&mut self) -> Option<Received> {
        let size = usize::try_from(u32_at(&self.inbox, 0)?).ok()?;
        if self.inbox.len() < 4 + size {
            return None;
        }
        let frame: Vec<u8> = self.inbox.drain(..4 + size).collect();
        let data = frame.get(4..).unwrap_or_default();
        if !self.has_types {
            let is_error = data.starts_with(b"E_");
            return Some(if is_error {
                Received::Error(data.to_vec())
            } else {
                Received::Response(data.to_vec())
            });
        }
        let content = data.get(4..).unwrap_or_default();
        Some(match u32_at(data, 0) {
            Some(0) => Received::Response(content.to_vec()),
            Some(1) => Received::Error(content.to_vec()),
            Some(2) if content.len() >= 26 => message(content),
            _ => Received::Odd(frame),
        })
    }
}

/// `[i64 timestamp][u16 attempts][16 bytes id][body]`
fn message(content: &[u8]) -> Received {
    let part = |from: usize, to: usize| content.get(from..to).unwrap_or_default().to_vec();
    let attempts = part(8, 10).try_into().map(u16::from_be_bytes).unwrap_or_default();
    Received::Message { attempts, id: part(10, 26), body: part(26, content.len()) }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?))
}

/// Bytes sent one by one at most, at either end of an input.
const SINGLE_BYTES_MAX: usize = 600;

fn pieces(bytes: &[u8], cut: Cut) -> Vec<&[u8]> {
    match cut {
        Cut::Whole => vec![bytes],
        Cut::Bytes if bytes.len() <= 2 * SINGLE_BYTES_MAX => bytes.chunks(1).collect(),
        Cut::Bytes => {
            let (head, rest) = bytes.split_at(SINGLE_BYTES_MAX);
            let (middle, tail) = rest.split_at(rest.len() - SINGLE_BYTES_MAX);
            head.chunks(1).chain([middle]).chain(tail.chunks(1)).collect()
        }
        Cut::Random(seed) => {
            let length = bytes.len().max(1) as u64;
            let mut places: Vec<usize> =
                (1..4).map(|index| (seed.rotate_left(index * 17) % length) as usize).collect();
            places.sort_unstable();
            let mut pieces = Vec::new();
            let mut start = 0;
            for place in places.into_iter().chain([bytes.len()]) {
                pieces.extend(bytes.get(start..place).filter(|piece| !piece.is_empty()));
                start = place;
            }
            pieces
        }
    }
}
