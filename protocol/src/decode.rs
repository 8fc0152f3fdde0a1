//! Reading commands of protocol V2 from the bytes of a connection, however they are cut, with nsqd's checks
//! in nsqd's order and its exact errors. The buffer belongs to the session, and so does what a command does.

use std::fmt;
use std::time::Duration;

use crate::body::{Body, Messages, Missing, Scan, Stop};
use crate::command::{Command, Limits, Phase, Stage};
use crate::error::{Code, Error};
use crate::message::{MessageId, ONES};
use crate::name::{ChannelName, TopicName, is_valid_name};
use crate::text;

/// Reads one connection's commands. Remembers how far an unfinished one was read: bytes that arrive one by
/// one cost no more than bytes that arrive together.
#[derive(Debug)]
pub struct Decoder {
    limits: Limits,
    /// Bytes of the unfinished command that were searched for the end of its line; all of the line once it
    /// ended.
    searched: usize,
    /// Whether the line ended at `searched`.
    has_line: bool,
    /// Nothing new can be said about the unfinished command with fewer bytes.
    need: usize,
    scan: Scan,
}

impl Decoder {
    /// For a new connection, after its magic.
    pub fn new(limits: Limits) -> Self {
        Self { limits, searched: 0, has_line: false, need: 1, scan: Scan::default() }
    }

    /// The limits it was made with.
    pub const fn limits(&self) -> &Limits {
        &self.limits
    }

    /// The first command in `buf` and how many bytes it took; `None` while it is not whole. `buf` must start
    /// where the last command ended and only grow between calls. RDY while closing, which nsqd ignores
    /// unread, becomes `Nop`.
    ///
    /// # Errors
    /// What nsqd would answer. After a fatal error, as all of these are, the session ends and so does this
    /// decoder.
    #[inline]
    pub fn decode<'a>(
        &mut self,
        buf: &'a [u8],
        stage: Stage,
    ) -> Result<Option<(Command<'a>, usize)>, DecodeError> {
        if let Some(id) = self.finish(buf, stage) {
            return Ok(Some((Command::Finish { id }, FINISH_BYTES)));
        }
        if buf.len() < self.need {
            return Ok(None);
        }
        if !self.has_line && !self.search_line(buf)? {
            return Ok(None);
        }
        let line_bytes = self.searched;
        let (line, rest) = buf.split_at_checked(line_bytes).unwrap_or((buf, &[]));
        let parser = Parser { limits: &self.limits, stage, rest };
        match parser.command(trim_line(line), &mut self.scan) {
            Ok((command, body_bytes)) => {
                self.forget();
                Ok(Some((command, line_bytes + body_bytes)))
            }
            Err(Stop::Short { need, .. }) => {
                self.need = line_bytes + need;
                Ok(None)
            }
            Err(Stop::Fault(error)) => {
                self.forget();
                Err(DecodeError::Reply { error, consumed: line_bytes })
            }
        }
    }

    /// The message that a FIN at the start of `buf` finishes, if it is written the usual way; it took [`FINISH_BYTES`].
    /// What is anything else is `decode`'s to say.
    #[inline]
    pub fn finish(&mut self, buf: &[u8], stage: Stage) -> Option<MessageId> {
        let id = finish_at_start(buf, stage)?;
        if self.need > 1 {
            self.forget();
        }
        Some(id)
    }

    /// The error nsqd sends when the peer closes its writing side in the middle of a command. `None` when
    /// `buf` ends between two commands or inside a line, where nsqd just closes.
    pub fn truncated(&self, buf: &[u8], stage: Stage) -> Option<Error> {
        let window = buf.get(..self.limits.line_bytes_max).unwrap_or(buf);
        let line_bytes = window.iter().position(|byte| *byte == b'\n')? + 1;
        let (line, rest) = buf.split_at_checked(line_bytes)?;
        let parser = Parser { limits: &self.limits, stage, rest };
        match parser.command(trim_line(line), &mut Scan::default()) {
            Ok(_) => None,
            Err(Stop::Short { missing, .. }) => Some(missing.error()),
            Err(Stop::Fault(error)) => Some(error),
        }
    }

    /// Looks for the end of the line in what it has not seen yet.
    fn search_line(&mut self, buf: &[u8]) -> Result<bool, DecodeError> {
        let window = buf.get(..self.limits.line_bytes_max).unwrap_or(buf);
        let fresh = window.get(self.searched..).unwrap_or_default();
        if let Some(at) = fresh.iter().position(|byte| *byte == b'\n') {
            self.searched += at + 1;
            self.has_line = true;
            return Ok(true);
        }
        if window.len() >= self.limits.line_bytes_max {
            return Err(DecodeError::LineTooLong);
        }
        self.searched = window.len();
        self.need = window.len() + 1;
        Ok(false)
    }

    fn forget(&mut self) {
        self.searched = 0;
        self.has_line = false;
        self.need = 1;
        self.scan = Scan::default();
    }
}

