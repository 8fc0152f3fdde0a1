//! Compressed streams, cut into pieces that the first byte of the input chooses. Snappy's frames have checksums, which
//! mutation would always break: where the first byte is odd they are made right again, so that what lies behind them
//! is reached too.

use protocol::compress::{CompressError, Decoder, Encoder};

use super::{Shape, Target, chosen};

pub(super) const SNAPPY: Target =
    Target { name: "snappy", run: run_snappy, seeds: seeds_snappy, words: FRAMES };
pub(super) const DEFLATE: Target =
    Target { name: "deflate", run: run_deflate, seeds: seeds_deflate, words: BLOCKS };

const FRAMES: &[&[u8]] = &[
    b"\xff\x06\x00\x00sNaPpY",
    b"\x00\x05\x00\x00",
    b"\x01\x05\x00\x00abcdx",
    b"\xfe\x03\x00\x00xyz",
    b"\x80\x00\x00\x00",
    b"\x02\x00\x00\x00",
    b"\xff\xff\xff\x00",
    b"\x04\x0cabcd",
    b"\xfe\x01\x00",
];

const BLOCKS: &[&[u8]] = &[
    b"\x00\x00\x00\xff\xff",
    b"\x01\x00\x00\xff\xff",
    b"\x00\x05\x00\xfa\xffhello",
    b"\x03\x00",
    b"\x4b\x04\x00",
    b"\xed\xc1\x01\x01\x00\x00\x00\x80\x90\xfe\xaf\xee",
];

/// The most a call may give, and the most that is looked at of one stream.
const CALL_BYTES_MAX: usize = 64 * 1024;
const STREAM_BYTES_MAX: usize = 1 << 20;

fn seeds_snappy() -> Vec<Vec<u8>> {
    seeds(Encoder::snappy)
}

fn seeds_deflate() -> Vec<Vec<u8>> {
    [1, 6, 9].into_iter().flat_map(|level| seeds(|| Encoder::deflate(level))).collect()
}

fn seeds(encoder: impl Fn() -> Encoder) -> Vec<Vec<u8>> {
    let texts: [Vec<u8>; 6] = [
        b"NOP\n".to_vec(),
        b"PUB t\n\0\0\0\x05hello".to_vec(),
        b"abcabcabcabcabc".repeat(40),
        (0..=255).cycle().take(3000).collect(),
        vec![0; 70_000],
        (0..4000_u32).map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8).collect(),
    ];
    let streams = texts.iter().map(|text| {
        let (mut encoder, mut out) = (encoder(), vec![0]);
        for piece in text.chunks(text.len().div_ceil(3)) {
            // An encoder that fails gives a short seed.
            let _ = encoder.encode(piece, &mut out);
        }
        out
    });
    streams
        .flat_map(|stream| [stream.clone(), [&[1], stream.get(1..).unwrap_or_default()].concat()])
        .collect()
}

fn run_snappy(input: &[u8]) -> Shape {
    let (choice, stream) = chosen(input);
    let stream = if choice & 1 == 1 { repaired(stream) } else { stream.to_vec() };
    there_and_back(&stream, Encoder::snappy(), Decoder::snappy());
    cut_or_whole(&stream, choice, Decoder::snappy)
}

fn run_deflate(input: &[u8]) -> Shape {
    let (choice, stream) = chosen(input);
    there_and_back(stream, Encoder::deflate(choice % 9 + 1), Decoder::deflate());
    cut_or_whole(stream, choice, Decoder::deflate)
}

/// Any bytes can be compressed, and come back.
fn there_and_back(bytes: &[u8], mut encoder: Encoder, decoder: Decoder) {
    let mut packed = Vec::new();
    let encoded = encoder.encode(bytes, &mut packed);
    assert!(encoded.is_ok(), "cannot compress: {encoded:?}");
    assert!(packed.len() <= bytes.len() + bytes.len() / 4 + 64, "compressing made it much longer");
    let (plain, end) = decoded(&packed, 0, decoder);
    assert!(end.is_ok() && plain == bytes, "what was compressed does not come back");
}

fn cut_or_whole(stream: &[u8], choice: u8, decoder: impl Fn() -> Decoder) -> Shape {
    let (whole, end) = decoded(stream, 0, decoder());
    let (pieces, end_of_pieces) = decoded(stream, u64::from(choice) + 1, decoder());
    let is_cut_off = whole.len().max(pieces.len()) > STREAM_BYTES_MAX;
    assert!(is_cut_off || end == end_of_pieces, "where the stream is cut changes how it ends");
    let is_same = if end.is_ok() && !is_cut_off {
        whole == pieces
    } else {
        whole.starts_with(&pieces) || pieces.starts_with(&whole)
    };
    assert!(is_same, "where the stream is cut changes what comes out");
    let mut shape = Shape::default();
    shape.add_amount(whole.len());
    shape.add_amount(stream.len());
    if let Err(error) = end {
        shape.add_error(&error.to_string());
    }
    shape
}

/// What comes out, up to a limit, and how it ended.
fn decoded(stream: &[u8], pieces: u64, mut decoder: Decoder) -> (Vec<u8>, Result<(), CompressError>) {
    let (mut out, mut at, mut end, mut round) = (Vec::new(), 0, 0, pieces);
    // Each call takes something, gives something, or is the last one for its piece.
    let mut calls_left = 3 * stream.len() + STREAM_BYTES_MAX / 1024 + 10;
    while end < stream.len() {
        round = round.wrapping_mul(0x5851_f42d_4c95_7f2d).wrapping_add(1);
        let step = if pieces == 0 { stream.len() } else { 1 + (round >> 59) as usize };
        end = (end + step).min(stream.len());
        loop {
            calls_left = calls_left.checked_sub(1).unwrap_or_else(|| panic!("it goes on without an end"));
            let (before, given) = (out.len(), stream.get(at..end).unwrap_or_default());
            let result = decoder.decode(given, &mut out, CALL_BYTES_MAX);
            assert!(out.len() - before <= CALL_BYTES_MAX, "more than it may give at a time");
            let done = match result {
                Ok(done) => done,
                Err(error) => return (out, Err(error)),
            };
            assert!(done.used <= given.len(), "took more than it was given");
            at += done.used;
            if out.len() > STREAM_BYTES_MAX {
                return (out, Ok(()));
            }
            if !done.has_more {
                break;
            }
        }
    }
    (out, Ok(()))
}

/// The stream with good checksums in its frames, as far as it is made of frames.
fn repaired(stream: &[u8]) -> Vec<u8> {
    let mut out = stream.to_vec();
    let mut at = 0;
    while let Some(&[kind, a, b, c]) = stream.get(at..).and_then(|rest| rest.first_chunk::<4>()) {
        let end = at + 4 + u32::from_le_bytes([a, b, c, 0]) as usize;
        let data = stream.get(at + 8..end).and_then(|body| match kind {
            0 if snap::raw::decompress_len(body).is_ok_and(|bytes| bytes <= CALL_BYTES_MAX) => {
                snap::raw::Decoder::new().decompress_vec(body).ok()
            }
            1 => Some(body.to_vec()),
            _ => None,
        });
        if let (Some(data), Some(place)) = (data, out.get_mut(at + 4..at + 8)) {
            let checksum = crc32c::crc32c(&data).rotate_right(15).wrapping_add(0xa282_ead8);
            place.copy_from_slice(&checksum.to_le_bytes());
        }
        at = end;
    }
    out
}
