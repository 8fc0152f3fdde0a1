//! Tables of protocol V1: commands, every error, and what a broker must say about itself.

use proptest::collection::vec;
use proptest::prelude::*;

use super::*;

fn decode(bytes: &[u8], is_identified: bool) -> Result<Option<(LookupCommand<'_>, usize)>, String> {
    LookupCommand::decode(bytes, is_identified).map_err(|error| error.to_string())
}

/// The command is read whole, and what follows it is left alone.
fn accepts(is_identified: bool, bytes: &[u8], expected: LookupCommand<'_>) {
    let followed = [bytes, b"PING\n"].concat();
    assert_eq!(decode(&followed, is_identified), Ok(Some((expected, bytes.len()))));
}

fn refuses(is_identified: bool, bytes: &[u8], expected: &str) {
    assert_eq!(decode(bytes, is_identified), Err(expected.to_owned()), "{}", bytes.escape_ascii());
}

fn topic() -> TopicName {
    TopicName::new("t").unwrap()
}

fn channel() -> Option<ChannelName> {
    Some(ChannelName::new("c").unwrap())
}

#[test]
fn every_command_is_read_and_written() {
    let cases: Vec<(bool, &[u8], LookupCommand<'_>)> = vec![
        (false, b"IDENTIFY\n\0\0\0\x02{}", LookupCommand::Identify { body: b"{}" }),
        (false, b"PING\n", LookupCommand::Ping),
        (true, b"PING\n", LookupCommand::Ping),
        (true, b"REGISTER t c\n", LookupCommand::Register { topic: topic(), channel: channel() }),
        (true, b"REGISTER t\n", LookupCommand::Register { topic: topic(), channel: None }),
        (true, b"UNREGISTER t c\n", LookupCommand::Unregister { topic: topic(), channel: channel() }),
        (true, b"UNREGISTER t\n", LookupCommand::Unregister { topic: topic(), channel: None }),
    ];
    for (is_identified, bytes, command) in cases {
        accepts(is_identified, bytes, command.clone());
        let mut out = Vec::new();
        command.encode(&mut out);
        assert_eq!(out, bytes);
    }
}

#[test]
fn lines_are_trimmed() {
    accepts(true, b"REGISTER t \r\n", LookupCommand::Register { topic: topic(), channel: None });
    accepts(true, b" \tPING\r\n", LookupCommand::Ping);
    accepts(true, b"REGISTER t  x\n", LookupCommand::Register { topic: topic(), channel: None });
}

#[test]
fn every_error_has_the_words_of_nsqlookupd() {
    refuses(false, b"FOO x\n", "E_INVALID invalid command FOO");
    refuses(false, b"\n", "E_INVALID invalid command ");
    refuses(true, b"IDENTIFY\n", "E_INVALID cannot IDENTIFY again");
    for verb in ["REGISTER", "UNREGISTER"] {
        let line = |params: &str| format!("{verb}{params}\n").into_bytes();
        refuses(false, &line(""), "E_INVALID client must IDENTIFY");
        refuses(true, &line(""), &format!("E_INVALID {verb} insufficient number of params"));
        refuses(true, &line(" "), &format!("E_INVALID {verb} insufficient number of params"));
        refuses(true, &line(" a$ c"), &format!("E_BAD_TOPIC {verb} topic name 'a$' is not valid"));
        refuses(true, &line("  c"), &format!("E_BAD_TOPIC {verb} topic name '' is not valid"));
        refuses(true, &line(" t c$"), &format!("E_BAD_CHANNEL {verb} channel name 'c$' is not valid"));
    }
}

#[test]
fn length_of_identify_is_judged_before_its_bytes_come() {
    refuses(false, b"IDENTIFY\n\xff\xff\xff\xff", "E_BAD_BODY IDENTIFY failed to read body size");
    refuses(false, b"IDENTIFY\n\0\x01\0\x01", "E_BAD_BODY IDENTIFY failed to read body");
    refuses(false, b"IDENTIFY\n\x7f\xff\xff\xff", "E_BAD_BODY IDENTIFY failed to read body");
    assert_eq!(decode(b"IDENTIFY\n\0\x01\0\0", false), Ok(None));
    accepts(false, b"IDENTIFY\n\0\0\0\0", LookupCommand::Identify { body: b"" });
}

