//! The commands of protocol V2 as values, what limits them, and how a client writes them.
//! Reading them is in `decode`; what they do is the session's.

use std::time::Duration;

use crate::body::Messages;
use crate::message::MessageId;
use crate::name::{ChannelName, TopicName};

/// What a broker allows in commands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Longest message, in bytes of body (`--max-msg-size`).
    pub message_bytes_max: usize,
    /// Longest MPUB, from the message count on (`--max-body-size`).
    pub body_bytes_max: usize,
    /// Highest ready count of one consumer (`--max-rdy-count`).
    pub ready_max: u64,
    /// Longest delay of REQ; longer ones are cut to it (`--max-req-timeout`).
    pub requeue_max: Duration,
    /// Longest delay of DPUB; longer ones are refused (`--max-defer-timeout`).
    pub defer_max: Duration,
    /// Longest body of IDENTIFY and of AUTH, if that of an MPUB may be longer. nsqd: `--max-body-size` too.
    pub identify_bytes_max: usize,
    /// Longest command line, `\n` included. nsqd: its read buffer of 16 KiB.
    pub line_bytes_max: usize,
}

impl Default for Limits {
    /// nsqd's own defaults.
    fn default() -> Self {
        Self {
            message_bytes_max: 1_048_576,
            body_bytes_max: 5_242_880,
            ready_max: 2500,
            requeue_max: Duration::from_secs(3600),
            defer_max: Duration::from_secs(3600),
            identify_bytes_max: 65_536,
            line_bytes_max: 16_384,
        }
    }
}

/// What the session has been through, as far as it decides which command is legal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Stage {
    /// How far the session came.
    pub phase: Phase,
    /// IDENTIFY turned heartbeats off, which forbids SUB.
    pub heartbeats_off: bool,
    /// TLS is required and not up yet, which forbids all but IDENTIFY.
    pub tls_pending: bool,
}

impl Stage {
    /// Where a session starts, with TLS not required.
    pub const fn new(phase: Phase) -> Self {
        Self { phase, heartbeats_off: false, tls_pending: false }
    }
}

/// How far a session came. Publishing is allowed in each of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Not subscribed.
    Init,
    /// SUB was answered.
    Subscribed,
    /// CLS was answered: no more deliveries, but FIN, REQ and TOUCH of earlier ones.
    Closing,
}

/// One command of a client, borrowed from the bytes it arrived in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Command<'a> {
    /// IDENTIFY: who the client is and which features it wants.
    Identify {
        /// JSON for [`crate::Identify::parse`].
        body: &'a [u8],
    },
    /// AUTH: a secret for the auth server.
    Auth {
        /// Any bytes.
        secret: &'a [u8],
    },
    /// SUB: become a consumer of a channel.
    Subscribe {
        /// The topic, created if need be.
        topic: TopicName,
        /// The channel, created if need be.
        channel: ChannelName,
    },
    /// PUB: one message.
    Publish {
        /// A valid name. Not a `TopicName`: publishing allocates nothing.
        topic: &'a str,
        /// The message.
        body: &'a [u8],
    },
    /// MPUB: several messages, all or none.
    MultiPublish {
        /// A valid name.
        topic: &'a str,
        /// The messages, at least one.
        messages: Messages<'a>,
    },
    /// DPUB: one message, to be delivered later.
    DeferredPublish {
        /// A valid name.
        topic: &'a str,
        /// Whole milliseconds, at most the limit.
        delay: Duration,
        /// The message.
        body: &'a [u8],
    },
    /// RDY: how many messages the consumer wants in flight.
    Ready {
        /// A ceiling, not a credit; 0 stops delivery.
        count: u64,
    },
    /// FIN: a message is done.
    Finish {
        /// As it was delivered.
        id: MessageId,
    },
    /// REQ: give a message back.
    Requeue {
        /// As it was delivered.
        id: MessageId,
        /// Whole milliseconds, cut to the limit.
        delay: Duration,
    },
    /// TOUCH: more time for a message.
    Touch {
        /// As it was delivered.
        id: MessageId,
    },
    /// CLS: no more deliveries.
    Close,
    /// NOP: a sign of life.
    Nop,
}

