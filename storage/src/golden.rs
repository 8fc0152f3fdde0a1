//! The formats as they were first released: what stands here must open for ever, and is what version 1 writes.
//! A change of a format is a new version next to this one, never an edit of these bytes.

use std::path::Path;
use std::sync::Arc;

use crate::chunk::Read;
use crate::disk::Disk;
use crate::fake_disk::FakeDisk;
use crate::log::Position;
use crate::record::{self, Seed};
use crate::segment::Segment;
use crate::{DataDir, Entry, Journal, Log, LogOptions};

const BASE: Position = Position { seq: 1 << 50, offset: 4096, ordinal: 77 };
const SEGMENT: Segment = Segment { base: BASE, incarnation: 0x0123_4567_89ab_cdef };

/// The header of a segment in a folder called `t`: stands at 0 and again at 4160.
const HEADER: &str = "\
    4e535142456c6f670100000032dde5bdefcdab8967452301001000000000000000000000000004004d00000000000000 \
    43907fe4000000000000000000000000";

/// The records behind it: a batch of "hello" and "".
const RECORDS: &str = "\
    2eb3e5a40500000000000000000004000100000168656c6c6fe2b12b8100000000010000000000040000000000";

/// One of each entry, see `entries`.
const JOURNAL: &str = "\
    4e535142456a6e6c0100000033f9640443907fe400000000000000000000000001000000118020460e1900000022fd67 \
    8d01ac02808080808080800280808080808080d804056d61696c0b0000004261b3b301ad0201ac0205676f6e65030000 \
    003a9c201302ad020400000089a4091d03ac020102000000fdb7c8d304010500000070a27c3705098c15050d00000098 \
    cc9b4b06ac02838080808080800288270f000000c66d45d107ac028580808080808002040b98020b0000004db6fedb08 \
    ac02908380808080800210000000123eb92d09ac028a808080808080029423ffff03180000009a7d8a610aac028b8080 \
    8080808002f82302ffffffffffffffffff01270000000bc634e50bac02f483808080808002f0938980808080d80405d8 \
    84808080808002a0fe8a80808080d804050e000000de7fdffd0fac02ad82808080808002310a0113000000016bf37f10 \
    808080808080800280808080808080d804050200000036be77281102010000008b4e88970d";

/// The mark of a data directory.
const MARK: &str = "4e53514245646972010000004dd12929";

fn bytes(hex: &str) -> Vec<u8> {
    let digits: Vec<u32> = hex.chars().filter_map(|digit| digit.to_digit(16)).collect();
    digits.chunks(2).map(|pair| (pair[0] * 16 + pair[1]) as u8).collect()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Whether two hex texts are the same bytes, line breaks aside.
fn check(written: &[u8], golden: &str) {
    assert_eq!(hex(written), hex(&bytes(golden)));
}

fn entries(journal: &mut Journal) {
    let at = |seq| Position { seq, offset: seq * 300, ordinal: 5 };
    for entry in [
        Entry::Opened,
        Entry::CursorOpened { id: 300, name: "mail", at: at(BASE.seq) },
        Entry::CursorOpened { id: 301, name: "gone", at: at(1) },
        Entry::CursorClosed { id: 301 },
        Entry::CursorPaused { id: 300, is_paused: true },
        Entry::Paused { is_paused: true },
        Entry::Visible { at: at(9) },
        Entry::Floor { id: 300, seq: BASE.seq + 3, offset: 5000 },
        Entry::Finished { id: 300, ranges: &[BASE.seq + 5..BASE.seq + 9, BASE.seq + 20..BASE.seq + 300] },
        Entry::Delivered { id: 300, seq: BASE.seq + 400 },
        Entry::Pending { id: 300, seq: BASE.seq + 10, offset: 4500, attempts: 65_535, due_ns: None },
        Entry::Pending { id: 300, seq: BASE.seq + 11, offset: 4600, attempts: 2, due_ns: Some(-1) },
        Entry::Skipped { id: 300, from: at(BASE.seq + 500), to: at(BASE.seq + 600) },
        Entry::Untouched {
            id: 300,
            ranges: &[BASE.seq + 301..BASE.seq + 350, BASE.seq + 360..BASE.seq + 361],
        },
        Entry::Synced { at: at(BASE.seq) },
        Entry::Durability { level: 2 },
        Entry::Closed,
    ] {
        journal.note(entry);
    }
}

#[test]
fn a_log_of_version_1_opens_and_is_what_this_version_writes() {
    let mut written = SEGMENT.header(Path::new("/t"));
    let mut offset = BASE.offset;
    for (index, payload) in ["hello", ""].into_iter().enumerate() {
        let mut bytes = [[0; record::HEADER_BYTES].as_slice(), payload.as_bytes()].concat();
        let seed = Seed { incarnation: SEGMENT.incarnation, offset };
        let flags = if index == 0 { record::FIRST } else { 0 };
        record::seal(&mut bytes, BASE.seq + index as u64, (flags, 1 - index as u32), seed);
        offset += bytes.len() as u64;
        written.extend_from_slice(&bytes);
    }
    let mut golden = bytes(HEADER);
    golden.resize(4160, 0);
    golden.extend([bytes(HEADER), bytes(RECORDS)].concat());
    assert!(written == golden, "{}\n{}", hex(&written[..64]), hex(&written[4224..]));

    let disk = FakeDisk::default();
    let dir = Path::new("/t");
    disk.create_dir(dir).unwrap();
    disk.put(&SEGMENT.path(dir), &golden);
    let (log, recovered) = Log::open(Arc::new(disk), dir, LogOptions::default(), 0).unwrap();
    assert_eq!((recovered.records, recovered.torn_bytes, log.start()), (2, 0, BASE));
    let chunk = log.reader(BASE.offset).unwrap().read(1000).unwrap();
    let Read::Record(first) = chunk.record_at(BASE.offset) else { panic!("no record") };
    assert_eq!((first.seq, first.left, first.payload), (BASE.seq, 1, b"hello".as_slice()));
    let Read::Record(second) = chunk.record_at(first.next) else { panic!("no record") };
    assert_eq!((second.seq, second.left, second.payload), (BASE.seq + 1, 0, b"".as_slice()));
}

#[test]
fn a_journal_of_version_1_opens_and_is_what_this_version_writes() {
    let disk = FakeDisk::default();
    let dir = Path::new("/t");
    disk.create_dir(dir).unwrap();
    let (mut journal, _) = Journal::open(Arc::new(disk.clone()), dir).unwrap();
    entries(&mut journal);
    journal.flush().unwrap();
    check(&disk.content(&dir.join("journal")).unwrap(), JOURNAL);

    disk.put(&dir.join("journal"), &bytes(JOURNAL));
    let (_, state) = Journal::open(Arc::new(disk), dir).unwrap();
    assert_eq!(&state, journal.state());
    assert_eq!((state.is_clean, state.next_cursor, state.cursors[&300].pending.len()), (true, 302, 2));
}

#[test]
fn a_data_directory_of_version_1_opens_and_is_what_this_version_writes() {
    let disk = FakeDisk::default();
    DataDir::open(Arc::new(disk.clone()), Path::new("/d")).unwrap();
    check(&disk.content(Path::new("/d/nsqube")).unwrap(), MARK);
}
