//! Folders of stock NSQ made byte by byte on a disk in memory: imported, killed while importing, damaged, exported.

mod crash;
mod home;
mod odd;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use daemon::shutdown::Shutdown;
use stock::{FileName, encode_record};
use storage::{Disk, FakeDisk};

use super::error::StockError;
use super::export::{ExportSettings, export};
use super::found::Found;
use super::merge::Messages as _;
use super::report::ImportReport;
use super::stream::Stream;
use super::takeover::{TakenOver, preview, take_over};
use super::{Settings, log_options};
use crate::record::Node;

const FOLDER: &str = "/data";
const LEGACY: &str = "/data/legacy-20261122T180652Z";

/// Bodies with attempts, sorted, by queue.
type Owed = BTreeMap<String, Vec<(String, u16)>>;

fn settings() -> Settings {
    Settings {
        node: Node::new(5),
        first_seq: 1 << 40,
        log: log_options(600, 1000),
        with_bad: false,
        message_bytes_max: 1000,
        stamp: "20261122T180652Z".to_owned(),
        stop: Shutdown::new(),
    }
}

/// The record of message `number` of a topic, as stock makes ids and times.
fn record(number: u64, attempts: u16, body: &[u8]) -> Vec<u8> {
    let ns = 1_700_000_000_000_000_000 + number * 1_000_000;
    let id = format!("{:016x}", ((ns >> 20) - 1_288_834_974_288) << 22 | number);
    let mut bytes = Vec::new();
    encode_record(&mut bytes, ns.cast_signed(), attempts, id.as_bytes().try_into().unwrap(), body).unwrap();
    bytes
}

/// Messages of these numbers, called after them.
fn records(numbers: impl IntoIterator<Item = u64>) -> Vec<u8> {
    numbers.into_iter().flat_map(|number| record(number, 0, number.to_string().as_bytes())).collect()
}

/// A disk with these files in the data folder, synced.
fn disk(files: &[(&str, &[u8])]) -> FakeDisk {
    let disk = FakeDisk::default();
    disk.create_dir(Path::new(FOLDER)).unwrap();
    for (name, bytes) in files {
        disk.put(&Path::new(FOLDER).join(name), bytes);
    }
    disk.sync_dir(Path::new("/")).unwrap();
    disk.sync_dir(Path::new(FOLDER)).unwrap();
    disk
}

/// Two topics as a clean end leaves them: channels at different places, a message in flight, pauses, a rolled file.
fn usual() -> Vec<(&'static str, Vec<u8>)> {
    let list = br#"{"topics":[{"name":"t","paused":true,"channels":[{"name":"a","paused":false},
        {"name":"b","paused":true},{"name":"idle","paused":false}]},
        {"name":"lone","paused":false,"channels":null}],"version":"1.3.0"}"#;
    let delivered_first = records(0..10);
    let place = format!("21\n0,{}\n1,351\n", delivered_first.len());
    vec![
        ("nsqd.dat", list.to_vec()),
        ("t:a.diskqueue.000000.dat", [delivered_first, records(10..20)].concat()),
        ("t:a.diskqueue.000001.dat", [records(20..30), record(3, 2, b"3")].concat()),
        ("t:a.diskqueue.meta.dat", place.into_bytes()),
        ("t:b.diskqueue.000004.dat", records(25..30)),
        ("t:b.diskqueue.meta.dat", b"5\n4,0\n4,160\n".to_vec()),
        ("t.diskqueue.000000.dat", records(30..33)),
        ("t.diskqueue.meta.dat", b"3\n0,0\n0,96\n".to_vec()),
        ("lone.diskqueue.000000.dat", records(0..4)),
        ("lone.diskqueue.meta.dat", b"4\n0,0\n0,124\n".to_vec()),
        ("lone.diskqueue.meta.dat.5577.tmp", b"4\n0,".to_vec()),
        ("notes.txt", b"not stock's".to_vec()),
    ]
}

fn usual_disk() -> FakeDisk {
    let files = usual();
    disk(&files.iter().map(|(name, bytes)| (*name, bytes.as_slice())).collect::<Vec<_>>())
}

/// What `usual` owes: the delivered ones are gone, the one in flight is not.
fn usual_owed() -> Owed {
    let mut a = named(10..30);
    a.insert(0, ("3".to_owned(), 2));
    owed_as(&[
        ("t:a", a),
        ("t:b", named(25..30)),
        ("t", named(30..33)),
        ("lone", named(0..4)),
        ("t:idle", Vec::new()),
    ])
}

fn named(numbers: std::ops::Range<u64>) -> Vec<(String, u16)> {
    numbers.map(|number| (number.to_string(), 0)).collect()
}

fn owed_as(queues: &[(&str, Vec<(String, u16)>)]) -> Owed {
    let full = queues.iter().filter(|(_, messages)| !messages.is_empty());
    full.map(|(name, messages)| {
        let mut messages = messages.clone();
        messages.sort();
        ((*name).to_owned(), messages)
    })
    .collect()
}

fn import(disk: &FakeDisk) -> Result<Option<ImportReport>, StockError> {
    import_with(disk, &settings())
}

fn import_with(disk: &FakeDisk, settings: &Settings) -> Result<Option<ImportReport>, StockError> {
    take_over(&shared(disk), Path::new(FOLDER), settings).map(|outcome| match outcome {
        TakenOver::Imported(report) => Some(report),
        TakenOver::Nothing | TakenOver::Completed => None,
    })
}

fn shared(disk: &FakeDisk) -> Arc<dyn Disk> {
    Arc::new(disk.clone())
}

