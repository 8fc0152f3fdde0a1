//! Folders that are not as stock leaves them after a clean end, or not only stock's.

use storage::DataDir;

use super::*;

/// Import these files, and what each queue is owed then.
fn imported(files: &[(&str, &[u8])], settings: &Settings) -> (Owed, ImportReport) {
    let disk = disk(files);
    let report = import_with(&disk, settings).unwrap().unwrap();
    (owed(&disk), report)
}

fn place(text: &str) -> Vec<u8> {
    text.as_bytes().to_vec()
}

/// As if the next start had unpaused the world: a topic's own messages are its channels' too.
fn channel_of_t(numbers: std::ops::Range<u64>) -> Owed {
    owed_as(&[("t:c", named(numbers))])
}

#[test]
fn places_that_are_missing_torn_or_behind_lose_nothing() {
    let data = records(0..10);
    for (text, expected, note) in [
        (None, 0..10, "no meta.dat"),
        (Some("10\n0,"), 0..10, "cannot be read"),
        (Some("2\n0,0\n0,60\n"), 0..10, "meta.dat is behind"),
        (Some("10\n0,93\n0,310\n"), 3..10, ""),
        (Some("-99\n0,93\n0,310\n"), 3..10, ""),
    ] {
        let text = text.map(place);
        let mut files: Vec<(&str, &[u8])> = vec![("t:c.diskqueue.000000.dat", &data)];
        files.extend(text.iter().map(|text| ("t:c.diskqueue.meta.dat", text.as_slice())));
        let (owed, report) = imported(&files, &settings());
        assert_eq!(owed, channel_of_t(expected), "{text:?}");
        let warnings = report.warnings();
        assert!(warnings.iter().any(|line| line.contains(note)), "{note}: {warnings:?}");
        assert_eq!(warnings.len(), if note.is_empty() { 2 } else { 3 }, "{warnings:?}");
        assert!(
            warnings.iter().any(|line| line == "t:c: not in nsqd.dat: found by its files"),
            "{warnings:?}"
        );
    }
}

#[test]
fn files_that_are_gone_are_told_and_the_others_are_read() {
    let (first, last) = (records(0..3), records(8..10));
    let (owed, report) = imported(
        &[
            ("t:c.diskqueue.000000.dat", &first),
            ("t:c.diskqueue.000003.dat", &last),
            ("t:c.diskqueue.meta.dat", b"10\n0,0\n3,62\n"),
        ],
        &settings(),
    );
    let both = [named(0..3), named(8..10)].concat();
    assert_eq!(owed, owed_as(&[("t:c", both)]));
    assert!(report.warnings().contains(&"t:c: 2 file(s) from number 1 on are gone".to_owned()), "{report}");
}

#[test]
fn a_torn_or_damaged_record_costs_itself_only() {
    let mut data = records(0..10);
    data[62..66].fill(0);
    data.truncate(data.len() - 5);
    let (owed, report) = imported(&[("t:c.diskqueue.000000.dat", &data)], &settings());
    let left = [named(0..2), named(3..9)].concat();
    assert_eq!(owed, owed_as(&[("t:c", left)]));
    let text = report.to_string();
    assert!(text.contains("damaged in 1 place(s): 31 bytes"), "{text}");
    assert!(text.contains("a torn write of 26 bytes"), "{text}");
    assert!(report.summary().contains("31 damaged bytes left out"), "{text}");
}

#[test]
fn files_that_stock_gave_up_are_kept_aside_and_read_on_request() {
    let (bad, data) = (records(0..5), records(5..8));
    let files: &[(&str, &[u8])] = &[
        ("t:c.diskqueue.000000.dat.bad", &bad),
        ("t:c.diskqueue.000001.dat", &data),
        ("t:c.diskqueue.meta.dat", b"3\n1,0\n1,93\n"),
    ];
    let (owed, report) = imported(files, &settings());
    assert_eq!(owed, channel_of_t(5..8));
    assert!(report.to_string().contains("1 .bad file(s) of 155 bytes left out"), "{report}");
    let (owed, _) = imported(files, &Settings { with_bad: true, ..settings() });
    assert_eq!(owed, channel_of_t(0..8));
    let disk = disk(files);
    import(&disk).unwrap();
    assert_eq!(disk.content(&Path::new(LEGACY).join("t:c.diskqueue.000000.dat.bad")), Some(bad));
}

