//! What follows the line of an MPUB, whole as HTTP has it and from a stream: both must find the same messages.

use std::time::Duration;

use protocol::{Command, Decoder, Limits, Messages, Phase, Stage};

use super::{Shape, Target};

pub(super) const TARGET: Target = Target { name: "mpub", run, seeds, words: WORDS };

const LIMITS: Limits = Limits {
    message_bytes_max: 200,
    body_bytes_max: 2000,
    ready_max: 1,
    requeue_max: Duration::from_secs(1),
    defer_max: Duration::from_secs(1),
    identify_bytes_max: 100,
    line_bytes_max: 100,
};

const WORDS: &[&[u8]] = &[
    b"\0\0\0\x01x",
    b"\0\0\0\x02xy",
    b"\0\0\0\0",
    b"\0\0\0\x03",
    b"\0\0\0\xc8",
    b"\0\0\0\xc9",
    b"\0\0\x01\x8f",
    b"\0\0\x07\xd0",
    b"\xff\xff\xff\xff",
];

fn seeds() -> Vec<Vec<u8>> {
    [1_u32, 2, 5, 20, 100, 399, 400]
        .iter()
        .flat_map(|count| {
            [1_usize, 3, 100, 200].map(|bytes| {
                let message = [&(bytes as u32).to_be_bytes(), b"m".repeat(bytes).as_slice()].concat();
                [&count.to_be_bytes(), message.repeat(*count as usize).as_slice()].concat()
            })
        })
        .collect()
}

fn run(input: &[u8]) -> Shape {
    let mut shape = Shape::default();
    let whole = Messages::parse(input, &LIMITS).map(|messages| judge(messages, &mut shape));
    if let Err(error) = &whole {
        shape.add_error(&error.to_string());
    }
    let stream = [b"MPUB t\n\0\0\0\x01", input].concat();
    let (mut decoder, stage) = (Decoder::new(LIMITS), Stage::new(Phase::Init));
    for end in (0..stream.len()).step_by(37).chain([stream.len()]) {
        match decoder.decode(stream.get(..end).unwrap_or_default(), stage) {
            Ok(None) => {}
            Ok(Some((Command::MultiPublish { messages, .. }, taken))) => {
                assert!(taken <= end, "took more than it was given");
                assert!(Ok(messages.map(<[u8]>::to_vec).collect()) == whole, "a stream gives other messages");
                return shape;
            }
            Ok(Some((command, _))) => panic!("not an MPUB: {command:?}"),
            Err(error) => {
                let same = whole.as_ref().is_err_and(|whole| whole.to_string() == error.to_string());
                assert!(same, "a stream is refused for another reason: {error}");
                return shape;
            }
        }
    }
    let missing = decoder.truncated(&stream, stage).map(|error| error.to_string());
    assert!(missing == whole.err().map(|error| error.to_string()), "its end is named otherwise");
    shape
}

fn judge(messages: Messages<'_>, shape: &mut Shape) -> Vec<Vec<u8>> {
    let (count, bytes) = (messages.len(), messages.body_bytes());
    let bodies: Vec<Vec<u8>> = messages.map(<[u8]>::to_vec).collect();
    assert!(bodies.len() == count, "another number of messages than it says");
    assert!(bodies.iter().map(Vec::len).sum::<usize>() == bytes, "other bytes than it says");
    let are_legal = bodies.iter().all(|body| (1..=LIMITS.message_bytes_max).contains(&body.len()));
    assert!(are_legal && bytes + 4 * count <= LIMITS.body_bytes_max, "beyond a limit");
    shape.add_amount(count);
    shape.add_amount(bytes);
    bodies
}