#[test]
fn connection_that_ends_inside_identify_gets_its_error() {
    let cases: &[(&[u8], Option<&str>)] = &[
        (b"IDENTIFY\n\0\0\0", Some("E_BAD_BODY IDENTIFY failed to read body size")),
        (b"IDENTIFY\n\0\0\0\x02{", Some("E_BAD_BODY IDENTIFY failed to read body")),
        (b"IDENTIFY\n\0\0\0\x02{}", None),
        (b"IDENT", None),
        (b"", None),
    ];
    for (bytes, expected) in cases {
        let error = LookupCommand::truncated(bytes, false).map(|error| error.to_string());
        assert_eq!(error.as_deref(), *expected);
    }
}

#[test]
fn endless_line_is_cut_off() {
    let line = [b'x'; LINE_BYTES_MAX];
    assert_eq!(LookupCommand::decode(&line[1..], true), Ok(None));
    assert_eq!(LookupCommand::decode(&line, true), Err(DecodeError::LineTooLong));
}

#[test]
fn broker_says_where_it_is() {
    let body = concat!(
        r#"{"version":"1.3.0","tcp_port":4150,"http_port":4151,"hostname":"h","broadcast_address":"b","#,
        r#""topology_zone":"z","topology_region":"r"}"#
    );
    let info = PeerInfo::parse(body.as_bytes()).unwrap();
    assert_eq!((info.tcp_port, info.http_port, info.topology_zone.as_str()), (4150, 4151, "z"));
    assert_eq!(serde_json::to_string(&info).unwrap(), body);
}

#[test]
fn broker_with_http_off_may_register() {
    let body = r#"{"version":"1.3.0","tcp_port":4150,"http_port":0,"broadcast_address":"b","hostname":null}"#;
    let info = PeerInfo::parse(body.as_bytes()).unwrap();
    assert_eq!((info.http_port, info.hostname.as_str()), (0, ""));
}

