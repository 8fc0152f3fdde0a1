//! Tables of commands as they arrive, and of every error that reading them can give.
//! Arbitrary bytes and arbitrary cuts are in `properties`.

use super::*;

const INIT: Stage = Stage::new(Phase::Init);
const SUBSCRIBED: Stage = Stage::new(Phase::Subscribed);
const CLOSING: Stage = Stage::new(Phase::Closing);
const ID: MessageId = MessageId::new(*b"0123456789abcdef");

fn decoder() -> Decoder {
    Decoder::new(Limits::default())
}

/// The command is read whole, and bytes behind it are left alone.
fn accepts(stage: Stage, bytes: &[u8], expected: Command<'_>) {
    let followed = [bytes, b"NOP\n"].concat();
    let decoded = decoder().decode(&followed, stage).map(|decoded| decoded.unwrap());
    assert_eq!(decoded, Ok((expected, bytes.len())), "{:?}", bytes.escape_ascii().to_string());
}

/// The bytes get this error frame.
fn refuses(stage: Stage, bytes: &[u8], expected: &str) {
    let shown = bytes.escape_ascii().to_string();
    let Err(DecodeError::Reply { error, consumed }) = decoder().decode(bytes, stage) else {
        panic!("{shown} is not refused");
    };
    assert_eq!(error.to_string(), expected, "{shown}");
    assert_eq!(consumed, bytes.iter().position(|byte| *byte == b'\n').unwrap() + 1, "{shown}");
    assert!(error.is_fatal());
}

/// The bytes are no whole command; when nothing follows them, this is the error.
fn waits(stage: Stage, bytes: &[u8], when_closed: Option<&str>) {
    let shown = bytes.escape_ascii().to_string();
    let mut decoder = decoder();
    assert_eq!(decoder.decode(bytes, stage), Ok(None), "{shown}");
    let error = decoder.truncated(bytes, stage).map(|error| error.to_string());
    assert_eq!(error.as_deref(), when_closed, "{shown}");
}

fn name<N>(made: Result<N, crate::InvalidName>) -> N {
    made.unwrap()
}

#[test]
fn every_command_is_read() {
    let (topic, channel) = (name(TopicName::new("t")), name(ChannelName::new("c#ephemeral")));
    accepts(INIT, b"IDENTIFY\n\0\0\0\x02{}", Command::Identify { body: b"{}" });
    accepts(INIT, b"AUTH\n\0\0\0\x02\xff\n", Command::Auth { secret: b"\xff\n" });
    accepts(INIT, b"SUB t c#ephemeral\n", Command::Subscribe { topic, channel });
    accepts(INIT, b"PUB t\n\0\0\0\x03a\nb", Command::Publish { topic: "t", body: b"a\nb" });
    accepts(SUBSCRIBED, b"PUB t\n\0\0\0\x01a", Command::Publish { topic: "t", body: b"a" });
    accepts(CLOSING, b"PUB t\n\0\0\0\x01a", Command::Publish { topic: "t", body: b"a" });
    let delay = Duration::from_millis(15);
    accepts(INIT, b"DPUB t 15\n\0\0\0\x01a", Command::DeferredPublish { topic: "t", delay, body: b"a" });
    accepts(SUBSCRIBED, b"RDY 2500\n", Command::Ready { count: 2500 });
    accepts(SUBSCRIBED, b"FIN 0123456789abcdef\n", Command::Finish { id: ID });
    accepts(SUBSCRIBED, b"REQ 0123456789abcdef 15\n", Command::Requeue { id: ID, delay });
    accepts(SUBSCRIBED, b"TOUCH 0123456789abcdef\n", Command::Touch { id: ID });
    accepts(SUBSCRIBED, b"CLS\n", Command::Close);
    accepts(INIT, b"NOP\n", Command::Nop);
}

#[test]
fn mpub_is_read_by_its_count_whatever_its_size_says() {
    for size in [1u32, 15, 20, 5_242_880] {
        let bytes = [b"MPUB t\n", &size.to_be_bytes()[..], b"\0\0\0\x02\0\0\0\x01a\0\0\0\x02bc"].concat();
        let (command, taken) = decoder().decode(&bytes, INIT).unwrap().unwrap();
        let Command::MultiPublish { topic, messages } = command else { panic!("{command:?}") };
        assert_eq!((topic, messages.len(), taken), ("t", 2, bytes.len()));
        assert_eq!(messages.collect::<Vec<_>>(), [&b"a"[..], b"bc"]);
    }
}