/// Why no further command can be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DecodeError {
    /// To be answered with an error frame.
    Reply {
        /// What to send.
        error: Error,
        /// Bytes of the command's line: where reading would go on if the error were not fatal.
        consumed: usize,
    },
    /// The line does not end within the limit. nsqd: closes without a frame.
    LineTooLong,
}

impl fmt::Display for DecodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Reply { error, .. } => error.fmt(f),
            Self::LineTooLong => {
                f.write_str("command line is longer than the limit; does the peer speak NSQ?")
            }
        }
    }
}

impl std::error::Error for DecodeError {}

/// Bytes of a FIN as [`Decoder::finish`] knows it.
pub const FINISH_BYTES: usize = 21;

/// `FIN`, a space, sixteen bytes and `\n`: every message ends in one of these, mostly many in a row.
fn finish_at_start(buf: &[u8], stage: Stage) -> Option<MessageId> {
    let (bytes, rest) = buf.strip_prefix(b"FIN ")?.split_first_chunk::<16>()?;
    let is_allowed = stage.phase != Phase::Init && !stage.tls_pending;
    // A space, `\r` or `\n` among the sixteen means something else, which the long way sorts out. Subtracting
    // sets the top bit of each byte that is no more than a space, and perhaps of bytes before it: 12 ns for
    // all of FIN, against 20 with a loop over the bytes.
    let x = u128::from_be_bytes(*bytes);
    let is_plain = x.wrapping_sub(ONES * (b' ' + 1) as u128) & !x & (ONES << 7) == 0;
    (is_allowed && is_plain && rest.first() == Some(&b'\n')).then_some(MessageId::new(*bytes))
}

/// The line without `\n` and without one `\r` before it.
fn trim_line(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// One look at one command: the line's parameters and what has arrived behind it.
struct Parser<'p, 'a> {
    limits: &'p Limits,
    stage: Stage,
    rest: &'a [u8],
}

type Parsed<'a> = Result<(Command<'a>, usize), Stop>;

