//! The protocol of nsqlookupd, both ways: commands of brokers as nsqlookupd reads them, and answers as nsqd does.

use protocol::lookup::{LookupCommand, decode_reply};
use protocol::{DecodeError, decode_frame};

use super::{Shape, Target, chosen};

pub(super) const TARGET: Target = Target { name: "lookup", run, seeds, words: WORDS };

const WORDS: &[&[u8]] = &[
    b"IDENTIFY\n\0\0\0\x02{}",
    b"IDENTIFY\n",
    b"REGISTER t c\n",
    b"UNREGISTER t c\n",
    b"REGISTER ",
    b"PING\n",
    b"#ephemeral",
    b" ",
    b"\n",
    b"\r\n",
    b"\0\0\0\x06\0\0\0\0OK",
    b"\0\0\0\x02OK",
    b"\0\0\0\x20\0\0\0\x02",
];

fn seeds() -> Vec<Vec<u8>> {
    let files = harness::corpus::read("tests/corpus/lookupd");
    let inputs = files.iter().flat_map(|file| &file.cases).map(harness::corpus::Case::input);
    inputs.filter(|input| input.len() <= 6000).map(|input| [&[0], input.as_slice()].concat()).collect()
}

fn run(input: &[u8]) -> Shape {
    let (start, stream) = chosen(input);
    let mut shape = Shape::default();
    let mut is_identified = start & 1 == 1;
    let mut rest = stream;
    loop {
        match LookupCommand::decode(rest, is_identified) {
            Ok(None) => break,
            Ok(Some((command, taken))) => {
                assert!(0 < taken && taken <= rest.len(), "took more than it was given, or nothing");
                let mut bytes = Vec::new();
                command.encode(&mut bytes);
                let again = LookupCommand::decode(&bytes, is_identified);
                let is_same =
                    matches!(&again, Ok(Some((again, all))) if *again == command && *all == bytes.len());
                assert!(is_same, "written and read again it is another");
                shape.add(format!("{command:?}").split(' ').next().unwrap_or_default());
                is_identified |= matches!(command, LookupCommand::Identify { .. });
                rest = rest.get(taken..).unwrap_or_default();
            }
            Err(error) => {
                if let DecodeError::Reply { consumed, .. } = &error {
                    assert!(*consumed <= rest.len(), "an error took more than was given");
                }
                shape.add_error(&error.to_string());
                return shape;
            }
        }
    }
    if let Some(error) = LookupCommand::truncated(rest, is_identified) {
        shape.add_error(&error.to_string());
    }
    answers(stream, &mut shape);
    shape
}

fn answers(stream: &[u8], shape: &mut Shape) {
    match decode_reply(stream, 1000) {
        Ok(Some((data, taken))) => assert!(taken == data.len() + 4 && taken <= stream.len(), "a reply"),
        Ok(None) => {}
        Err(error) => shape.add_error(&error.to_string()),
    }
    match decode_frame(stream, 1000) {
        Ok(Some((_, taken))) => assert!(8 <= taken && taken <= stream.len(), "a frame"),
        Ok(None) => {}
        Err(error) => shape.add_error(&error.to_string()),
    }
}