#[test]
fn line_may_end_in_carriage_return_and_have_more_parameters() {
    accepts(INIT, b"NOP\r\n", Command::Nop);
    accepts(INIT, b"NOP a b\n", Command::Nop);
    accepts(INIT, b"PUB t x y\r\n\0\0\0\x01a", Command::Publish { topic: "t", body: b"a" });
    accepts(SUBSCRIBED, b"FIN 0123456789abcdef\r\n", Command::Finish { id: ID });
    accepts(SUBSCRIBED, b"FIN 0123456789abcdef x\n", Command::Finish { id: ID });
    accepts(SUBSCRIBED, b"CLS x\n", Command::Close);
    refuses(INIT, b"NOP\r\r\n", "E_INVALID invalid command NOP\r");
}

#[test]
fn numbers_are_read_as_loosely_as_nsqd_does() {
    accepts(SUBSCRIBED, b"RDY\n", Command::Ready { count: 1 });
    accepts(SUBSCRIBED, b"RDY \n", Command::Ready { count: 0 });
    accepts(SUBSCRIBED, b"RDY 007\n", Command::Ready { count: 7 });
    let publish = |ms| Command::DeferredPublish { topic: "t", delay: Duration::from_millis(ms), body: b"a" };
    accepts(INIT, b"DPUB t 18446744073709551617\n\0\0\0\x01a", publish(1));
    accepts(INIT, b"DPUB t \n\0\0\0\x01a", publish(0));
    accepts(INIT, b"DPUB t 3600000\n\0\0\0\x01a", publish(3_600_000));
}

#[test]
fn requeue_delay_above_the_limit_is_cut() {
    let delay = Limits::default().requeue_max;
    for ms in ["3600000", "3600001", "18446744073709551615"] {
        let bytes = format!("REQ 0123456789abcdef {ms}\n");
        accepts(SUBSCRIBED, bytes.as_bytes(), Command::Requeue { id: ID, delay });
    }
}

#[test]
fn ready_while_closing_is_ignored_unread() {
    accepts(CLOSING, b"RDY 5\n", Command::Nop);
    accepts(CLOSING, b"RDY -1\n", Command::Nop);
}

#[test]
fn finish_is_only_taken_the_short_way_when_it_is_plain() {
    accepts(CLOSING, b"FIN 0123456789abcdef\n", Command::Finish { id: ID });
    let odd = MessageId::new(*b"\xff123456789abcde!");
    accepts(SUBSCRIBED, b"FIN \xff123456789abcde!\n", Command::Finish { id: odd });
    refuses(SUBSCRIBED, b"FIN 0123456789abcde\r\n", "E_INVALID invalid message ID");
    refuses(SUBSCRIBED, b"FIN 0123456\n89abcdef\n", "E_INVALID invalid message ID");
    refuses(SUBSCRIBED, b"FIN 01234567 9abcdef\n", "E_INVALID invalid message ID");
    refuses(SUBSCRIBED, b"FIN 0123456789abcdef0\n", "E_INVALID invalid message ID");
    waits(SUBSCRIBED, b"FIN 0123456789abcdef", None);
}

#[test]
fn id_may_hold_any_byte_that_does_not_end_it() {
    for at in 0..16 {
        for byte in 0..=255u8 {
            let mut bytes = *b"FIN 0123456789abcdef\n";
            bytes[4 + at] = byte;
            let ends = matches!(byte, b' ' | b'\n') || (byte == b'\r' && at == 15);
            let is_finish = matches!(decoder().decode(&bytes, SUBSCRIBED),
                Ok(Some((Command::Finish { id }, 21))) if id.as_bytes() == &bytes[4..20]);
            assert_eq!(is_finish, !ends, "{byte:#x} at {at}");
        }
    }
}

#[test]
fn unknown_commands_are_refused() {
    refuses(INIT, b"\n", "E_INVALID invalid command ");
    refuses(INIT, b" NOP\n", "E_INVALID invalid command ");
    refuses(INIT, b"HELLO x\n", "E_INVALID invalid command HELLO");
    refuses(INIT, b"pub t\n", "E_INVALID invalid command pub");
    refuses(INIT, b"\xff\n", "E_INVALID invalid command \u{fffd}");
}