/// What an imported folder owes, by way of an export.
fn owed(disk: &FakeDisk) -> Owed {
    let copy = disk.crash();
    let to = Path::new("/out");
    let settings = ExportSettings { log: log_options(600, 1000), file_bytes_max: 300, now_ns: 0 };
    export(&shared(&copy), Path::new(FOLDER), to, settings).unwrap();
    owed_by_stock(&copy, to)
}

/// What the folder of a stock nsqd owes.
fn owed_by_stock(disk: &FakeDisk, folder: &Path) -> Owed {
    let mut all = Owed::new();
    for name in Found::scan(disk, folder, true).unwrap().files {
        let Some(FileName::Place(queue)) = FileName::parse(&name) else { continue };
        let found = Found::scan(disk, folder, true).unwrap();
        let topic = found.topics.iter().find(|(name, _)| name.as_str() == queue.topic).unwrap().1;
        let files = match &queue.channel {
            None => &topic.queue.files,
            Some(channel) => {
                &topic.channels.iter().find(|(name, _)| name.as_str() == channel).unwrap().1.files
            }
        };
        let plan = files.plan(false);
        assert_eq!(plan.notes, [], "{queue}");
        let mut stream = Stream::new(&shared(disk), folder, queue.clone(), plan.parts, 100);
        let mut messages = Vec::new();
        while let Some(message) = stream.read_next().unwrap() {
            messages.push((String::from_utf8(message.body).unwrap(), message.attempts));
        }
        messages.sort();
        all.insert(queue.to_string(), messages);
    }
    all
}

fn files(disk: &FakeDisk) -> BTreeMap<PathBuf, Vec<u8>> {
    disk.files().into_iter().map(|path| (path.clone(), disk.content(&path).unwrap())).collect()
}

/// All of stock's files are in the legacy folder as they were, and nothing else is left of the import.
#[track_caller]
fn assert_tidy(disk: &FakeDisk, before: &[(&str, Vec<u8>)]) {
    for (name, bytes) in before {
        let folder = if *name == "notes.txt" { FOLDER } else { LEGACY };
        assert_eq!(disk.content(&Path::new(folder).join(name)).as_ref(), Some(bytes), "{name}");
    }
    let mut names: Vec<String> =
        disk.list(Path::new(FOLDER)).unwrap().into_iter().map(|entry| entry.name).collect();
    names.sort();
    assert_eq!(names, ["legacy-20261122T180652Z", "notes.txt", "nsqd.dat", "nsqube", "topics"]);
    let sentence = disk.content(&Path::new(FOLDER).join("nsqd.dat")).unwrap();
    let sentence = String::from_utf8(sentence).unwrap();
    assert!(sentence.contains("nsqd export") && sentence.contains("legacy-20261122T180652Z"), "{sentence}");
    assert!(stock::Metadata::parse(sentence.as_bytes()).is_err(), "a stock nsqd stops at it");
}

#[test]
fn each_queue_is_owed_after_an_import_what_it_was_owed_before() {
    let disk = usual_disk();
    let report = import(&disk).unwrap().unwrap();
    assert_eq!(owed(&disk), usual_owed());
    assert_tidy(&disk, &usual());
    assert_eq!((report.topics, report.queues.len(), report.messages()), (2, 5, 33));
    assert_eq!(report.stored, 28, "messages of both channels are stored once");
    assert_eq!(report.warnings(), Vec::<String>::new());
    assert!(import(&disk).unwrap().is_none(), "only once");
    assert_eq!(owed(&disk), usual_owed());
}

#[test]
fn pauses_and_idle_channels_survive_an_import_and_an_export() {
    let disk = usual_disk();
    import(&disk).unwrap();
    let settings = ExportSettings { log: log_options(600, 1000), file_bytes_max: 300, now_ns: 0 };
    export(&shared(&disk), Path::new(FOLDER), Path::new("/out"), settings).unwrap();
    let list = disk.content(Path::new("/out/nsqd.dat")).unwrap();
    assert_eq!(
        String::from_utf8(list).unwrap(),
        concat!(
            r#"{"topics":[{"name":"lone","paused":false,"channels":[]},{"name":"t","paused":true,"channels":["#,
            r#"{"name":"a","paused":false},{"name":"b","paused":true},{"name":"idle","paused":false}]}],"#,
            r#""version":"1.3.0"}"#
        )
    );
    let report = export(&shared(&disk), Path::new(FOLDER), Path::new("/out"), settings);
    assert!(matches!(report, Err(StockError::NotEmpty { .. })), "an export is never mixed with anything");
    let report = export(&shared(&disk), Path::new("/out"), Path::new("/out2"), settings);
    assert!(matches!(report, Err(StockError::NotOurs { .. })));
}

#[test]
fn a_preview_counts_what_an_import_does_and_changes_nothing() {
    let disk = usual_disk();
    let before = files(&disk);
    let dry = preview(&shared(&disk), Path::new(FOLDER), &settings()).unwrap().unwrap();
    assert_eq!(files(&disk), before);
    let real = import(&disk).unwrap().unwrap();
    assert_eq!(
        (dry.stored, dry.stored_bytes, dry.messages()),
        (real.stored, real.stored_bytes, real.messages())
    );
    let without_verdict = |report: &ImportReport| {
        let text = report.to_string();
        text.lines().take(5).collect::<Vec<_>>().join("\n")
    };
    assert_eq!(without_verdict(&dry), without_verdict(&real));
    assert!(dry.to_string().contains("would be imported: 33 messages of 2 topics and 3 channels"), "{dry}");
    assert!(preview(&shared(&disk), Path::new(FOLDER), &settings()).unwrap().is_none());
}
