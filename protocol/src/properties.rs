//! What holds for any command and any bytes: encoding and decoding undo each other, it does not matter how
//! the stream is cut, and nothing a peer can send panics.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;

use crate::lookup::{LookupCommand, PeerInfo, decode_reply};
use crate::{
    ChannelName, Command, DecodeError, Decoder, Frame, Identify, IdentifyLimits, Limits, MessageHead,
    MessageId, Messages, Phase, Stage, TopicName, decode_frame, encode_message, encode_response,
};

/// Small limits, so that random bytes come near them.
const LIMITS: Limits = Limits {
    message_bytes_max: 60,
    body_bytes_max: 300,
    ready_max: 2500,
    requeue_max: Duration::from_secs(3600),
    defer_max: Duration::from_secs(3600),
    identify_bytes_max: 100,
    line_bytes_max: 200,
};

/// A command that owns its parts, and the stage in which it is legal.
#[derive(Clone, Debug)]
enum Sent {
    Identify(Vec<u8>),
    Auth(Vec<u8>),
    Subscribe(String, String),
    Publish(String, Vec<u8>),
    MultiPublish(String, Vec<Vec<u8>>),
    DeferredPublish(String, u64, Vec<u8>),
    Ready(u64),
    Finish([u8; 16]),
    Requeue([u8; 16], u64),
    Touch([u8; 16]),
    Close,
    Nop,
}

impl Sent {
    fn stage(&self) -> Stage {
        match self {
            Self::Ready(_) | Self::Finish(_) | Self::Requeue(..) | Self::Touch(_) | Self::Close => {
                Stage::new(Phase::Subscribed)
            }
            _ => Stage::new(Phase::Init),
        }
    }

    /// The command; `packed` holds the messages of MPUB.
    fn command<'a>(&'a self, packed: &'a mut Vec<u8>) -> Command<'a> {
        let id = |bytes: &[u8; 16]| MessageId::new(*bytes);
        match self {
            Self::Identify(body) => Command::Identify { body },
            Self::Auth(secret) => Command::Auth { secret },
            Self::Subscribe(topic, channel) => Command::Subscribe {
                topic: TopicName::new(topic).unwrap(),
                channel: ChannelName::new(channel).unwrap(),
            },
            Self::Publish(topic, body) => Command::Publish { topic, body },
            Self::MultiPublish(topic, bodies) => {
                Command::MultiPublish { topic, messages: Messages::pack(packed, bodies) }
            }
            Self::DeferredPublish(topic, ms, body) => {
                Command::DeferredPublish { topic, delay: Duration::from_millis(*ms), body }
            }
            Self::Ready(count) => Command::Ready { count: *count },
            Self::Finish(bytes) => Command::Finish { id: id(bytes) },
            Self::Requeue(bytes, ms) => Command::Requeue { id: id(bytes), delay: Duration::from_millis(*ms) },
            Self::Touch(bytes) => Command::Touch { id: id(bytes) },
            Self::Close => Command::Close,
            Self::Nop => Command::Nop,
        }
    }
}

fn name() -> impl Strategy<Value = String> {
    "[.a-zA-Z0-9_-]{1,54}(#ephemeral)?"
}

fn body() -> impl Strategy<Value = Vec<u8>> {
    vec(any::<u8>(), 1..=LIMITS.message_bytes_max)
}

/// Sixteen bytes that a line can hold as one parameter; `\r` at the end would be taken for the line's.
fn id() -> impl Strategy<Value = [u8; 16]> {
    let byte = any::<u8>().prop_filter("splits a line", |byte| !matches!(byte, b' ' | b'\n' | b'\r'));
    prop_oneof![proptest::array::uniform16(byte), any::<u64>().prop_map(hex)]
}

fn hex(bits: u64) -> [u8; 16] {
    *MessageId::from_bits(bits).as_bytes()
}