#[test]
fn state_is_checked_before_parameters() {
    let cases: &[(Stage, &str)] = &[
        (INIT, "RDY"),
        (INIT, "FIN"),
        (INIT, "REQ"),
        (INIT, "TOUCH"),
        (INIT, "CLS"),
        (SUBSCRIBED, "IDENTIFY"),
        (SUBSCRIBED, "AUTH"),
        (SUBSCRIBED, "SUB"),
        (CLOSING, "IDENTIFY"),
        (CLOSING, "AUTH"),
        (CLOSING, "SUB"),
        (CLOSING, "CLS"),
    ];
    for (stage, verb) in cases {
        let expected = format!("E_INVALID cannot {verb} in current state");
        refuses(*stage, format!("{verb}\n").as_bytes(), &expected);
    }
    refuses(INIT, b"FIN 0123456789abcdef\n", "E_INVALID cannot FIN in current state");
}

#[test]
fn required_tls_forbids_all_but_identify() {
    let verbs = ["PUB", "MPUB", "DPUB", "SUB", "RDY", "FIN", "REQ", "TOUCH", "CLS", "NOP", "AUTH", "HELLO"];
    for phase in [Phase::Init, Phase::Subscribed, Phase::Closing] {
        let stage = Stage { tls_pending: true, ..Stage::new(phase) };
        for verb in verbs {
            let expected = format!("E_INVALID cannot {verb} in current state (TLS required)");
            refuses(stage, format!("{verb} 0123456789abcdef\n").as_bytes(), &expected);
        }
    }
    let stage = Stage { tls_pending: true, ..INIT };
    accepts(stage, b"IDENTIFY\n\0\0\0\x02{}", Command::Identify { body: b"{}" });
}

