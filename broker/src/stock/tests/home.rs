//! Exports of what only our logs and journals know: deferrals, deliveries, gaps, damage.

use queue::WallTime;
use storage::{DataDir, Entry, Journal, Log, Position};

use super::super::report::ExportReport;
use super::*;
use crate::record;

const NOW_NS: i64 = 1_000;
const LATER: WallTime = WallTime(2_000);

/// A topic `t` of ours with these messages, in order; some of them deferred in their records.
fn ours(messages: &[(&str, Option<WallTime>)]) -> (FakeDisk, PathBuf, Vec<Position>) {
    let disk = FakeDisk::default();
    let dir = DataDir::open(shared(&disk), Path::new(FOLDER)).unwrap();
    let folder = dir.create("t").unwrap();
    let (mut log, _) = Log::open(shared(&disk), &folder, log_options(300, 1000), 100).unwrap();
    let mut places = Vec::new();
    for (body, due) in messages {
        places.push(log.tail());
        log.append(0, |_, out| record::write(out, Node::new(5), 7, *due, body.as_bytes()));
        log.commit().unwrap();
    }
    places.push(log.tail());
    (disk, folder, places)
}

fn note(disk: &FakeDisk, folder: &Path, entries: &[Entry<'_>]) {
    let (mut journal, _) = Journal::open(shared(disk), folder).unwrap();
    entries.iter().for_each(|entry| journal.note(*entry));
    journal.flush().unwrap();
}

fn exported(disk: &FakeDisk) -> (Owed, ExportReport) {
    let to = Path::new("/out");
    let settings = ExportSettings { log: log_options(300, 1000), file_bytes_max: 80, now_ns: NOW_NS };
    let report = export(&shared(disk), Path::new(FOLDER), to, settings).unwrap();
    (owed_by_stock(disk, to), report)
}

#[test]
fn each_channel_takes_home_what_it_has_not_finished_with_its_attempts() {
    let bodies = ["a", "b", "c", "d", "e", "f"];
    let (disk, folder, at) = ours(&bodies.map(|body| (body, (body == "e").then_some(LATER))));
    let (id, seq) = (0, |index: usize| at[index].seq);
    let finished = seq(2)..seq(3);
    note(
        &disk,
        &folder,
        &[
            Entry::CursorOpened { id, name: "c", at: at[0] },
            Entry::Delivered { id, seq: seq(4) },
            Entry::Pending { id, seq: seq(1), offset: at[1].offset, attempts: 3, due_ns: Some(LATER.0) },
            Entry::Finished { id, ranges: std::slice::from_ref(&finished) },
            Entry::Floor { id, seq: seq(1), offset: at[1].offset },
            Entry::CursorOpened { id: 1, name: "late", at: at[5] },
            Entry::CursorOpened { id: 2, name: "skipping", at: at[3] },
            Entry::Skipped { id: 2, from: at[4], to: at[6] },
            Entry::Closed,
        ],
    );
    let (owed, report) = exported(&disk);
    let message = |body: &str, attempts| (body.to_owned(), attempts);
    let c = vec![message("b", 3), message("d", 1), message("e", 0), message("f", 0)];
    let (late, skipping) = (vec![message("f", 0)], vec![message("d", 0)]);
    assert_eq!(owed, owed_as(&[("t:c", c), ("t:late", late), ("t:skipping", skipping)]));
    let text = report.to_string();
    assert!(text.contains("2 deferred messages are due at once"), "{text}");
    assert!(text.contains("exported: 6 messages of 1 topics and 3 channels to /out"), "{text}");
}

/// Flip a bit of the first place in a file where `text` stands.
fn flip(disk: &FakeDisk, path: &Path, text: &[u8]) {
    let mut bytes = disk.content(path).unwrap();
    let at = bytes.windows(text.len()).position(|window| window == text).unwrap();
    bytes[at] ^= 1;
    disk.put(path, &bytes);
}

#[test]
fn what_is_damaged_is_left_out_and_told() {
    let (disk, folder, at) = ours(&["first", "second", "third"].map(|body| (body, None)));
    note(&disk, &folder, &[Entry::CursorOpened { id: 0, name: "c", at: at[0] }, Entry::Closed]);
    let owed_of_c = |bodies: &[&str]| {
        owed_as(&[("t:c", bodies.iter().map(|body| ((*body).to_owned(), 0)).collect::<Vec<_>>())])
    };
    let (owed, report) = exported(&disk.crash());
    assert_eq!(owed, owed_of_c(&["first", "second", "third"]));
    assert!(!report.to_string().contains("note: "), "{report}");
    flip(&disk, &folder.join("00000000000000000000.log"), b"second");
    let (owed, report) = exported(&disk);
    assert_eq!(owed, owed_of_c(&["first", "third"]));
    assert!(report.to_string().contains("note: "), "{report}");
}

#[test]
fn a_damaged_journal_is_told() {
    let (disk, folder, at) = ours(&[("a", None)]);
    note(&disk, &folder, &[Entry::CursorOpened { id: 0, name: "channel", at: at[0] }, Entry::Closed]);
    flip(&disk, &folder.join("journal"), b"channel");
    let text = exported(&disk).1.to_string();
    assert!(text.contains("note: t: its journal is damaged"), "{text}");
}
