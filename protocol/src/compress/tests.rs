//! Both forms of compression, cut anywhere, damaged anywhere, and against the readers and writers of their crates.

use std::io::{Read as _, Write as _};

use proptest::collection::vec;
use proptest::prelude::*;

use super::{CompressError, Decoder, Encoder};

/// What a session allows at a time.
const MAX: usize = 64 * 1024;

const KINDS: [fn() -> (Encoder, Decoder); 3] = [
    || (Encoder::snappy(), Decoder::snappy()),
    || (Encoder::deflate(6), Decoder::deflate()),
    || (Encoder::deflate(1), Decoder::deflate()),
];

/// All of `input`, in pieces that end at `cuts`; never more than `MAX` at a time.
fn decode(decoder: &mut Decoder, input: &[u8], cuts: &[usize]) -> Result<Vec<u8>, CompressError> {
    let mut all = Vec::new();
    let mut from = 0;
    for to in cuts.iter().copied().map(|cut| cut.min(input.len())).chain([input.len()]) {
        let mut piece = input.get(from..to).unwrap_or_default();
        from = from.max(to);
        loop {
            let mut out = Vec::new();
            let decoded = decoder.decode(piece, &mut out, MAX)?;
            assert!(out.len() <= MAX && out.capacity() <= 2 * MAX, "{} at a time", out.len());
            all.extend(out);
            piece = &piece[decoded.used..];
            if piece.is_empty() && !decoded.has_more {
                break;
            }
        }
    }
    Ok(all)
}

fn encode(encoder: &mut Encoder, pieces: &[Vec<u8>]) -> Vec<u8> {
    let mut out = Vec::new();
    pieces.iter().for_each(|piece| encoder.encode(piece, &mut out).unwrap());
    out
}

