//! Protocol V1, which nsqd speaks to nsqlookupd: commands, what a broker says about itself, and answers, for
//! both sides. Who is registered for what is lookupd's to know.

use std::fmt;

use serde::{Deserialize, Serialize};

use crate::body::size_at;
use crate::command::{put_line, put_sized};
use crate::decode::DecodeError;
use crate::error::{Code, Error};
use crate::frame::{FrameError, split_sized};
use crate::json::{self, Field, Fields, WrongType};
use crate::name::{ChannelName, TopicName};
use crate::text;

/// Longest command line, `\n` included. nsqlookupd has no limit; two names and a verb take 142 bytes.
pub const LINE_BYTES_MAX: usize = 4096;

/// Longest body of IDENTIFY. nsqlookupd: allocates what the size field says, and a negative one ends the
/// process.
pub const IDENTIFY_BYTES_MAX: usize = 65_536;

/// What is kept of each text in IDENTIFY, in bytes.
const TEXT_BYTES_MAX: usize = 256;

/// A command of nsqd to nsqlookupd.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LookupCommand<'a> {
    /// IDENTIFY: where the broker can be reached; once, before all but PING.
    Identify {
        /// JSON for [`PeerInfo::parse`].
        body: &'a [u8],
    },
    /// REGISTER: the broker has this topic, and this channel of it.
    Register {
        /// The topic.
        topic: TopicName,
        /// Registered together with its topic.
        channel: Option<ChannelName>,
    },
    /// UNREGISTER: the broker has it no more.
    Unregister {
        /// The topic; with all its channels if none is named.
        topic: TopicName,
        /// Only this channel.
        channel: Option<ChannelName>,
    },
    /// PING: the broker lives.
    Ping,
}

impl<'a> LookupCommand<'a> {
    /// The first command in `buf` and how many bytes it took; `None` while it is not whole.
    /// `is_identified` says whether this connection had its IDENTIFY.
    ///
    /// # Errors
    /// What nsqlookupd would answer; each ends the connection.
    pub fn decode(buf: &'a [u8], is_identified: bool) -> Result<Option<(Self, usize)>, DecodeError> {
        let window = buf.get(..LINE_BYTES_MAX).unwrap_or(buf);
        let Some(at) = window.iter().position(|byte| *byte == b'\n') else {
            return if window.len() < LINE_BYTES_MAX { Ok(None) } else { Err(DecodeError::LineTooLong) };
        };
        let (line, rest) = buf.split_at_checked(at + 1).unwrap_or((buf, &[]));
        match Self::parse(line.trim_ascii(), rest, is_identified) {
            Ok(parsed) => Ok(parsed.map(|(command, body_bytes)| (command, line.len() + body_bytes))),
            Err(error) => Err(DecodeError::Reply { error, consumed: line.len() }),
        }
    }

    /// The error nsqlookupd sends when the peer closes its writing side inside the body of IDENTIFY; `None`
    /// elsewhere.
    pub fn truncated(buf: &[u8], is_identified: bool) -> Option<Error> {
        if !matches!(LookupCommand::decode(buf, is_identified), Ok(None)) {
            return None;
        }
        let line_bytes = buf.iter().position(|byte| *byte == b'\n')? + 1;
        let has_size = size_at(buf, line_bytes).is_some();
        Some(bad_body(if has_size { "failed to read body" } else { "failed to read body size" }))
    }

    /// Appends the command as nsqd sends it.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let (verb, topic, channel): (&[u8], _, _) = match self {
            Self::Ping => return put_line(out, &[b"PING"]),
            Self::Identify { body } => {
                put_line(out, &[b"IDENTIFY"]);
                return put_sized(out, body);
            }
            Self::Register { topic, channel } => (b"REGISTER", topic, channel),
            Self::Unregister { topic, channel } => (b"UNREGISTER", topic, channel),
        };
        match channel {
            Some(channel) => put_line(out, &[verb, topic.as_str().as_bytes(), channel.as_str().as_bytes()]),
            None => put_line(out, &[verb, topic.as_str().as_bytes()]),
        }
    }

    fn parse(line: &[u8], rest: &'a [u8], is_identified: bool) -> Result<Option<(Self, usize)>, Error> {
        let mut params = line.split(|byte| *byte == b' ');
        match params.next().unwrap_or_default() {
            b"PING" => Ok(Some((Self::Ping, 0))),
            b"IDENTIFY" if is_identified => Err(Error::new(Code::Invalid, "cannot IDENTIFY again")),
            b"IDENTIFY" => {
                let body = identify_body(rest)?;
                Ok(body.map(|body| (Self::Identify { body }, 4 + body.len())))
            }
            b"REGISTER" | b"UNREGISTER" if !is_identified => {
                Err(Error::new(Code::Invalid, "client must IDENTIFY"))
            }
            b"REGISTER" => {
                let (topic, channel) = names("REGISTER", params)?;
                Ok(Some((Self::Register { topic, channel }, 0)))
            }
            b"UNREGISTER" => {
                let (topic, channel) = names("UNREGISTER", params)?;
                Ok(Some((Self::Unregister { topic, channel }, 0)))
            }
            verb => Err(Error::new(Code::Invalid, format!("invalid command {}", text::lossy(verb)))),
        }
    }
}

