//! The decoder of protocol V2, driven as a session drives it: stages change with the commands, and bytes come in
//! pieces. The first byte of the input chooses the pieces, the second how the session starts.

use std::time::Duration;

use protocol::{Command, DecodeError, Decoder, Identify, IdentifyLimits, Limits, Phase, Stage};

use super::{Shape, Target, chosen};

pub(super) const TARGET: Target = Target { name: "commands", run, seeds, words: WORDS };

/// Small, so that mutation comes near them.
const LIMITS: Limits = Limits {
    message_bytes_max: 60,
    body_bytes_max: 300,
    ready_max: 2500,
    requeue_max: Duration::from_secs(3600),
    defer_max: Duration::from_secs(3600),
    identify_bytes_max: 200,
    line_bytes_max: 400,
};

const WORDS: &[&[u8]] = &[
    b"PUB t\n",
    b"PUB ",
    b"MPUB t\n",
    b"DPUB t 1\n",
    b"SUB t c\n",
    b"IDENTIFY\n",
    b"AUTH\n",
    b"RDY 1\n",
    b"FIN 0123456789abcdef\n",
    b"FIN ",
    b"REQ 0123456789abcdef 1\n",
    b"REQ ",
    b"TOUCH 0123456789abcdef\n",
    b"CLS\n",
    b"NOP\n",
    b"NOP\r\n",
    b"\0\0\0\x01x",
    b"\0\0\0\x02{}",
    b"\0\0\0\x19{\"heartbeat_interval\":-1}",
    b"\0\0\0\x09\0\0\0\x01\0\0\0\x01x",
    b"#ephemeral",
    b" ",
    b"\n",
];

/// The input of every case of the wire corpus, in one piece.
fn seeds() -> Vec<Vec<u8>> {
    let files = harness::corpus::read("tests/corpus/wire");
    let inputs = files.iter().flat_map(|file| &file.cases).map(harness::corpus::Case::input);
    inputs.filter(|input| input.len() <= 4096).map(|input| [&[0, 0], input.as_slice()].concat()).collect()
}

fn run(input: &[u8]) -> Shape {
    let (pieces, input) = chosen(input);
    let (start, stream) = chosen(input);
    let stage = Stage {
        phase: match start & 3 {
            2 => Phase::Subscribed,
            3 => Phase::Closing,
            _ => Phase::Init,
        },
        heartbeats_off: start & 4 != 0,
        tls_pending: start & 0x70 == 0x70,
    };
    let (whole, shape) = read(stream, stage, 0);
    let (cut, _) = read(stream, stage, u64::from(pieces) + 1);
    assert!(whole == cut, "where the stream is cut changes what is read: {pieces}");
    shape
}

/// All that the stream says, and how it ended.
fn read(stream: &[u8], mut stage: Stage, pieces: u64) -> (Vec<String>, Shape) {
    let mut decoder = Decoder::new(LIMITS);
    let (mut seen, mut shape) = (Vec::new(), Shape::default());
    let (mut at, mut end, mut round) = (0, 0, pieces);
    while end < stream.len() {
        round = round.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let step = if pieces == 0 { stream.len() } else { 1 + (round >> 60) as usize };
        end = (end + step).min(stream.len());
        loop {
            let buffer = stream.get(at..end).unwrap_or_default();
            match decoder.decode(buffer, stage) {
                Ok(None) => break,
                Ok(Some((command, taken))) => {
                    assert!(0 < taken && taken <= buffer.len(), "took more than it was given, or nothing");
                    stage = after(&command, stage);
                    shape.add(command.verb());
                    seen.push(again(&command));
                    at += taken;
                }
                Err(error) => {
                    shape.add_error(&error.to_string());
                    seen.push(ended(error, buffer.len()));
                    return (seen, shape);
                }
            }
        }
    }
    let rest = stream.get(at..).unwrap_or_default();
    if let Some(error) = decoder.truncated(rest, stage) {
        shape.add_error(&error.to_string());
        seen.push(error.to_string());
    }
    (seen, shape)
}

/// What the session would be after this command.
fn after(command: &Command<'_>, mut stage: Stage) -> Stage {
    match command {
        Command::Subscribe { .. } => stage.phase = Phase::Subscribed,
        Command::Close => stage.phase = Phase::Closing,
        Command::Identify { body } => {
            if let Ok(identify) = Identify::parse(body, &IdentifyLimits::default()) {
                stage.heartbeats_off = identify.heartbeat.interval(Duration::from_secs(30)).is_none();
            }
            stage.tls_pending = false;
        }
        _ => {}
    }
    stage
}

/// The command as text; written and read again it is the same.
fn again(command: &Command<'_>) -> String {
    let shown = format!("{command:?}");
    if ends_in_return(command) {
        return shown;
    }
    let mut bytes = Vec::new();
    command.encode(&mut bytes);
    let phase = match command {
        Command::Ready { .. }
        | Command::Finish { .. }
        | Command::Requeue { .. }
        | Command::Touch { .. }
        | Command::Close => Phase::Subscribed,
        _ => Phase::Init,
    };
    let mut decoder = Decoder::new(LIMITS);
    let decoded = decoder.decode(&bytes, Stage::new(phase));
    let Ok(Some((decoded, taken))) = decoded else { panic!("what was written cannot be read: {decoded:?}") };
    assert!(format!("{decoded:?}") == shown && taken == bytes.len(), "written and read again it is another");
    shown
}

/// An id may end in `\r` where parameters follow that nobody reads (`FIN 0123456789abcde\r x`). Written without
/// them it stands at the end of the line, where the wire takes the `\r` away. Brokers never give such an id.
fn ends_in_return(command: &Command<'_>) -> bool {
    matches!(command, Command::Finish { id } | Command::Touch { id } if id.as_bytes().ends_with(b"\r"))
}

fn ended(error: DecodeError, buffered: usize) -> String {
    if let DecodeError::Reply { error, consumed } = &error {
        assert!(*consumed <= buffered, "an error took more than was given");
        // Each byte of a line may become an escape of four, or a mark of three.
        assert!(error.text.len() <= 4 * LIMITS.line_bytes_max + 200, "an error longer than its cause");
    }
    error.to_string()
}