impl<'a> Parser<'_, 'a> {
    /// The command and how many bytes of its body it took.
    fn command(&self, line: &'a [u8], scan: &mut Scan) -> Parsed<'a> {
        let mut params = line.split(|byte| *byte == b' ');
        let verb = params.next().unwrap_or_default();
        if self.stage.tls_pending && verb != b"IDENTIFY" {
            let text = format!("cannot {} in current state (TLS required)", text::lossy(verb));
            return Err(invalid(text).into());
        }
        match verb {
            b"PUB" => self.publish(params),
            b"FIN" => self.finish(params),
            b"MPUB" => self.multi_publish(params, scan),
            b"RDY" => self.ready(params),
            b"REQ" => self.requeue(params),
            b"TOUCH" => self.touch(params),
            b"DPUB" => self.deferred_publish(params),
            b"NOP" => Ok((Command::Nop, 0)),
            b"SUB" => self.subscribe(params),
            b"CLS" => {
                self.in_phase("CLS", &[Phase::Subscribed])?;
                Ok((Command::Close, 0))
            }
            b"IDENTIFY" => {
                self.in_phase("IDENTIFY", &[Phase::Init])?;
                let body = Body::Whole("IDENTIFY").take_small(self.rest, self.limits)?;
                Ok((Command::Identify { body }, 4 + body.len()))
            }
            b"AUTH" => self.auth(params),
            _ => Err(invalid(format!("invalid command {}", text::lossy(verb))).into()),
        }
    }

    fn auth(&self, mut params: impl Iterator<Item = &'a [u8]>) -> Parsed<'a> {
        self.in_phase("AUTH", &[Phase::Init])?;
        if params.next().is_some() {
            return Err(invalid("AUTH invalid number of parameters").into());
        }
        let secret = Body::Whole("AUTH").take_small(self.rest, self.limits)?;
        Ok((Command::Auth { secret }, 4 + secret.len()))
    }

    fn subscribe(&self, mut params: impl Iterator<Item = &'a [u8]>) -> Parsed<'a> {
        self.in_phase("SUB", &[Phase::Init])?;
        if self.stage.heartbeats_off {
            return Err(invalid("cannot SUB with heartbeats disabled").into());
        }
        let (Some(topic), Some(channel)) = (params.next(), params.next()) else {
            return Err(few_parameters("SUB").into());
        };
        let topic = valid_name(topic)
            .and_then(|name| TopicName::new(name).ok())
            .ok_or_else(|| bad_name(Code::BadTopic, "SUB topic", topic))?;
        let channel = valid_name(channel)
            .and_then(|name| ChannelName::new(name).ok())
            .ok_or_else(|| bad_name(Code::BadChannel, "SUB channel", channel))?;
        Ok((Command::Subscribe { topic, channel }, 0))
    }

    fn publish(&self, mut params: impl Iterator<Item = &'a [u8]>) -> Parsed<'a> {
        let topic = params.next().ok_or_else(|| few_parameters("PUB"))?;
        let topic = valid_name(topic).ok_or_else(|| bad_name(Code::BadTopic, "PUB topic", topic))?;
        let body = Body::Message("PUB").take(self.rest, self.limits.message_bytes_max)?;
        Ok((Command::Publish { topic, body }, 4 + body.len()))
    }

    fn deferred_publish(&self, mut params: impl Iterator<Item = &'a [u8]>) -> Parsed<'a> {
        let (Some(topic), Some(delay)) = (params.next(), params.next()) else {
            return Err(few_parameters("DPUB").into());
        };
        let topic = valid_name(topic).ok_or_else(|| bad_name(Code::BadTopic, "DPUB topic", topic))?;
        let delay = self.defer_delay(delay)?;
        let body = Body::Message("DPUB").take(self.rest, self.limits.message_bytes_max)?;
        Ok((Command::DeferredPublish { topic, delay, body }, 4 + body.len()))
    }

    // nsqd: numbers around 2^64 wrap to a few milliseconds; what is left above the limit is refused, not cut.
    fn defer_delay(&self, param: &[u8]) -> Result<Duration, Error> {
        let Some(ms) = text::number(param) else {
            return Err(invalid(format!("DPUB could not parse timeout {}", text::lossy(param))));
        };
        let delay = Duration::from_millis(ms);
        if delay > self.limits.defer_max {
            let max = self.limits.defer_max.as_millis();
            return Err(invalid(format!("DPUB timeout {ms} out of range 0-{max}")));
        }
        Ok(delay)
    }

    // nsqd: asks the auth server and creates the topic before it reads the body. Here both come with the
    // whole command.
    fn multi_publish(&self, mut params: impl Iterator<Item = &'a [u8]>, scan: &mut Scan) -> Parsed<'a> {
        let topic = params.next().ok_or_else(|| few_parameters("MPUB"))?;
        let topic = valid_name(topic).ok_or_else(|| {
            // nsqd: says the code twice.
            let Error { code, text } = bad_name(Code::BadTopic, "MPUB topic", topic);
            Error::new(code, format!("{code} {text}"))
        })?;
        let Some((size, rest)) = self.rest.split_first_chunk::<4>() else {
            return Err(Stop::Short { need: 4, missing: Missing::SizeOf(Body::Whole("MPUB")) });
        };
        // nsqd: the size must be in range, but need not be that of the messages; their count and sizes
        // decide.
        Body::Whole("MPUB").check(i32::from_be_bytes(*size), self.limits.body_bytes_max)?;
        let count = scan.advance(rest, self.limits).map_err(|stop| stop.behind(4))?;
        let messages = Messages::scanned(rest, scan, count);
        Ok((Command::MultiPublish { topic, messages }, 4 + scan.bytes()))
    }

    fn ready(&self, mut params: impl Iterator<Item = &'a [u8]>) -> Parsed<'a> {
        if self.stage.phase == Phase::Closing {
            return Ok((Command::Nop, 0));
        }
        self.in_phase("RDY", &[Phase::Subscribed])?;
        let Some(param) = params.next() else { return Ok((Command::Ready { count: 1 }, 0)) };
        let Some(count) = text::number(param) else {
            return Err(invalid(format!("RDY could not parse count {}", text::lossy(param))).into());
        };
        if count > self.limits.ready_max {
            // nsqd: shows the count as a signed number.
            let text = format!("RDY count {} out of range 0-{}", count as i64, self.limits.ready_max);
            return Err(invalid(text).into());
        }
        Ok((Command::Ready { count }, 0))
    }

    fn finish(&self, mut params: impl Iterator<Item = &'a [u8]>) -> Parsed<'a> {
        self.in_phase("FIN", &[Phase::Subscribed, Phase::Closing])?;
        let id = params.next().ok_or_else(|| few_params("FIN"))?;
        Ok((Command::Finish { id: message_id(id)? }, 0))
    }

    fn touch(&self, mut params: impl Iterator<Item = &'a [u8]>) -> Parsed<'a> {
        self.in_phase("TOUCH", &[Phase::Subscribed, Phase::Closing])?;
        let id = params.next().ok_or_else(|| few_params("TOUCH"))?;
        Ok((Command::Touch { id: message_id(id)? }, 0))
    }

    fn requeue(&self, mut params: impl Iterator<Item = &'a [u8]>) -> Parsed<'a> {
        self.in_phase("REQ", &[Phase::Subscribed, Phase::Closing])?;
        let (Some(id), Some(delay)) = (params.next(), params.next()) else {
            return Err(few_params("REQ").into());
        };
        let id = message_id(id)?;
        let Some(ms) = text::number(delay) else {
            return Err(invalid(format!("REQ could not parse timeout {}", text::lossy(delay))).into());
        };
        let delay = Duration::from_millis(ms).min(self.limits.requeue_max);
        Ok((Command::Requeue { id, delay }, 0))
    }

    fn in_phase(&self, verb: &str, allowed: &[Phase]) -> Result<(), Error> {
        if allowed.contains(&self.stage.phase) {
            return Ok(());
        }
        Err(Error::wrong_state(verb))
    }
}

fn valid_name(param: &[u8]) -> Option<&str> {
    if !is_valid_name(param) {
        return None;
    }
    std::str::from_utf8(param).ok()
}

fn message_id(param: &[u8]) -> Result<MessageId, Error> {
    <[u8; 16]>::try_from(param).map(MessageId::new).map_err(|_| invalid("invalid message ID"))
}

fn invalid(text: impl Into<String>) -> Error {
    Error::new(Code::Invalid, text)
}

fn bad_name(code: Code, what: &str, name: &[u8]) -> Error {
    Error::new(code, format!("{what} name {} is not valid", text::quote(name)))
}

fn few_parameters(verb: &str) -> Error {
    invalid(format!("{verb} insufficient number of parameters"))
}

// nsqd: FIN, REQ and TOUCH say "params" where the others say "parameters".
fn few_params(verb: &str) -> Error {
    invalid(format!("{verb} insufficient number of params"))
}

#[cfg(test)]
mod tests;