fn sent() -> impl Strategy<Value = Sent> {
    let ms = 0..=3_600_000u64;
    prop_oneof![
        vec(any::<u8>(), 1..=100).prop_map(Sent::Identify),
        vec(any::<u8>(), 1..=100).prop_map(Sent::Auth),
        (name(), name()).prop_map(|(topic, channel)| Sent::Subscribe(topic, channel)),
        (name(), body()).prop_map(|(topic, body)| Sent::Publish(topic, body)),
        (name(), vec(body(), 1..=4)).prop_map(|(topic, bodies)| Sent::MultiPublish(topic, bodies)),
        (name(), ms.clone(), body()).prop_map(|(topic, ms, body)| Sent::DeferredPublish(topic, ms, body)),
        (0..=2500u64).prop_map(Sent::Ready),
        id().prop_map(Sent::Finish),
        (id(), ms).prop_map(|(id, ms)| Sent::Requeue(id, ms)),
        id().prop_map(Sent::Touch),
        Just(Sent::Close),
        Just(Sent::Nop),
    ]
}

/// Bytes that look like the protocol often enough to get deep into it.
fn garbled() -> impl Strategy<Value = Vec<u8>> {
    let word = prop_oneof![
        sent().prop_map(|sent| {
            let mut out = Vec::new();
            sent.command(&mut Vec::new()).encode(&mut out);
            out
        }),
        prop::sample::select(vec![
            "PUB t\n",
            "MPUB t\n",
            "DPUB t 1\n",
            "IDENTIFY\n",
            "AUTH\n",
            "SUB t c\n",
            "FIN ",
            "REQ ",
            "TOUCH ",
            "RDY ",
            "CLS\n",
            "NOP\r\n",
            "REGISTER t\n",
            "PING\n",
            " ",
            "\n",
            "\0\0\0\x01",
            "\0\0\0\x02",
        ])
        .prop_map(|word| word.as_bytes().to_vec()),
        vec(any::<u8>(), 0..12),
    ];
    (vec(word, 0..8), any::<prop::sample::Index>(), any::<u8>()).prop_map(|(words, at, byte)| {
        let mut bytes = words.concat();
        if !bytes.is_empty() {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        bytes
    })
}

fn stage() -> impl Strategy<Value = Stage> {
    let phase = prop::sample::select(vec![Phase::Init, Phase::Subscribed, Phase::Closing]);
    (phase, any::<bool>(), prop::bool::weighted(0.1)).prop_map(|(phase, heartbeats_off, tls_pending)| Stage {
        phase,
        heartbeats_off,
        tls_pending,
    })
}

/// All commands that `bytes` hold when they arrive in pieces of these lengths, as text, and how it ended.
fn read(bytes: &[u8], stage: Stage, pieces: &[usize]) -> (Vec<String>, Result<usize, DecodeError>) {
    let mut decoder = Decoder::new(LIMITS);
    let (mut at, mut end, mut seen) = (0, 0, Vec::new());
    for piece in pieces.iter().copied().chain([bytes.len()]) {
        end = (end + piece).min(bytes.len());
        loop {
            match decoder.decode(&bytes[at..end], stage) {
                Ok(Some((command, taken))) => {
                    seen.push(format!("{command:?}"));
                    at += taken;
                }
                Ok(None) => break,
                Err(error) => return (seen, Err(error)),
            }
        }
    }
    (seen, Ok(at))
}

proptest! {
    #![proptest_config(ProptestConfig {
        cases: 2000,
        failure_persistence: None,
        ..ProptestConfig::default()
    })]

    #[test]
    fn decoding_undoes_encoding(sent in sent(), junk in vec(any::<u8>(), 0..8)) {
        let mut packed = Vec::new();
        let command = sent.command(&mut packed);
        let mut bytes = Vec::new();
        command.encode(&mut bytes);
        let command_bytes = bytes.len();
        bytes.extend_from_slice(&junk);
        let decoded = Decoder::new(LIMITS).decode(&bytes, sent.stage());
        prop_assert_eq!(decoded, Ok(Some((command, command_bytes))));
    }

    #[test]
    fn unfinished_command_is_neither_command_nor_error(sent in sent(), at in any::<prop::sample::Index>()) {
        let mut bytes = Vec::new();
        sent.command(&mut Vec::new()).encode(&mut bytes);
        bytes.truncate(at.index(bytes.len()));
        prop_assert_eq!(Decoder::new(LIMITS).decode(&bytes, sent.stage()), Ok(None));
    }

    #[test]
    fn cuts_in_the_stream_change_nothing(
        bytes in garbled(),
        stage in stage(),
        pieces in vec(1..40usize, 0..20),
    ) {
        let whole = read(&bytes, stage, &[]);
        prop_assert_eq!(&read(&bytes, stage, &pieces), &whole);
        prop_assert_eq!(&read(&bytes, stage, &vec![1; bytes.len()]), &whole);
    }

    #[test]
    fn truncated_names_an_error_exactly_where_a_body_is_unfinished(bytes in garbled(), stage in stage()) {
        if let (_, Ok(at)) = read(&bytes, stage, &[]) {
            let rest = &bytes[at..];
            let error = Decoder::new(LIMITS).truncated(rest, stage);
            prop_assert_eq!(error.is_some(), rest.contains(&b'\n'));
        }
    }

    #[test]
    fn any_bytes_give_commands_or_errors(bytes in vec(any::<u8>(), 0..300), stage in stage()) {
        let _ = read(&bytes, stage, &[]);
        let _ = Decoder::new(LIMITS).truncated(&bytes, stage);
        let _ = Messages::parse(&bytes, &LIMITS).map(|messages| messages.map(<[u8]>::len).sum::<usize>());
        let _ = decode_frame(&bytes, usize::MAX);
        let _ = decode_reply(&bytes, usize::MAX);
    }

    #[test]
    fn messages_are_as_many_as_they_say(
        bodies in vec(body(), 1..=4),
        at in any::<prop::sample::Index>(),
        byte in proptest::option::of(0..80u8),
    ) {
        let mut bytes = (bodies.len() as u32).to_be_bytes().to_vec();
        for body in &bodies {
            bytes.extend_from_slice(&(body.len() as u32).to_be_bytes());
            bytes.extend_from_slice(body);
        }
        let at = at.index(bytes.len());
        bytes[at] = byte.unwrap_or(bytes[at]);
        let parsed = Messages::parse(&bytes, &LIMITS);
        prop_assert!(parsed.is_ok() || byte.is_some(), "refused without damage");
        let Ok(messages) = parsed else { return Ok(()) };
        let (count, body_bytes) = (messages.len(), messages.body_bytes());
        let lengths: Vec<_> = messages.map(<[u8]>::len).collect();
        prop_assert_eq!((lengths.len(), lengths.iter().sum::<usize>()), (count, body_bytes));
        prop_assert!(lengths.iter().all(|length| (1..=LIMITS.message_bytes_max).contains(length)));
    }

    #[test]
    fn any_bytes_give_a_lookup_command_or_an_error(bytes in garbled(), is_identified in any::<bool>()) {
        let mut rest = bytes.as_slice();
        while let Ok(Some((command, taken))) = LookupCommand::decode(rest, is_identified) {
            let mut again = Vec::new();
            command.encode(&mut again);
            prop_assert_eq!(LookupCommand::decode(&again, is_identified), Ok(Some((command, again.len()))));
            rest = &rest[taken..];
        }
        let _ = LookupCommand::truncated(rest, is_identified);
    }

    #[test]
    fn any_bytes_are_an_identify_or_refused(
        bytes in prop_oneof![
            vec(any::<u8>(), 0..60),
            r#"\{"[a-z_]{0,9}":(-?[0-9]{1,20}|null|"[^"]{0,4}"|\[\]|[{}]|true|1e9)[,}]?\}?"#
                .prop_map(String::into_bytes),
        ],
    ) {
        let _ = Identify::parse(&bytes, &IdentifyLimits::default());
        let _ = PeerInfo::parse(&bytes);
    }

    #[test]
    fn frames_come_back_as_they_were_written(
        timestamp_ns in any::<i64>(),
        attempts in any::<u16>(),
        bits in any::<u64>(),
        body in vec(any::<u8>(), 0..50),
    ) {
        let head = MessageHead { timestamp_ns, attempts, id: MessageId::from_bits(bits) };
        let mut out = Vec::new();
        encode_message(&mut out, &head, &body);
        let first = out.len();
        encode_response(&mut out, &body);
        prop_assert_eq!(decode_frame(&out, 100), Ok(Some((Frame::Message { head, body: &body }, first))));
        let second = Ok(Some((Frame::Response(&body), out.len() - first)));
        prop_assert_eq!(decode_frame(&out[first..], 100), second);
        prop_assert_eq!(head.id.to_bits(), Some(bits));
    }
}
