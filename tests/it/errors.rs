//! Every error on the wire, to the letter: clients and dashboards match on these texts. One row per case; `check`
//! sends the bytes on a new connection and compares all that comes back.

use harness::{Frame, Nsqd, Peer};

/// What follows the magic, and all frames that come back. After the last one nsqd must close.
type Case<'a> = (&'a [u8], &'a [&'a str]);

const PUBLISH: &[Case<'_>] = &[
    (b"PUB\n", &["E_INVALID PUB insufficient number of parameters"]),
    (b"PUB a$b\n", &[r#"E_BAD_TOPIC PUB topic name "a$b" is not valid"#]),
    (b"PUB \n", &[r#"E_BAD_TOPIC PUB topic name "" is not valid"#]),
    (b"PUB a\"\\b\n", &[r#"E_BAD_TOPIC PUB topic name "a\"\\b" is not valid"#]),
    (b"PUB a\t\x01\xff\n", &[r#"E_BAD_TOPIC PUB topic name "a\t\x01\xff" is not valid"#]),
    (b"PUB a#ephemera\n", &[r#"E_BAD_TOPIC PUB topic name "a#ephemera" is not valid"#]),
    (b"PUB t\n\x00\x00\x00\x00", &["E_BAD_MESSAGE PUB invalid message body size 0"]),
    (b"PUB t\n\xff\xff\xff\xff", &["E_BAD_MESSAGE PUB invalid message body size -1"]),
    (b"PUB t\n\x00\x10\x00\x01", &["E_BAD_MESSAGE PUB message too big 1048577 > 1048576"]),
    (b"PUB t\n\x7f\xff\xff\xff", &["E_BAD_MESSAGE PUB message too big 2147483647 > 1048576"]),
    (b"PUB t\n\x00\x00\x00\x01xPUB\n", &["OK", "E_INVALID PUB insufficient number of parameters"]),
    (b"DPUB t\n", &["E_INVALID DPUB insufficient number of parameters"]),
    (b"DPUB a$b x\n", &[r#"E_BAD_TOPIC DPUB topic name "a$b" is not valid"#]),
    (b"DPUB t abc\n", &["E_INVALID DPUB could not parse timeout abc"]),
    (b"DPUB t -1\n", &["E_INVALID DPUB could not parse timeout -1"]),
    (b"DPUB t 3600001\n", &["E_INVALID DPUB timeout 3600001 out of range 0-3600000"]),
    (b"DPUB t 1\n\x00\x00\x00\x00", &["E_BAD_MESSAGE DPUB invalid message body size 0"]),
    (b"DPUB t 1\n\x00\x10\x00\x01", &["E_BAD_MESSAGE DPUB message too big 1048577 > 1048576"]),
    // nsqd: numbers wrap around at 64 bits and an empty one is 0.
    (b"DPUB t 18446744073709551617\n\x00\x00\x00\x01xX\n", &["OK", "E_INVALID invalid command X"]),
    (b"DPUB t \n\x00\x00\x00\x01xX\n", &["OK", "E_INVALID invalid command X"]),
];

const MULTI_PUBLISH: &[Case<'_>] = &[
    (b"MPUB\n", &["E_INVALID MPUB insufficient number of parameters"]),
    // nsqd: the code is doubled.
    (b"MPUB a$b\n", &[r#"E_BAD_TOPIC E_BAD_TOPIC MPUB topic name "a$b" is not valid"#]),
    (b"MPUB t\n\x00\x00\x00\x00", &["E_BAD_BODY MPUB invalid body size 0"]),
    (b"MPUB t\n\xff\xff\xff\xff", &["E_BAD_BODY MPUB invalid body size -1"]),
    (b"MPUB t\n\x00\x50\x00\x01", &["E_BAD_BODY MPUB body too big 5242881 > 5242880"]),
    (b"MPUB t\n\x00\x00\x00\x04\x00\x00\x00\x00", &["E_BAD_BODY MPUB invalid message count 0"]),
    (b"MPUB t\n\x00\x00\x00\x04\xff\xff\xff\xff", &["E_BAD_BODY MPUB invalid message count -1"]),
    (b"MPUB t\n\x00\x00\x00\x04\x00\x10\x00\x00", &["E_BAD_BODY MPUB invalid message count 1048576"]),
    (
        b"MPUB t\n\x00\x00\x00\x09\x00\x00\x00\x02\x00\x00\x00\x01x\x00\x00\x00\x00",
        &["E_BAD_MESSAGE MPUB invalid message(1) body size 0"],
    ),
    (
        b"MPUB t\n\x00\x00\x00\x08\x00\x00\x00\x01\xff\xff\xff\xfe",
        &["E_BAD_MESSAGE MPUB invalid message(0) body size -2"],
    ),
    (
        b"MPUB t\n\x00\x00\x00\x08\x00\x00\x00\x01\x00\x10\x00\x01",
        &["E_BAD_MESSAGE MPUB message too big 1048577 > 1048576"],
    ),
];

const SUBSCRIBE: &[Case<'_>] = &[
    (b"SUB\n", &["E_INVALID SUB insufficient number of parameters"]),
    (b"SUB t\n", &["E_INVALID SUB insufficient number of parameters"]),
    (b"SUB a$b c\n", &[r#"E_BAD_TOPIC SUB topic name "a$b" is not valid"#]),
    (b"SUB t a$b\n", &[r#"E_BAD_CHANNEL SUB channel name "a$b" is not valid"#]),
    (b"SUB t  c\n", &[r#"E_BAD_CHANNEL SUB channel name "" is not valid"#]),
    (b"SUB t c\nSUB t c\n", &["OK", "E_INVALID cannot SUB in current state"]),
    (b"SUB t c\nRDY -1\n", &["OK", "E_INVALID RDY could not parse count -1"]),
    (b"SUB t c\nRDY x\n", &["OK", "E_INVALID RDY could not parse count x"]),
    (b"SUB t c\nRDY 2501\n", &["OK", "E_INVALID RDY count 2501 out of range 0-2500"]),
    (b"SUB t c\nFIN\n", &["OK", "E_INVALID FIN insufficient number of params"]),
    (b"SUB t c\nFIN 0123456789abcde\n", &["OK", "E_INVALID invalid message ID"]),
    (b"SUB t c\nFIN 0123456789abcdef0\n", &["OK", "E_INVALID invalid message ID"]),
    (b"SUB t c\nREQ\n", &["OK", "E_INVALID REQ insufficient number of params"]),
    (b"SUB t c\nREQ 0123456789abcdef\n", &["OK", "E_INVALID REQ insufficient number of params"]),
    (b"SUB t c\nREQ 0123456789abcde 0\n", &["OK", "E_INVALID invalid message ID"]),
    (b"SUB t c\nREQ 0123456789abcdef x\n", &["OK", "E_INVALID REQ could not parse timeout x"]),
    (b"SUB t c\nTOUCH\n", &["OK", "E_INVALID TOUCH insufficient number of params"]),
    (b"SUB t c\nTOUCH 0123456789abcde\n", &["OK", "E_INVALID invalid message ID"]),
    (b"SUB t c\nCLS\nCLS\n", &["OK", "CLOSE_WAIT", "E_INVALID cannot CLS in current state"]),
    (b"SUB t c\nCLS\nSUB t c\n", &["OK", "CLOSE_WAIT", "E_INVALID cannot SUB in current state"]),
    (b"SUB t c\nCLS\nRDY 1\nX\n", &["OK", "CLOSE_WAIT", "E_INVALID invalid command X"]),
];

const STATE: &[Case<'_>] = &[
    (b"RDY 1\n", &["E_INVALID cannot RDY in current state"]),
    (b"FIN 0123456789abcdef\n", &["E_INVALID cannot FIN in current state"]),
    (b"REQ 0123456789abcdef 0\n", &["E_INVALID cannot REQ in current state"]),
    (b"TOUCH 0123456789abcdef\n", &["E_INVALID cannot TOUCH in current state"]),
    (b"CLS\n", &["E_INVALID cannot CLS in current state"]),
    // The state is looked at before the parameters.
    (b"RDY x\n", &["E_INVALID cannot RDY in current state"]),
    (b"FIN\n", &["E_INVALID cannot FIN in current state"]),
    (b"SUB t c\nIDENTIFY\n", &["OK", "E_INVALID cannot IDENTIFY in current state"]),
    (b"SUB t c\nAUTH\n", &["OK", "E_INVALID cannot AUTH in current state"]),
    (b"\n", &["E_INVALID invalid command "]),
    (b"HELLO\n", &["E_INVALID invalid command HELLO"]),
    (b"pub t\n", &["E_INVALID invalid command pub"]),
    (b" PUB t\n", &["E_INVALID invalid command "]),
];

const IDENTIFY_AND_AUTH: &[Case<'_>] = &[
    (b"IDENTIFY\n\x00\x00\x00\x00", &["E_BAD_BODY IDENTIFY invalid body size 0"]),
    (b"IDENTIFY\n\xff\xff\xff\xff", &["E_BAD_BODY IDENTIFY invalid body size -1"]),
    (b"IDENTIFY\n\x00\x50\x00\x01", &["E_BAD_BODY IDENTIFY body too big 5242881 > 5242880"]),
    (b"IDENTIFY\n\x00\x00\x00\x01x", &["E_BAD_BODY IDENTIFY failed to decode JSON body"]),
    (b"AUTH x\n", &["E_INVALID AUTH invalid number of parameters"]),
    (b"AUTH\n\x00\x00\x00\x00", &["E_BAD_BODY AUTH invalid body size 0"]),
    (b"AUTH\n\x00\x50\x00\x01", &["E_BAD_BODY AUTH body too big 5242881 > 5242880"]),
    (b"AUTH\n\x00\x00\x00\x01s", &["E_AUTH_DISABLED AUTH disabled"]),
];

/// The client stops sending in the middle of a command.
const CUT_SHORT: &[Case<'_>] = &[
    (b"PUB t\n", &["E_BAD_MESSAGE PUB failed to read message body size"]),
    (b"PUB t\n\x00\x00\x00", &["E_BAD_MESSAGE PUB failed to read message body size"]),
    (b"PUB t\n\x00\x00\x00\x02x", &["E_BAD_MESSAGE PUB failed to read message body"]),
    (b"DPUB t 1\n\x00", &["E_BAD_MESSAGE DPUB failed to read message body size"]),
    (b"DPUB t 1\n\x00\x00\x00\x02x", &["E_BAD_MESSAGE DPUB failed to read message body"]),
    (b"MPUB t\n\x00", &["E_BAD_BODY MPUB failed to read body size"]),
    (b"MPUB t\n\x00\x00\x00\x09\x00", &["E_BAD_BODY MPUB failed to read message count"]),
    (
        b"MPUB t\n\x00\x00\x00\x09\x00\x00\x00\x02\x00\x00\x00\x01x\x00",
        &["E_BAD_MESSAGE MPUB failed to read message(1) body size"],
    ),
    (
        b"MPUB t\n\x00\x00\x00\x09\x00\x00\x00\x01\x00\x00\x00\x02x",
        &["E_BAD_MESSAGE MPUB failed to read message body"],
    ),
    (b"IDENTIFY\n\x00", &["E_BAD_BODY IDENTIFY failed to read body size"]),
    (b"IDENTIFY\n\x00\x00\x00\x02{", &["E_BAD_BODY IDENTIFY failed to read body"]),
    (b"AUTH\n\x00", &["E_BAD_BODY AUTH failed to read body size"]),
    (b"AUTH\n\x00\x00\x00\x02s", &["E_BAD_BODY AUTH failed to read body"]),
    // Between commands or inside a line there is nothing to say.
    (b"PUB t\n\x00\x00\x00\x01x", &["OK"]),
    (b"NOP\nPU", &[]),
    (b"", &[]),
];

#[test]
fn publishing_errors_are_exact_and_fatal() {
    check(PUBLISH, Ending::ByServer);
}

#[test]
fn batch_errors_are_exact_and_fatal() {
    check(MULTI_PUBLISH, Ending::ByServer);
}

#[test]
fn subscription_errors_are_exact_and_fatal() {
    check(SUBSCRIBE, Ending::ByServer);
}

#[test]
fn state_errors_are_exact_and_fatal() {
    check(STATE, Ending::ByServer);
}

#[test]
fn identify_and_auth_errors_are_exact_and_fatal() {
    check(IDENTIFY_AND_AUTH, Ending::ByServer);
}

#[test]
fn a_command_cut_short_is_named() {
    check(CUT_SHORT, Ending::ByClient);
}

#[test]
fn names_are_legal_up_to_64_characters() {
    let nsqd = Nsqd::start();
    let longest = "n".repeat(64);
    let longest_ephemeral = format!("{}#ephemeral", "n".repeat(54));
    for name in ["a", "A.b-C_9", ".", longest.as_str(), longest_ephemeral.as_str()] {
        nsqd.peer().publish(name, "x");
        nsqd.peer().subscribe(name, name);
    }
    for name in ["n".repeat(65), format!("{}#ephemeral", "n".repeat(55)), "#ephemeral".to_owned()] {
        let mut peer = nsqd.peer();
        peer.line_and_body(&format!("PUB {name}"), b"x");
        peer.expect_error(&format!("E_BAD_TOPIC PUB topic name \"{name}\" is not valid"));
        let mut peer = nsqd.peer();
        peer.line(&format!("SUB t {name}"));
        peer.expect_error(&format!("E_BAD_CHANNEL SUB channel name \"{name}\" is not valid"));
    }
}

#[test]
fn answers_for_unknown_messages_fail_without_ending_the_connection() {
    let nsqd = Nsqd::start();
    let mut peer = nsqd.peer();
    peer.subscribe("t", "ch");
    for id in ["0123456789abcdef", "ABCDEFGHIJKLMNOP", "................"] {
        peer.line(&format!("FIN {id}"));
        peer.expect_error(&format!("E_FIN_FAILED FIN {id} failed ID not in flight"));
        peer.line(&format!("REQ {id} 1"));
        peer.expect_error(&format!("E_REQ_FAILED REQ {id} failed ID not in flight"));
        peer.line(&format!("TOUCH {id}"));
        peer.expect_error(&format!("E_TOUCH_FAILED TOUCH {id} failed ID not in flight"));
    }
    peer.publish("t", "x");
}

#[test]
fn another_protocol_is_refused_by_name() {
    let nsqd = Nsqd::start();
    for magic in [b"  V1", b"  V3", b"GET ", b"\x16\x03\x01\x02"] {
        let mut peer = Peer::connect_silent(nsqd.tcp());
        peer.send(magic);
        peer.expect_error("E_BAD_PROTOCOL");
        peer.expect_closed();
    }
}

#[test]
fn limits_given_as_options_show_in_the_errors() {
    let nsqd = Nsqd::with(&["--max-msg-size=10", "--max-body-size=100"]);
    let mut peer = nsqd.peer();
    peer.publish("t", "0123456789");
    peer.line_and_body("PUB t", b"0123456789a");
    peer.expect_error("E_BAD_MESSAGE PUB message too big 11 > 10");
    let mut peer = nsqd.peer();
    peer.line("MPUB t");
    peer.send(&101_u32.to_be_bytes());
    peer.expect_error("E_BAD_BODY MPUB body too big 101 > 100");
}

/// Who ends the connection.
#[derive(Clone, Copy)]
enum Ending {
    ByServer,
    ByClient,
}

fn check(cases: &[Case<'_>], ending: Ending) {
    let nsqd = Nsqd::start();
    let mut wrong = Vec::new();
    for (script, wanted) in cases {
        let mut peer = nsqd.peer();
        peer.send(script);
        if matches!(ending, Ending::ByClient) {
            peer.send_nothing_more();
        }
        let seen = frames_until_closed(&mut peer);
        if seen != *wanted {
            wrong.push(format!("{}\n  wanted {wanted:?}\n  got    {seen:?}", script.escape_ascii()));
        }
    }
    assert!(wrong.is_empty(), "{} of {} cases:\n{}", wrong.len(), cases.len(), wrong.join("\n"));
}

fn frames_until_closed(peer: &mut Peer) -> Vec<String> {
    let mut seen = Vec::new();
    loop {
        match peer.receive_within(std::time::Duration::from_secs(20)) {
            Some(Frame::Response(text) | Frame::Error(text)) => seen.push(text),
            Some(Frame::Message(message)) => seen.push(format!("message {message:?}")),
            Some(Frame::Closed) => return seen,
            None => {
                seen.push("(nothing for 20 s, and the connection is open)".to_owned());
                return seen;
            }
        }
    }
}
