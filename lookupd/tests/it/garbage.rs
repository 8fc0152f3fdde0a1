//! What a peer may send to nsqlookupd without harm to anybody else: wrong, cut, endless and hostile bytes.

use crate::common::{Lookupd, about, start};

/// Sends `bytes` behind the magic on a connection of its own and expects this answer and then the end.
async fn check(lookupd: &Lookupd, bytes: &[u8], expected: &str) {
    let mut peer = lookupd.connect(b"  V1").await;
    peer.send(bytes).await;
    assert_eq!(peer.reply().await.as_deref(), Some(expected), "{}", bytes.escape_ascii());
    assert_eq!(peer.reply().await, None, "{}", bytes.escape_ascii());
}

async fn is_alive(lookupd: &Lookupd) {
    let mut broker = lookupd.broker("witness").await;
    assert_eq!(broker.ask("PING").await, "OK");
}

#[tokio::test]
async fn wrong_magic_is_refused() {
    let lookupd = start().await;
    for magic in [&b"  V2"[..], b"  V2IDENTIFY\n", b"GET / HTTP/1.1\r\nHost: x\r\n\r\n", b"\0\0\0\0"] {
        let mut peer = lookupd.connect(magic).await;
        assert_eq!(peer.reply().await.as_deref(), Some("E_BAD_PROTOCOL"), "{}", magic.escape_ascii());
        assert_eq!(peer.reply().await, None);
    }
    is_alive(&lookupd).await;
}

#[tokio::test]
async fn every_wrong_command_gets_its_error_and_the_end() {
    let lookupd = start().await;
    check(&lookupd, b"FOO\n", "E_INVALID invalid command FOO").await;
    check(&lookupd, b"REGISTER t\n", "E_INVALID client must IDENTIFY").await;
    check(&lookupd, b"UNREGISTER t c\n", "E_INVALID client must IDENTIFY").await;
    check(&lookupd, b"IDENTIFY\n\0\0\0\x02no", "E_BAD_BODY IDENTIFY failed to decode JSON body").await;
    check(&lookupd, b"IDENTIFY\n\0\0\0\x02{}", "E_BAD_BODY IDENTIFY missing fields").await;
    is_alive(&lookupd).await;
}

#[tokio::test]
async fn broker_with_wrong_names_is_refused_and_forgotten() {
    let lookupd = start().await;
    for (line, expected) in [
        ("REGISTER", "E_INVALID REGISTER insufficient number of params"),
        ("REGISTER a$", "E_BAD_TOPIC REGISTER topic name 'a$' is not valid"),
        ("REGISTER a b$", "E_BAD_CHANNEL REGISTER channel name 'b$' is not valid"),
        ("UNREGISTER a$ b", "E_BAD_TOPIC UNREGISTER topic name 'a$' is not valid"),
        ("IDENTIFY", "E_INVALID cannot IDENTIFY again"),
    ] {
        let mut broker = lookupd.broker("b1").await;
        assert_eq!(broker.ask("REGISTER fine").await, "OK");
        assert_eq!(broker.ask(line).await, expected);
        assert_eq!(broker.reply().await, None, "{line}");
        lookupd.until("/nodes", r#"{"producers":[]}"#).await;
    }
}

#[tokio::test]
async fn packet_with_a_negative_length_harms_nobody() {
    let lookupd = start().await;
    let mut broker = lookupd.broker("b1").await;
    check(&lookupd, b"IDENTIFY\n\xff\xff\xff\xff", "E_BAD_BODY IDENTIFY failed to read body size").await;
    check(&lookupd, b"IDENTIFY\n\x80\0\0\0", "E_BAD_BODY IDENTIFY failed to read body size").await;
    check(&lookupd, b"IDENTIFY\n\x7f\xff\xff\xff", "E_BAD_BODY IDENTIFY failed to read body").await;
    assert_eq!(broker.ask("PING").await, "OK");
}

#[tokio::test]
async fn cut_identify_is_answered() {
    let lookupd = start().await;
    for (bytes, expected) in [
        (&b"IDENTIFY\n\0\0"[..], Some("E_BAD_BODY IDENTIFY failed to read body size")),
        (b"IDENTIFY\n\0\0\0\x09{", Some("E_BAD_BODY IDENTIFY failed to read body")),
        (b"IDENT", None),
        (b"", None),
    ] {
        let mut peer = lookupd.connect(b"  V1").await;
        peer.send(bytes).await;
        assert_eq!(peer.cut().await.as_deref(), expected, "{}", bytes.escape_ascii());
    }
}

#[tokio::test]
async fn line_without_an_end_is_cut_off() {
    let lookupd = start().await;
    let mut peer = lookupd.connect(b"  V1").await;
    peer.send(&[b'a'; 8192]).await;
    assert_eq!(peer.reply().await, None);
    is_alive(&lookupd).await;
}

#[tokio::test]
async fn answers_before_an_error_are_sent_first() {
    let lookupd = start().await;
    let mut broker = lookupd.broker("b1").await;
    broker.send(b"PING\r\nREGISTER t\nFOO\nPING\n").await;
    for expected in ["OK", "OK", "E_INVALID invalid command FOO"] {
        assert_eq!(broker.reply().await.as_deref(), Some(expected));
    }
    assert_eq!(broker.reply().await, None);
}

#[tokio::test]
async fn bytes_one_by_one_are_the_same_commands() {
    let lookupd = start().await;
    let body = about("b1");
    let size = u32::try_from(body.len()).expect("short").to_be_bytes();
    let whole = [b"  V1PING\nIDENTIFY\n", &size[..], body.as_bytes(), b"REGISTER t c\n"].concat();
    let mut broker = lookupd.connect(b"").await;
    broker.stream.set_nodelay(true).expect("nodelay");
    for byte in whole {
        broker.send(&[byte]).await;
    }
    assert_eq!(broker.reply().await.as_deref(), Some("OK"));
    assert!(broker.reply().await.is_some_and(|reply| reply.starts_with('{')));
    assert_eq!(broker.reply().await.as_deref(), Some("OK"));
}
