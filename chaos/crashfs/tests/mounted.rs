//! A crashfs as programs see it, through the kernel. Skipped with the reason where FUSE is missing; fails there on CI.

use std::fs::{self, File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::time::Duration;

use crashfs::{Errno, Mode, Mounted, Options, SyncFault};
use tempfile::TempDir;

/// A mount, or nothing where there cannot be one.
fn mounted(options: Options) -> Option<(Mounted, TempDir)> {
    let place = TempDir::new().unwrap_or_else(|error| panic!("a folder to mount on: {error}"));
    match Mounted::start(place.path(), options) {
        Ok(mounted) => Some((mounted, place)),
        Err(error) => {
            assert!(std::env::var("CI").as_deref() != Ok("true"), "CI skips no test: {error}");
            eprintln!("SKIPPED: {error}");
            None
        }
    }
}

fn errno(result: std::io::Result<impl Sized>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

#[test]
fn programs_find_a_file_system_and_after_a_cut_only_what_was_synced() {
    let Some((disk, place)) = mounted(Options::default()) else { return };
    let dir = place.path().join("a");
    fs::create_dir(&dir).unwrap();
    let mut kept = File::create(dir.join("kept")).unwrap();
    kept.write_all(b"synced").unwrap();
    kept.sync_data().unwrap();
    kept.write_all(b"-and-not").unwrap();
    File::create(dir.join("lost")).unwrap().sync_all().unwrap();
    fs::rename(dir.join("lost"), dir.join("lost-too")).unwrap();
    fs::remove_file(dir.join("lost-too")).unwrap();
    for path in [dir.as_path(), place.path()] {
        File::open(path).unwrap().sync_all().unwrap();
    }
    fs::write(dir.join("lost"), b"x").unwrap();
    let mut listed: Vec<_> = fs::read_dir(&dir).unwrap().map(|entry| entry.unwrap().file_name()).collect();
    listed.sort();
    assert_eq!(listed, ["kept", "lost"]);
    assert_eq!(fs::read(dir.join("kept")).unwrap(), b"synced-and-not");

    disk.cut(Mode::None, 1);
    let io = Some(Errno::IO.raw_os_error());
    assert_eq!(errno(fs::read(dir.join("kept"))), io);
    assert_eq!(errno(kept.write_all(b"x")), io);
    assert_eq!(errno(kept.sync_data()), io);
    disk.heal();
    assert_eq!(errno(kept.write_all_at(b"x", 0)), io, "what was open before is dead");
    assert_eq!(fs::read(dir.join("kept")).unwrap(), b"synced");
    assert_eq!(fs::metadata(dir.join("kept")).unwrap().len(), 6);
    assert!(!dir.join("lost").exists());
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 1);
}

#[test]
fn a_large_directory_is_listed_and_removed_as_a_whole() {
    let Some((_disk, place)) = mounted(Options::default()) else { return };
    let dir = place.path().join("d");
    fs::create_dir(&dir).unwrap();
    for number in 0..700 {
        File::create(dir.join(format!("a-name-of-some-length-{number}"))).unwrap();
    }
    assert_eq!(fs::read_dir(&dir).unwrap().count(), 700);
    fs::remove_dir_all(&dir).unwrap();
    assert!(!dir.exists());
}

#[test]
fn a_directory_can_be_locked_once() {
    let Some((_disk, place)) = mounted(Options::default()) else { return };
    let first = File::open(place.path()).unwrap();
    let second = File::open(place.path()).unwrap();
    first.try_lock().unwrap();
    assert!(second.try_lock().is_err());
    drop(first);
    second.try_lock().unwrap();
}

#[test]
fn syncs_and_writes_fail_when_told_to() {
    let Some((disk, place)) = mounted(Options::default()) else { return };
    let file = File::create(place.path().join("f")).unwrap();
    File::open(place.path()).unwrap().sync_all().unwrap();
    file.write_all_at(b"lost", 0).unwrap();
    disk.fail_sync(SyncFault::Nth(2));
    file.sync_all().unwrap();
    file.write_all_at(b"gone", 4).unwrap();
    assert!(disk.failed_sync(Duration::ZERO).is_none());
    assert_eq!(errno(file.sync_data()), Some(Errno::IO.raw_os_error()));
    assert!(disk.failed_sync(Duration::ZERO).is_some());
    file.sync_data().unwrap();
    disk.fail_write(2, Errno::DQUOT);
    file.write_all_at(b"x", 0).unwrap();
    assert_eq!(errno(file.write_all_at(b"x", 0)), Some(Errno::DQUOT.raw_os_error()));
    file.write_all_at(b"x", 0).unwrap();
    assert_eq!(fs::read(place.path().join("f")).unwrap(), b"xostgone");
    disk.cut(Mode::None, 1);
    disk.heal();
    assert_eq!(fs::read(place.path().join("f")).unwrap(), b"lost");
}

#[test]
fn a_full_disk_says_so_until_there_is_space() {
    let Some((disk, place)) = mounted(Options { bytes_max: 64 << 10, ..Options::default() }) else { return };
    let mut file = OpenOptions::new().append(true).create(true).open(place.path().join("f")).unwrap();
    assert_eq!(errno(file.write_all(&[1; 100 << 10])), Some(Errno::NOSPC.raw_os_error()));
    assert_eq!(file.metadata().unwrap().len(), 64 << 10, "what fitted was written");
    disk.set_space(128 << 10);
    file.write_all(&[2; 16 << 10]).unwrap();
    file.set_len(0).unwrap();
    assert_eq!(disk.stats().used_bytes, 0);
}

#[test]
fn a_slow_sync_covers_only_what_was_there_when_it_began() {
    let Some((disk, place)) =
        mounted(Options { sync_delay: Duration::from_millis(150), ..Options::default() })
    else {
        return;
    };
    let file = File::create(place.path().join("f")).unwrap();
    File::open(place.path()).unwrap().sync_all().unwrap();
    file.write_all_at(b"before", 0).unwrap();
    std::thread::scope(|threads| {
        let before = disk.stats().operations;
        let sync = threads.spawn(|| file.sync_data());
        // The operation that is counted next is the sync's beginning.
        while disk.stats().operations == before {
            std::thread::yield_now();
        }
        file.write_all_at(b"during", 6).unwrap();
        sync.join().unwrap().unwrap();
    });
    assert!(disk.longest_sync() >= Duration::from_millis(150));
    disk.cut(Mode::None, 1);
    disk.heal();
    assert_eq!(fs::read(place.path().join("f")).unwrap(), b"before");
}

#[test]
fn the_path_is_free_again_even_when_files_are_open() {
    let Some((disk, place)) = mounted(Options::default()) else { return };
    let file = File::create(place.path().join("f")).unwrap();
    drop(disk);
    assert!(!place.path().join("f").exists());
    assert!(errno(file.write_all_at(b"x", 0)).is_some());
}
