//! Imports that end at every call of the disk: by a kill, by a power cut, for want of space.

use storage::Fault;

use super::*;
use crate::stock::found::is_taken_over;

/// A kill or a cut leaves all of stock's files, or nsqd.dat says that they are imported.
#[track_caller]
fn assert_safe_for_stock(disk: &FakeDisk, when: &str) {
    let list = disk.content(&Path::new(FOLDER).join("nsqd.dat"));
    let list = list.unwrap_or_else(|| panic!("{when}: no nsqd.dat: a stock nsqd would start empty"));
    if stock::Metadata::parse(&list).is_err() {
        return;
    }
    for (name, bytes) in usual() {
        assert_eq!(disk.content(&Path::new(FOLDER).join(name)), Some(bytes), "{when}: {name}");
    }
}

#[track_caller]
fn assert_imported_at_next_start(disk: &FakeDisk, when: &str) {
    assert_safe_for_stock(disk, when);
    import(disk).unwrap_or_else(|error| panic!("{when}: {error}"));
    assert_eq!(owed(disk), usual_owed(), "{when}");
    assert_tidy(disk, &usual());
}

/// Fail at every call in turn, until an import gets through; what `check` is given is the disk then.
fn at_every_call(fault: Fault, mut check: impl FnMut(&FakeDisk, u64)) {
    for call in 1.. {
        let disk = usual_disk();
        disk.fail_at(disk.calls() + call, fault);
        let is_through = import(&disk).is_ok();
        check(&disk, call);
        if is_through {
            assert!(call > 100, "an import has more calls than {call}");
            return;
        }
    }
}

/// The disk after an import that was killed there.
fn killed_at(call: u64) -> FakeDisk {
    let disk = usual_disk();
    disk.fail_at(disk.calls() + call, Fault::io().lasting());
    import(&disk).ok();
    disk.crash()
}

#[test]
fn an_import_killed_at_any_call_is_made_up_for_by_the_next_start() {
    at_every_call(Fault::io().keeping(7).lasting(), |disk, call| {
        assert_imported_at_next_start(&disk.crash(), &format!("killed at call {call}"));
    });
}

#[test]
fn an_import_cut_off_from_power_at_any_call_is_made_up_for_by_the_next_start() {
    at_every_call(Fault::io().lasting(), |disk, call| {
        for seed in 0..4 {
            assert_imported_at_next_start(&disk.power_cut(seed), &format!("cut at call {call}, seed {seed}"));
        }
    });
}

#[test]
fn the_finish_of_an_import_may_be_killed_again_and_again() {
    let mut disk = (1..).map(killed_at).find(|disk| is_taken_over(disk, Path::new(FOLDER)).unwrap()).unwrap();
    let mut starts = 0;
    loop {
        // Each start gets a little further than the one before.
        starts += 1;
        disk.fail_at(disk.calls() + 4 + starts, Fault::io().lasting());
        let outcome = import(&disk);
        disk = disk.crash();
        if outcome.is_ok() {
            break;
        }
    }
    assert!(starts > 10, "only {starts} starts");
    assert_eq!(owed(&disk), usual_owed());
    assert_tidy(&disk, &usual());
}

#[test]
fn a_disk_without_room_leaves_all_to_stock_and_the_import_comes_later() {
    at_every_call(Fault::full().lasting(), |disk, call| {
        let when = format!("full at call {call}");
        disk.heal();
        let is_imported = disk.content(&Path::new(FOLDER).join("nsqube")).is_some();
        let is_committed = disk.content(Path::new("/data/import.done/files")).is_some();
        if !is_imported && !is_committed {
            assert_safe_for_stock(disk, &when);
            assert!(
                !disk.exists(Path::new("/data/import.tmp")).unwrap(),
                "{when}: nothing is left to fill the disk"
            );
        }
        assert_imported_at_next_start(disk, &when);
    });
}

#[test]
fn an_import_that_cannot_fit_is_not_begun() {
    let disk = usual_disk();
    disk.limit_space(Some(4096));
    let before = files(&disk);
    let error = import(&disk).unwrap_err();
    assert!(matches!(error, StockError::NoSpace { needed: 891, free: 0, .. }), "{error:?}");
    assert!(error.to_string().contains("bytes more in /data"), "{error}");
    assert_eq!(files(&disk), before);
}

#[test]
fn an_import_told_to_stop_changes_nothing() {
    let large = record(1, 0, &vec![b'x'; 2 << 20]);
    let disk = disk(&[("t.diskqueue.000000.dat", &large)]);
    let settings = settings();
    settings.stop.trigger();
    let before = files(&disk);
    assert!(matches!(import_with(&disk, &settings), Err(StockError::Stopped)));
    assert_eq!(files(&disk), before);
}