#[test]
fn ephemeral_and_impossible_names_are_not_taken_along() {
    let list = br##"{"topics":[{"name":"x#ephemeral","channels":[]},{"name":"no good","channels":null},
        {"name":"t","channels":[{"name":"e#ephemeral"},{"name":"c"}]}]}"##;
    let data = records(0..2);
    let disk = disk(&[
        ("nsqd.dat", list),
        ("t:e#ephemeral.diskqueue.000000.dat", &data),
        ("no good.diskqueue.000000.dat", &data),
    ]);
    let report = import(&disk).unwrap().unwrap();
    assert_eq!(report.queues.iter().map(|queue| queue.name.as_str()).collect::<Vec<_>>(), ["t", "t:c"]);
    assert_eq!(report.skipped, ["no good", "t:e#ephemeral", "x#ephemeral"]);
    assert_eq!(report.strange, ["no good.diskqueue.000000.dat"]);
    assert!(disk.content(Path::new("/data/no good.diskqueue.000000.dat")).is_some(), "left alone");
    assert!(disk.content(&Path::new(LEGACY).join("t:e#ephemeral.diskqueue.000000.dat")).is_some());
    assert!(import(&disk).unwrap().is_none(), "what is left alone does not look like stock's");
}

#[test]
fn a_message_larger_than_may_be_published_is_kept() {
    let large = record(1, 0, &[b'x'; 5000]);
    let data = [records(0..1), large, records(2..3)].concat();
    let (owed, report) = imported(&[("t:c.diskqueue.000000.dat", &data)], &settings());
    assert_eq!(owed["t:c"].iter().map(|(body, _)| body.len()).collect::<Vec<_>>(), [1, 1, 5000]);
    assert!(
        report.to_string().contains("holds a message of 5000 bytes, more than --max-msg-size"),
        "{report}"
    );
}

#[test]
fn a_list_that_is_no_list_is_refused_untouched() {
    for text in ["", "{\"topics\":", "hello"] {
        let data = records(0..2);
        let disk = disk(&[("nsqd.dat", text.as_bytes()), ("t.diskqueue.000000.dat", &data)]);
        let before = files(&disk);
        let error = import(&disk).unwrap_err().to_string();
        assert!(error.contains("/data/nsqd.dat") && error.contains("restore it from a backup"), "{error}");
        assert_eq!(files(&disk), before);
    }
}

#[test]
fn ours_and_stock_in_one_folder_are_refused_untouched() {
    let disk = usual_disk();
    import(&disk).unwrap();
    // Somebody removed the sentence and started a stock nsqd.
    disk.put(&Path::new(FOLDER).join("nsqd.dat"), br#"{"topics":[]}"#);
    let before = files(&disk);
    let error = import(&disk).unwrap_err();
    assert!(
        matches!(error, StockError::Both { .. }) && error.to_string().contains("/data/nsqd.dat"),
        "{error}"
    );
    assert_eq!(files(&disk), before);
}

#[test]
fn a_sentence_without_the_data_it_speaks_of_is_refused() {
    let disk = usual_disk();
    import(&disk).unwrap();
    let sentence = disk.content(&Path::new(FOLDER).join("nsqd.dat")).unwrap();
    let alone = super::disk(&[("nsqd.dat", &sentence)]);
    let error = import(&alone).unwrap_err();
    assert!(matches!(error, StockError::Missing { .. }), "{error}");
    let other = super::disk(&[("t.diskqueue.000000.dat", b""), ("topics", b"somebody's")]);
    assert!(matches!(import(&other), Err(StockError::InTheWay { .. })));
}

#[test]
fn a_folder_that_is_ours_or_empty_is_left_as_it_is() {
    for disk in [disk(&[]), disk(&[("notes.txt", b"x")]), disk(&[("nsqd.dat.5.tmp", b"half")])] {
        let before = files(&disk);
        assert!(import(&disk).unwrap().is_none());
        assert_eq!(files(&disk), before);
    }
    let disk = disk(&[]);
    DataDir::open(shared(&disk), Path::new(FOLDER)).unwrap().create("t").unwrap();
    let before = files(&disk);
    assert!(import(&disk).unwrap().is_none());
    assert_eq!(files(&disk), before);
}

#[test]
fn a_topic_that_had_no_list_entry_keeps_its_own_messages_for_its_first_channel() {
    let data = records(0..4);
    let (owed, _) = imported(&[("t.diskqueue.000000.dat", &data)], &settings());
    assert_eq!(owed, owed_as(&[("t", named(0..4))]));
}

#[test]
fn a_topics_own_messages_go_to_all_its_channels() {
    let (shown, own) = (records(0..4), records(4..6));
    let (owed, _) = imported(
        &[
            ("nsqd.dat", br#"{"topics":[{"name":"t","channels":[{"name":"c"},{"name":"d"}]}]}"#),
            ("t:c.diskqueue.000000.dat", &shown),
            ("t.diskqueue.000000.dat", &own),
        ],
        &settings(),
    );
    assert_eq!(owed, owed_as(&[("t:c", named(0..6)), ("t:d", named(4..6))]));
}