impl Command<'_> {
    /// The command's name on the wire, as errors spell it.
    pub const fn verb(&self) -> &'static str {
        match self {
            Self::Identify { .. } => "IDENTIFY",
            Self::Auth { .. } => "AUTH",
            Self::Subscribe { .. } => "SUB",
            Self::Publish { .. } => "PUB",
            Self::MultiPublish { .. } => "MPUB",
            Self::DeferredPublish { .. } => "DPUB",
            Self::Ready { .. } => "RDY",
            Self::Finish { .. } => "FIN",
            Self::Requeue { .. } => "REQ",
            Self::Touch { .. } => "TOUCH",
            Self::Close => "CLS",
            Self::Nop => "NOP",
        }
    }

    /// Appends the command as a client sends it. Delays are cut to whole milliseconds, as the wire has them.
    pub fn encode(&self, out: &mut Vec<u8>) {
        let verb = self.verb().as_bytes();
        match self {
            Self::Identify { body } | Self::Auth { secret: body } => {
                put_line(out, &[verb]);
                put_sized(out, body);
            }
            Self::Subscribe { topic, channel } => {
                put_line(out, &[verb, topic.as_str().as_bytes(), channel.as_str().as_bytes()]);
            }
            Self::Publish { topic, body } => {
                put_line(out, &[verb, topic.as_bytes()]);
                put_sized(out, body);
            }
            Self::MultiPublish { topic, messages } => {
                put_line(out, &[verb, topic.as_bytes()]);
                messages.encode(out);
            }
            Self::DeferredPublish { topic, delay, body } => {
                put_line(out, &[verb, topic.as_bytes(), milliseconds(*delay).as_bytes()]);
                put_sized(out, body);
            }
            Self::Ready { count } => put_line(out, &[verb, count.to_string().as_bytes()]),
            Self::Finish { id } | Self::Touch { id } => put_line(out, &[verb, id.as_bytes()]),
            Self::Requeue { id, delay } => {
                put_line(out, &[verb, id.as_bytes(), milliseconds(*delay).as_bytes()]);
            }
            Self::Close | Self::Nop => put_line(out, &[verb]),
        }
    }
}

/// Appends a line of space-separated words.
pub(crate) fn put_line(out: &mut Vec<u8>, words: &[&[u8]]) {
    for (index, word) in words.iter().enumerate() {
        if index > 0 {
            out.push(b' ');
        }
        out.extend_from_slice(word);
    }
    out.push(b'\n');
}

/// Appends data behind its u32 size.
pub(crate) fn put_sized(out: &mut Vec<u8>, data: &[u8]) {
    put_size(out, data.len());
    out.extend_from_slice(data);
}

/// Appends a u32. The receiver refuses anything near its top, so cutting there loses nothing.
pub(crate) fn put_size(out: &mut Vec<u8>, size: usize) {
    out.extend_from_slice(&u32::try_from(size).unwrap_or(u32::MAX).to_be_bytes());
}

fn milliseconds(delay: Duration) -> String {
    delay.as_millis().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_have_the_bytes_of_the_protocol() {
        let id = MessageId::new(*b"0123456789abcdef");
        let mut packed = Vec::new();
        let messages = Messages::pack(&mut packed, ["a", "bc"]);
        let cases: Vec<(Command<'_>, &[u8])> = vec![
            (Command::Identify { body: b"{}" }, b"IDENTIFY\n\0\0\0\x02{}"),
            (Command::Auth { secret: b"s" }, b"AUTH\n\0\0\0\x01s"),
            (
                Command::Subscribe {
                    topic: TopicName::new("t").unwrap(),
                    channel: ChannelName::new("c#ephemeral").unwrap(),
                },
                b"SUB t c#ephemeral\n",
            ),
            (Command::Publish { topic: "t", body: b"a\nb" }, b"PUB t\n\0\0\0\x03a\nb"),
            (
                Command::MultiPublish { topic: "t", messages },
                b"MPUB t\n\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc",
            ),
            (
                Command::DeferredPublish { topic: "t", delay: Duration::from_secs(2), body: b"x" },
                b"DPUB t 2000\n\0\0\0\x01x",
            ),
            (Command::Ready { count: 2500 }, b"RDY 2500\n"),
            (Command::Finish { id }, b"FIN 0123456789abcdef\n"),
            (Command::Requeue { id, delay: Duration::from_millis(90) }, b"REQ 0123456789abcdef 90\n"),
            (Command::Touch { id }, b"TOUCH 0123456789abcdef\n"),
            (Command::Close, b"CLS\n"),
            (Command::Nop, b"NOP\n"),
        ];
        for (command, bytes) in cases {
            let mut out = Vec::new();
            command.encode(&mut out);
            assert_eq!(out, bytes, "{command:?}");
        }
    }
}