#[test]
fn errors_of_pub() {
    refuses(INIT, b"PUB\n", "E_INVALID PUB insufficient number of parameters");
    refuses(INIT, b"PUB a$b\n", r#"E_BAD_TOPIC PUB topic name "a$b" is not valid"#);
    refuses(INIT, b"PUB \"\\\xff\x01\n", r#"E_BAD_TOPIC PUB topic name "\"\\\xff\x01" is not valid"#);
    refuses(INIT, b"PUB  t\n", r#"E_BAD_TOPIC PUB topic name "" is not valid"#);
    refuses(INIT, b"PUB t\n\0\0\0\0", "E_BAD_MESSAGE PUB invalid message body size 0");
    refuses(INIT, b"PUB t\n\xff\xff\xff\xff", "E_BAD_MESSAGE PUB invalid message body size -1");
    refuses(INIT, b"PUB t\n\0\x10\0\x01", "E_BAD_MESSAGE PUB message too big 1048577 > 1048576");
    waits(INIT, b"PUB t\n", Some("E_BAD_MESSAGE PUB failed to read message body size"));
    waits(INIT, b"PUB t\n\0\0\0", Some("E_BAD_MESSAGE PUB failed to read message body size"));
    waits(INIT, b"PUB t\n\0\0\0\x02a", Some("E_BAD_MESSAGE PUB failed to read message body"));
}

#[test]
fn errors_of_dpub() {
    refuses(INIT, b"DPUB t\n", "E_INVALID DPUB insufficient number of parameters");
    refuses(INIT, b"DPUB a$b x\n", r#"E_BAD_TOPIC DPUB topic name "a$b" is not valid"#);
    refuses(INIT, b"DPUB t abc\n", "E_INVALID DPUB could not parse timeout abc");
    refuses(INIT, b"DPUB t -1\n", "E_INVALID DPUB could not parse timeout -1");
    refuses(INIT, b"DPUB t 3600001\n", "E_INVALID DPUB timeout 3600001 out of range 0-3600000");
    let most = "E_INVALID DPUB timeout 18446744073709551615 out of range 0-3600000";
    refuses(INIT, b"DPUB t 18446744073709551615\n", most);
    refuses(INIT, b"DPUB t 1\n\0\0\0\0", "E_BAD_MESSAGE DPUB invalid message body size 0");
    refuses(INIT, b"DPUB t 1\n\0\x10\0\x01", "E_BAD_MESSAGE DPUB message too big 1048577 > 1048576");
    waits(INIT, b"DPUB t 1\n", Some("E_BAD_MESSAGE DPUB failed to read message body size"));
    waits(INIT, b"DPUB t 1\n\0\0\0\x02a", Some("E_BAD_MESSAGE DPUB failed to read message body"));
}

#[test]
fn errors_of_mpub() {
    refuses(INIT, b"MPUB\n", "E_INVALID MPUB insufficient number of parameters");
    refuses(INIT, b"MPUB a$b\n", r#"E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "a$b" is not valid"#);
    let after_line = |rest: &[u8], expected: &str| refuses(INIT, &[b"MPUB t\n", rest].concat(), expected);
    after_line(b"\0\0\0\0", "E_BAD_BODY MPUB invalid body size 0");
    after_line(b"\x80\0\0\0", "E_BAD_BODY MPUB invalid body size -2147483648");
    after_line(b"\0\x50\0\x01", "E_BAD_BODY MPUB body too big 5242881 > 5242880");
    after_line(b"\0\0\0\x08\0\0\0\0", "E_BAD_BODY MPUB invalid message count 0");
    after_line(b"\0\0\0\x08\xff\xff\xff\xff", "E_BAD_BODY MPUB invalid message count -1");
    after_line(b"\0\0\0\x08\0\x0f\xff\xff\0\0\0\0", "E_BAD_MESSAGE MPUB invalid message(0) body size 0");
    after_line(b"\0\0\0\x08\0\x10\0\0", "E_BAD_BODY MPUB invalid message count 1048576");
    let second_is = |size: &[u8], expected: &str| {
        after_line(&[b"\0\0\0\x08\0\0\0\x02\0\0\0\x01a", size].concat(), expected);
    };
    second_is(b"\0\0\0\0", "E_BAD_MESSAGE MPUB invalid message(1) body size 0");
    second_is(b"\xff\xff\xff\xff", "E_BAD_MESSAGE MPUB invalid message(1) body size -1");
    second_is(b"\0\x10\0\x01", "E_BAD_MESSAGE MPUB message too big 1048577 > 1048576");
}

#[test]
fn mpub_that_breaks_off_says_where() {
    let after_line = |rest: &[u8], expected| waits(INIT, &[b"MPUB t\n", rest].concat(), Some(expected));
    after_line(b"\0\0", "E_BAD_BODY MPUB failed to read body size");
    after_line(b"\0\0\0\x08", "E_BAD_BODY MPUB failed to read message count");
    after_line(b"\0\0\0\x08\0\0\0\x02", "E_BAD_MESSAGE MPUB failed to read message(0) body size");
    after_line(b"\0\0\0\x08\0\0\0\x02\0\0\0\x02a", "E_BAD_MESSAGE MPUB failed to read message body");
    let second = b"\0\0\0\x08\0\0\0\x02\0\0\0\x01a\0";
    after_line(second, "E_BAD_MESSAGE MPUB failed to read message(1) body size");
}

#[test]
fn errors_of_sub() {
    let stage = Stage { heartbeats_off: true, ..INIT };
    refuses(stage, b"SUB\n", "E_INVALID cannot SUB with heartbeats disabled");
    let subscribed = Stage { heartbeats_off: true, ..SUBSCRIBED };
    refuses(subscribed, b"SUB t c\n", "E_INVALID cannot SUB in current state");
    refuses(INIT, b"SUB t\n", "E_INVALID SUB insufficient number of parameters");
    refuses(INIT, b"SUB a$b c$d\n", r#"E_BAD_TOPIC SUB topic name "a$b" is not valid"#);
    refuses(INIT, b"SUB t c$d\n", r#"E_BAD_CHANNEL SUB channel name "c$d" is not valid"#);
    refuses(INIT, b"SUB t  c\n", r#"E_BAD_CHANNEL SUB channel name "" is not valid"#);
}

#[test]
fn errors_of_rdy() {
    refuses(SUBSCRIBED, b"RDY -1\n", "E_INVALID RDY could not parse count -1");
    refuses(SUBSCRIBED, b"RDY 2501\n", "E_INVALID RDY count 2501 out of range 0-2500");
    let negative = "E_INVALID RDY count -1 out of range 0-2500";
    refuses(SUBSCRIBED, b"RDY 18446744073709551615\n", negative);
}

#[test]
fn errors_of_fin_req_and_touch() {
    for verb in ["FIN", "REQ", "TOUCH"] {
        let expected = format!("E_INVALID {verb} insufficient number of params");
        refuses(SUBSCRIBED, format!("{verb}\n").as_bytes(), &expected);
        refuses(CLOSING, format!("{verb} short 1\n").as_bytes(), "E_INVALID invalid message ID");
    }
    refuses(SUBSCRIBED, b"REQ 0123456789abcdef\n", "E_INVALID REQ insufficient number of params");
    refuses(SUBSCRIBED, b"REQ 0123456789abcdef x\n", "E_INVALID REQ could not parse timeout x");
}

#[test]
fn errors_of_identify_and_auth() {
    for verb in ["IDENTIFY", "AUTH"] {
        let after_line = |rest: &[u8]| [verb.as_bytes(), b"\n", rest].concat();
        let error = |text: &str| format!("E_BAD_BODY {verb} {text}");
        refuses(INIT, &after_line(b"\0\0\0\0"), &error("invalid body size 0"));
        refuses(INIT, &after_line(b"\xff\xff\xff\xff"), &error("invalid body size -1"));
        refuses(INIT, &after_line(b"\0\x50\0\x01"), &error("body too big 5242881 > 5242880"));
        waits(INIT, &after_line(b"\0"), Some(&error("failed to read body size")));
        waits(INIT, &after_line(b"\0\0\0\x02{"), Some(&error("failed to read body")));
    }
    refuses(INIT, b"AUTH x\n", "E_INVALID AUTH invalid number of parameters");
    refuses(INIT, b"AUTH \n", "E_INVALID AUTH invalid number of parameters");
}

#[test]
fn nothing_is_missing_between_commands_and_inside_a_line() {
    waits(INIT, b"", None);
    waits(INIT, b"PUB t", None);
    assert_eq!(decoder().truncated(b"NOP\n", INIT), None);
}

#[test]
fn line_must_fit_the_read_buffer_of_nsqd() {
    let mut line = vec![b'x'; 16_384];
    line.splice(..4, *b"NOP ");
    assert_eq!(decoder().decode(&line[..16_383], INIT), Ok(None));
    assert_eq!(decoder().decode(&line, INIT), Err(DecodeError::LineTooLong));
    line[16_383] = b'\n';
    accepts(INIT, &line, Command::Nop);
    let late = [&line[..16_383], b"x\n"].concat();
    assert_eq!(decoder().decode(&late, INIT), Err(DecodeError::LineTooLong));
}

#[test]
fn size_that_is_refused_is_refused_before_its_bytes_come() {
    for size in [u32::MAX, i32::MAX as u32, 1 << 31] {
        for line in ["IDENTIFY\n", "AUTH\n", "PUB t\n", "DPUB t 1\n", "MPUB t\n"] {
            let bytes = [line.as_bytes(), &size.to_be_bytes(), b"0123456789"].concat();
            assert!(decoder().decode(&bytes, INIT).is_err(), "{line}");
        }
    }
}

#[test]
fn what_was_read_of_an_unfinished_command_is_not_read_again() {
    let mut bytes = b"MPUB t\n\0\0\0\x1c\0\0\0\x04".to_vec();
    for _ in 0..4 {
        bytes.extend_from_slice(b"\0\0\0\x02ab");
    }
    let mut decoder = decoder();
    // (bytes so far, messages behind the reader, bytes without which nothing new can be said)
    let steps = [(3, 0, 4), (7, 0, 11), (11, 0, 15), (15, 0, 19), (20, 0, 21), (27, 2, 31), (38, 3, 39)];
    for (so_far, bodies, need) in steps {
        assert_eq!(decoder.decode(&bytes[..so_far], INIT), Ok(None));
        assert_eq!(decoder.need, need, "after {so_far} bytes");
        assert_eq!(decoder.scan.bytes().saturating_sub(4) / 6, bodies, "after {so_far} bytes");
    }
    assert_eq!(decoder.decode(&bytes, INIT).unwrap().unwrap().1, bytes.len());
}

#[test]
fn line_is_searched_for_its_end_once() {
    let mut decoder = decoder();
    for so_far in 1..=5 {
        assert_eq!(decoder.decode(&b"PUB t\n"[..so_far], INIT), Ok(None));
        assert_eq!(decoder.searched, so_far);
    }
}

#[test]
fn decoder_starts_afresh_behind_each_command() {
    let bytes = b"MPUB t\n\0\0\0\x09\0\0\0\x01\0\0\0\x01aPUB t\n\0\0\0\x01bNOP\n";
    let mut decoder = decoder();
    let mut at = 0;
    let mut verbs = Vec::new();
    for end in 1..=bytes.len() {
        while let Some((command, taken)) = decoder.decode(&bytes[at..end], INIT).unwrap() {
            verbs.push(command.verb());
            at += taken;
        }
    }
    assert_eq!((verbs, at), (vec!["MPUB", "PUB", "NOP"], bytes.len()));
}