/// What a broker says about itself in IDENTIFY, in nsqd's key order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PeerInfo {
    /// The broker's version.
    pub version: String,
    /// Where clients connect.
    pub tcp_port: u16,
    /// Where HTTP is served; 0 when it is off.
    pub http_port: u16,
    /// The host it runs on.
    pub hostname: String,
    /// The name or address under which others reach it.
    pub broadcast_address: String,
    /// Its zone, or empty.
    pub topology_zone: String,
    /// Its region, or empty.
    pub topology_region: String,
    /// Ours: what entitles it to register, where that is asked for. Not sent when empty, so that a stock nsqlookupd
    /// sees nothing new.
    #[serde(skip_serializing_if = "Secret::is_empty")]
    pub auth_token: Secret,
}

/// A text that is not shown.
#[derive(Clone, Default, PartialEq, Eq, Serialize)]
pub struct Secret(pub String);

impl Secret {
    fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Secret(..)")
    }
}

impl PeerInfo {
    /// Reads the body of IDENTIFY: keys in any case, `null` and missing keys alike, others ignored.
    ///
    /// # Errors
    /// E_BAD_BODY for anything that is no object, a field of the wrong type, or a broker nobody could connect
    /// to.
    pub fn parse(body: &[u8]) -> Result<Self, Error> {
        let mut info = Self::default();
        let read = json::read(body, &mut info);
        read.map_err(|WrongType| bad_body("failed to decode JSON body"))?;
        info.shorten();
        // nsqd: nsqlookupd also refuses http_port 0, which keeps an nsqd with HTTP off from being found at
        // all.
        if info.broadcast_address.is_empty() || info.tcp_port == 0 || info.version.is_empty() {
            return Err(bad_body("missing fields"));
        }
        Ok(info)
    }

    /// A broker must not fill our memory with its name. No host name is longer.
    fn shorten(&mut self) {
        let texts = [
            &mut self.version,
            &mut self.hostname,
            &mut self.broadcast_address,
            &mut self.topology_zone,
            &mut self.topology_region,
        ];
        for text in texts {
            let end = (0..=TEXT_BYTES_MAX.min(text.len())).rev().find(|&end| text.is_char_boundary(end));
            text.truncate(end.unwrap_or(0));
        }
    }
}

impl Fields for PeerInfo {
    fn field(&mut self, key: &str) -> Option<Field<'_>> {
        Some(match key {
            "version" => Field::Text(&mut self.version),
            "tcp_port" => Field::Port(&mut self.tcp_port),
            "http_port" => Field::Port(&mut self.http_port),
            "hostname" => Field::Text(&mut self.hostname),
            "broadcast_address" => Field::Text(&mut self.broadcast_address),
            "topology_zone" => Field::Text(&mut self.topology_zone),
            "topology_region" => Field::Text(&mut self.topology_region),
            "auth_token" => Field::Text(&mut self.auth_token.0),
            _ => return None,
        })
    }
}

/// What nsqlookupd says about itself in its answer to IDENTIFY, in its key order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct LookupdInfo {
    /// The name or address under which brokers reach its HTTP.
    pub broadcast_address: String,
    /// The host it runs on.
    pub hostname: String,
    /// Where HTTP is served.
    pub http_port: u16,
    /// Where brokers connect.
    pub tcp_port: u16,
    /// Its version.
    pub version: String,
}

/// Appends an answer: `u32 size | data`, without the type that nsqd's frames have.
pub fn encode_reply(out: &mut Vec<u8>, data: &[u8]) {
    put_sized(out, data);
}

/// Reads the first answer in `buf` and says how many bytes it took; `None` while it is not whole.
///
/// # Errors
/// The size field is above `max_bytes`; nothing can be read after that.
pub fn decode_reply(buf: &[u8], max_bytes: usize) -> Result<Option<(&[u8], usize)>, FrameError> {
    split_sized(buf, max_bytes)
}

type Names = (TopicName, Option<ChannelName>);

fn names<'a>(verb: &str, mut params: impl Iterator<Item = &'a [u8]>) -> Result<Names, Error> {
    let Some(topic) = params.next() else {
        return Err(Error::new(Code::Invalid, format!("{verb} insufficient number of params")));
    };
    let topic = text::lossy(topic);
    let topic = TopicName::new(&topic)
        .map_err(|_| Error::new(Code::BadTopic, format!("{verb} topic name '{topic}' is not valid")))?;
    let channel = params.next().map(text::lossy).filter(|channel| !channel.is_empty());
    let Some(channel) = channel else { return Ok((topic, None)) };
    let channel = ChannelName::new(&channel)
        .map_err(|_| Error::new(Code::BadChannel, format!("{verb} channel name '{channel}' is not valid")))?;
    Ok((topic, Some(channel)))
}

/// The body behind its size, which is judged before a single byte of the body is waited for.
fn identify_body(rest: &[u8]) -> Result<Option<&[u8]>, Error> {
    let Some(size) = size_at(rest, 0) else { return Ok(None) };
    let size = usize::try_from(size).map_err(|_| bad_body("failed to read body size"))?;
    if size > IDENTIFY_BYTES_MAX {
        return Err(bad_body("failed to read body"));
    }
    Ok(rest.get(4..4 + size))
}

fn bad_body(text: &str) -> Error {
    Error::new(Code::BadBody, format!("IDENTIFY {text}"))
}

#[cfg(test)]
mod tests;
