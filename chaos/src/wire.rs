//! One blocking connection to nsqd: bytes out, frames in, and since when a frame may have been on its way. Which commands
//! are sent is the load's matter.

use std::io::{self, ErrorKind, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use protocol::{Command, Frame, HEARTBEAT, MAGIC_V2, OK, decode_frame};

use crate::diary::Clock;

/// How long one read waits: the pace at which threads look at what else there is to do.
const READ_WAIT: Duration = Duration::from_millis(4);
/// Nothing takes this long unless nsqd hangs.
const PATIENCE: Duration = Duration::from_secs(10);
const READ_BYTES: usize = 256 * 1024;
const FRAME_BYTES_MAX: usize = 16 << 20;

/// A connection.
#[derive(Debug)]
pub struct Connection {
    stream: TcpStream,
    clock: Clock,
    inbox: Vec<u8>,
    /// Up to here the inbox was used.
    used: usize,
    /// Before the last read that left nothing unread: what came later was sent later.
    emptied: u64,
    /// What the bytes in the inbox were certainly sent after.
    since: u64,
}

/// What a read brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Came {
    /// Bytes, or nothing for a while.
    On,
    /// The other side closed.
    End,
}

impl Connection {
    /// Connect, speak V2 and IDENTIFY.
    ///
    /// # Errors
    /// Nobody answers there.
    pub fn open(address: SocketAddr, clock: Clock, msg_timeout: Option<Duration>) -> io::Result<Self> {
        let began = clock.now();
        let stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_nodelay(true)?;
        stream.set_read_timeout(Some(READ_WAIT))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let mut connection = Self { stream, clock, inbox: Vec::new(), used: 0, emptied: began, since: began };
        let wishes = msg_timeout.map_or_else(
            || "{}".to_owned(),
            |timeout| format!("{{\"msg_timeout\":{}}}", timeout.as_millis()),
        );
        let mut out = MAGIC_V2.to_vec();
        Command::Identify { body: wishes.as_bytes() }.encode(&mut out);
        connection.send(&out)?;
        connection.expect_ok()?;
        Ok(connection)
    }

    /// Write all of it.
    ///
    /// # Errors
    /// The connection is gone, or nsqd does not read.
    pub fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.stream.write_all(bytes)
    }

    /// Wait a little for more bytes.
    pub fn read(&mut self) -> Came {
        self.inbox.drain(..self.used);
        self.used = 0;
        let held = self.inbox.len();
        let before = self.clock.now();
        self.inbox.resize(held + READ_BYTES, 0);
        let place = self.inbox.get_mut(held..).unwrap_or_default();
        let read = self.stream.read(place);
        let count = *read.as_ref().unwrap_or(&0);
        self.inbox.truncate(held + count);
        match read {
            Ok(0) => return Came::End,
            Err(error) if !is_pause(&error) => return Came::End,
            _ => {}
        }
        if count > 0 {
            self.since = self.emptied;
        }
        if count < READ_BYTES {
            self.emptied = before;
        }
        Came::On
    }

    /// The next frame among the bytes read, and after when it was sent. A frame that is none ends the stream.
    ///
    /// # Errors
    /// The bytes are no frames.
    pub fn frame(&mut self) -> io::Result<Option<(Frame<'_>, u64)>> {
        let rest = self.inbox.get(self.used..).unwrap_or_default();
        let decoded =
            decode_frame(rest, FRAME_BYTES_MAX).map_err(|error| io::Error::other(error.to_string()))?;
        Ok(decoded.map(|(frame, taken)| {
            self.used += taken;
            (frame, self.since)
        }))
    }

    /// Wait for OK; heartbeats may come first.
    ///
    /// # Errors
    /// Anything else, or nothing.
    pub fn expect_ok(&mut self) -> io::Result<()> {
        let limit = self.clock.now() + u64::try_from(PATIENCE.as_nanos()).unwrap_or(u64::MAX);
        while self.clock.now() < limit {
            match self.frame()? {
                Some((Frame::Response(OK), _)) => return Ok(()),
                Some((Frame::Response(HEARTBEAT), _)) => continue,
                Some((other, _)) => return Err(io::Error::other(format!("expected OK, got {other:?}"))),
                None => {}
            }
            if self.read() == Came::End {
                return Err(ErrorKind::UnexpectedEof.into());
            }
        }
        Err(ErrorKind::TimedOut.into())
    }
}

fn is_pause(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut | ErrorKind::Interrupted)
}