/// Bytes that compress well, and bytes that do not.
fn piece() -> impl Strategy<Value = Vec<u8>> {
    prop_oneof![
        vec(any::<u8>(), 0..2000),
        (any::<u8>(), 0..200_000_usize).prop_map(|(byte, count)| vec![byte; count]),
        vec(0..4_u8, 0..100_000),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn what_was_put_in_comes_out_however_the_stream_is_cut(
        pieces in vec(piece(), 1..4),
        mut cuts in vec(0..100_000_usize, 0..40),
    ) {
        cuts.sort_unstable();
        for kind in KINDS {
            let (mut encoder, mut decoder) = kind();
            let stream = encode(&mut encoder, &pieces);
            prop_assert!(decode(&mut decoder, &stream, &cuts).unwrap() == pieces.concat());
        }
    }

    #[test]
    fn garbage_and_damage_are_errors_or_other_bytes_but_never_a_panic(
        garbage in vec(any::<u8>(), 0..3000),
        piece in vec(any::<u8>(), 1..3000),
        at in any::<prop::sample::Index>(),
        flip in 1..=255_u8,
    ) {
        for kind in KINDS {
            let (mut encoder, mut decoder) = kind();
            let _ = decode(&mut decoder, &garbage, &[]);
            let mut stream = encode(&mut encoder, std::slice::from_ref(&piece));
            let _ = decode(&mut kind().1, &[stream.clone(), garbage.clone()].concat(), &[]);
            let at = at.index(stream.len());
            stream[at] ^= flip;
            let damaged = decode(&mut kind().1, &stream, &[]);
            if matches!(encoder, Encoder::Snappy(_)) {
                prop_assert!(damaged.is_err() || damaged.unwrap().len() < piece.len(), "it has checksums");
            }
        }
    }

    #[test]
    fn readers_and_writers_of_others_agree(piece in piece()) {
        let (mut encoder, mut decoder) = KINDS[0]();
        let mut theirs = snap::write::FrameEncoder::new(Vec::new());
        theirs.write_all(&piece).unwrap();
        prop_assert!(decode(&mut decoder, &theirs.into_inner().unwrap(), &[]).unwrap() == piece);
        let mut read = Vec::new();
        let ours = encode(&mut encoder, std::slice::from_ref(&piece));
        snap::read::FrameDecoder::new(&ours[..]).read_to_end(&mut read).unwrap();
        prop_assert!(read == piece);
    }
}

/// All zeros become a thousand times their size: what comes out at a time stays the same.
#[test]
fn a_bomb_is_given_out_in_small_pieces() {
    for kind in KINDS {
        let (mut encoder, mut decoder) = kind();
        let stream = encode(&mut encoder, &[vec![0; 32 << 20]]);
        assert!(stream.len() < 2 << 20, "{}", stream.len());
        assert_eq!(decode(&mut decoder, &stream, &[]).unwrap().len(), 32 << 20);
    }
}

#[test]
fn snappy_frames_are_judged_by_their_heads() {
    let check = |frames: &[u8], wanted: Result<&[u8], CompressError>| {
        let stream = [b"\xff\x06\x00\x00sNaPpY", frames].concat();
        let decoded = decode(&mut Decoder::snappy(), &stream, &[]);
        assert_eq!(decoded, wanted.map(<[u8]>::to_vec), "{frames:?}");
    };
    check(b"", Ok(b""));
    check(b"\xff\x06\x00\x00sNaPpY", Ok(b""));
    check(b"\xfe\x03\x00\x00abc", Ok(b""));
    check(b"\x80\x01\x00\x00a\xfe\x00\x00\x00", Ok(b""));
    // Padding may be as long as its length can say; nothing of it is kept.
    check(&[b"\xfe\xff\xff\xff".as_slice(), &vec![0; 0xff_ffff]].concat(), Ok(b""));
    check(b"\xff\x05\x00\x00sNaPp", Err(CompressError::FrameSize(5)));
    check(b"\xff\x06\x00\x00snappy", Err(CompressError::NoStreamIdentifier));
    check(b"\x02\x00\x00\x00", Err(CompressError::UnknownFrame(2)));
    check(b"\x7f\x00\x00\x00", Err(CompressError::UnknownFrame(0x7f)));
    check(b"\x01\x05\x00\x01", Err(CompressError::FrameSize(65541)));
    check(b"\x00\xff\xff\xff", Err(CompressError::FrameSize(0xff_ffff)));
    check(b"\x00\x03\x00\x00abc", Err(CompressError::FrameSize(3)));
    check(b"\x01\x05\x00\x00\0\0\0\0a", Err(CompressError::Checksum));
    check(b"\x00\x05\x00\x00\0\0\0\0\xff", Err(CompressError::Block));
    // A block that announces 64 KiB and a byte.
    check(b"\x00\x07\x00\x00\0\0\0\0\x81\x80\x04", Err(CompressError::FrameSize(65537)));
    assert_eq!(
        decode(&mut Decoder::snappy(), b"\xfe\x00\x00\x00", &[]),
        Err(CompressError::NoStreamIdentifier),
        "nothing comes before the identifier"
    );
}

#[test]
fn nothing_of_a_damaged_frame_of_snappy_comes_out() {
    let check = |frame: &[u8], wanted: CompressError| {
        let stream = [b"\xff\x06\x00\x00sNaPpY", frame].concat();
        let mut out = b"before".to_vec();
        assert_eq!(Decoder::snappy().decode(&stream, &mut out, MAX), Err(wanted));
        assert_eq!(out, b"before", "{frame:?}");
    };
    check(b"\x01\x08\x00\x00\0\0\0\0NOP\n", CompressError::Checksum);
    // Blocks of one literal, one with a wrong checksum and one that ends too early.
    check(b"\x00\x0a\x00\x00\0\0\0\0\x04\x0cNOP\n", CompressError::Checksum);
    check(b"\x00\x07\x00\x00\0\0\0\0\x04\x0cN", CompressError::Block);
    // A good frame before it was sent and counts.
    let mut stream = encode(&mut Encoder::snappy(), &[b"good".to_vec()]);
    stream.extend(b"\x01\x05\x00\x00\0\0\0\0x");
    let mut out = Vec::new();
    assert_eq!(Decoder::snappy().decode(&stream, &mut out, MAX), Err(CompressError::Checksum));
    assert_eq!(out, b"good");
}

#[test]
fn a_deflate_stream_that_its_writer_ended_is_over() {
    let mut writer = flate2::write::DeflateEncoder::new(Vec::new(), flate2::Compression::new(6));
    writer.write_all(b"last words").unwrap();
    let stream = writer.finish().unwrap();
    assert_eq!(decode(&mut Decoder::deflate(), &stream, &[]), Err(CompressError::Ended));
    let mut out = Vec::new();
    assert_eq!(Decoder::deflate().decode(&stream, &mut out, MAX), Err(CompressError::Ended));
    assert_eq!(out, b"last words", "they were sent before it ended");
}