#[test]
fn broker_nobody_could_reach_is_refused() {
    let whole = r#""version":"1.3.0","tcp_port":4150,"broadcast_address":"b""#;
    let changes = [r#","version":"""#, r#","tcp_port":0"#, r#","broadcast_address":"""#];
    for change in changes {
        let error = PeerInfo::parse(format!("{{{whole}{change}}}").as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "E_BAD_BODY IDENTIFY missing fields", "{change}");
    }
    for body in ["{}", "null", r#"{"version":null}"#] {
        let error = PeerInfo::parse(body.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "E_BAD_BODY IDENTIFY missing fields", "{body}");
    }
}

#[test]
fn broker_that_speaks_no_json_is_refused() {
    for body in ["", "x", "[]", r#"{"tcp_port":"4150"}"#, r#"{"tcp_port":65536}"#, r#"{"http_port":-1}"#] {
        let error = PeerInfo::parse(body.as_bytes()).unwrap_err();
        assert_eq!(error.to_string(), "E_BAD_BODY IDENTIFY failed to decode JSON body", "{body}");
    }
}

#[test]
fn lookupd_says_where_it_is() {
    let body =
        r#"{"broadcast_address":"b","hostname":"h","http_port":4161,"tcp_port":4160,"version":"1.3.0"}"#;
    let info: LookupdInfo = serde_json::from_str(body).unwrap();
    assert_eq!((info.http_port, info.tcp_port), (4161, 4160));
    assert_eq!(serde_json::to_string(&info).unwrap(), body);
    assert_eq!(serde_json::from_str::<LookupdInfo>("{}").unwrap(), LookupdInfo::default());
}

#[test]
fn answers_have_a_size_and_no_type() {
    let mut out = Vec::new();
    encode_reply(&mut out, b"OK");
    assert_eq!(out, b"\0\0\0\x02OK");
    out.push(b'x');
    assert_eq!(decode_reply(&out, 10), Ok(Some((&b"OK"[..], 6))));
    assert_eq!(decode_reply(&out[..5], 10), Ok(None));
    assert_eq!(decode_reply(&out, 1), Err(FrameError::TooBig { size: 2, max: 1 }));
}

#[test]
fn a_token_is_sent_only_where_there_is_one_and_never_shown() {
    let info = PeerInfo { version: "1.3.0".to_owned(), ..PeerInfo::default() };
    assert!(!serde_json::to_string(&info).unwrap().contains("auth_token"));
    let info = PeerInfo { auth_token: Secret("canary".to_owned()), ..info };
    assert!(serde_json::to_string(&info).unwrap().ends_with(r#","auth_token":"canary"}"#));
    assert!(!format!("{info:?}").contains("canary"));
}

#[test]
fn long_texts_are_cut_between_characters() {
    let long = "\u{20ac}".repeat(100);
    let body = format!(r#"{{"version":"1","tcp_port":1,"broadcast_address":"b","hostname":"{long}"}}"#);
    assert_eq!(PeerInfo::parse(body.as_bytes()).unwrap().hostname, "\u{20ac}".repeat(85));
}

/// Pieces a hostile or broken peer might send, good ones among them.
fn input() -> impl Strategy<Value = Vec<u8>> {
    let piece = prop_oneof![
        Just(b"PING\n".to_vec()),
        Just(b"IDENTIFY\n\0\0\0\x02{}".to_vec()),
        Just(b"REGISTER t c\r\n".to_vec()),
        Just(b"UNREGISTER t\n".to_vec()),
        Just(b"IDENTIFY\n\xff\xff\xff\xff".to_vec()),
        Just(b"\n".to_vec()),
        vec(any::<u8>(), 0..20),
        (0..LINE_BYTES_MAX + 9).prop_map(|length| vec![b'x'; length]),
    ];
    vec(piece, 0..12).prop_map(|pieces| pieces.concat())
}

/// What a session sees that reads `input` in these pieces.
fn session(input: &[u8], is_identified: bool, mut sizes: impl Iterator<Item = usize>) -> Vec<String> {
    let (mut seen, mut buf, mut rest) = (Vec::new(), Vec::new(), input);
    loop {
        match LookupCommand::decode(&buf, is_identified) {
            Ok(Some((command, used))) => {
                assert!((1..=buf.len()).contains(&used));
                seen.push(format!("{command:?}"));
                buf.drain(..used);
                continue;
            }
            Ok(None) => assert!(buf.len() < LINE_BYTES_MAX + 4 + IDENTIFY_BYTES_MAX),
            Err(error) => {
                seen.push(error.to_string());
                return seen;
            }
        }
        if rest.is_empty() {
            seen.push(format!("{:?}", LookupCommand::truncated(&buf, is_identified)));
            return seen;
        }
        let (piece, more) = rest.split_at(sizes.next().unwrap_or(1).clamp(1, rest.len()));
        buf.extend_from_slice(piece);
        rest = more;
    }
}

proptest! {
    #[test]
    fn garbage_is_the_same_however_it_is_cut(
        input in input(),
        is_identified: bool,
        sizes in vec(1..9000_usize, 1..40),
    ) {
        let whole = session(&input, is_identified, std::iter::repeat(usize::MAX));
        prop_assert_eq!(session(&input, is_identified, sizes.into_iter().cycle()), whole);
    }

    #[test]
    fn no_body_of_identify_is_more_than_an_error(body in vec(any::<u8>(), 0..200), text in "\\PC{0,80}") {
        let _any = PeerInfo::parse(&body);
        let _any = PeerInfo::parse(text.as_bytes());
        let _any = PeerInfo::parse(format!(r#"{{"hostname":{text},"tcp_port":{text}}}"#).as_bytes());
    }
}
