//! What a cut may and may not do, against a naive model that keeps every version since the last sync.

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

const MODES: [Mode; 4] = [Mode::None, Mode::All, Mode::Random, Mode::Ordered];

fn name(text: &str) -> &OsStr {
    OsStr::new(text)
}

/// A disk with short words for what the tests do in its root.
struct Bench(Disk);

impl Bench {
    fn new() -> Self {
        Self(Disk::new(1 << 30, (0, 0), NameRule::Strict))
    }

    fn create(&mut self, file: &str) -> Ino {
        self.0.create(ROOT, name(file), false, 0o600).unwrap().ino
    }

    fn durable(&mut self, file: &str, bytes: &[u8]) -> Ino {
        let ino = self.create(file);
        self.0.write(ino, 0, bytes).unwrap();
        self.sync(ino);
        self.sync(ROOT);
        ino
    }

    fn sync(&mut self, ino: Ino) {
        let number = self.0.begin_sync(ino).unwrap();
        self.0.end_sync(ino, number, false).unwrap();
    }

    fn fail_sync(&mut self, ino: Ino) {
        let number = self.0.begin_sync(ino).unwrap();
        self.0.end_sync(ino, number, true).unwrap();
    }

    fn cut(&self, mode: Mode, seed: u64) -> Disk {
        let mut disk = self.0.clone();
        disk.cut(mode, seed);
        disk
    }

    fn names(&self) -> Table {
        names(&self.0)
    }
}

type Table = BTreeMap<OsString, Ino>;

fn names(disk: &Disk) -> Table {
    disk.list(ROOT).unwrap().into_iter().map(|(name, ino, _)| (name, ino)).collect()
}

fn content(disk: &Disk, file: &str) -> Option<Vec<u8>> {
    let found = disk.find(ROOT, name(file)).ok()?;
    Some(disk.read(found.ino, 0, 1 << 30).unwrap())
}

#[test]
fn what_was_not_synced_is_gone_or_there_as_the_mode_says() {
    let mut bench = Bench::new();
    let ino = bench.durable("f", b"old");
    bench.0.write(ino, 0, b"newer").unwrap();
    bench.create("g");
    let check = |mode, f: &[u8], has_g| {
        let disk = bench.cut(mode, 1);
        assert_eq!(content(&disk, "f").as_deref(), Some(f), "{mode:?}");
        assert_eq!(content(&disk, "g").is_some(), has_g, "{mode:?}");
    };
    check(Mode::None, b"old", false);
    check(Mode::All, b"newer", true);
}

#[test]
fn a_synced_file_without_a_synced_name_is_lost() {
    let mut bench = Bench::new();
    let ino = bench.create("f");
    bench.0.write(ino, 0, b"x").unwrap();
    bench.sync(ino);
    assert_eq!(content(&bench.cut(Mode::None, 1), "f"), None);
    bench.sync(ROOT);
    assert_eq!(content(&bench.cut(Mode::None, 1), "f").unwrap(), b"x");
}

#[test]
fn a_synced_name_without_synced_content_is_an_empty_file() {
    let mut bench = Bench::new();
    let ino = bench.create("f");
    bench.0.write(ino, 0, b"x").unwrap();
    bench.sync(ROOT);
    assert_eq!(content(&bench.cut(Mode::None, 1), "f").unwrap(), b"");
}

#[test]
fn a_file_in_a_directory_whose_name_was_not_synced_is_lost() {
    let mut bench = Bench::new();
    let dir = bench.0.create(ROOT, name("d"), true, 0o700).unwrap().ino;
    let file = bench.0.create(dir, name("f"), false, 0o600).unwrap().ino;
    bench.sync(file);
    bench.sync(dir);
    assert!(bench.cut(Mode::None, 1).find(ROOT, name("d")).is_err());
    bench.sync(ROOT);
    assert!(bench.cut(Mode::None, 1).find(dir, name("f")).is_ok());
}

#[test]
fn a_removal_or_rename_comes_undone_until_the_directory_is_synced() {
    let mut bench = Bench::new();
    bench.durable("gone", b"1");
    bench.durable("from", b"2");
    bench.durable("to", b"3");
    bench.0.remove(ROOT, name("gone"), false).unwrap();
    bench.0.rename((ROOT, name("from")), (ROOT, name("to")), true).unwrap();
    let undone = bench.cut(Mode::None, 1);
    assert_eq!(content(&undone, "gone").unwrap(), b"1");
    assert_eq!(content(&undone, "from").unwrap(), b"2");
    assert_eq!(content(&undone, "to").unwrap(), b"3");
    bench.sync(ROOT);
    let done = bench.cut(Mode::None, 1);
    assert_eq!(names(&done).len(), 1);
    assert_eq!(content(&done, "to").unwrap(), b"2");
}

#[test]
fn a_file_that_was_renamed_twice_has_one_name_after_any_cut() {
    let mut bench = Bench::new();
    bench.durable("a", b"1");
    bench.0.rename((ROOT, name("a")), (ROOT, name("b")), true).unwrap();
    bench.0.rename((ROOT, name("b")), (ROOT, name("c")), true).unwrap();
    for seed in 0..50 {
        assert_eq!(names(&bench.cut(Mode::Random, seed)).len(), 1);
    }
}

#[test]
fn a_rename_between_directories_is_durable_in_both_or_in_none() {
    let mut bench = Bench::new();
    let dir = bench.0.create(ROOT, name("d"), true, 0o700).unwrap().ino;
    bench.durable("f", b"1");
    bench.sync(ROOT);
    // Made and never synced where it was, then synced where it is.
    bench.create("g");
    for file in ["f", "g"] {
        bench.0.rename((ROOT, name(file)), (dir, name(file)), true).unwrap();
    }
    bench.sync(dir);
    for (seed, mode) in (0..20).flat_map(|seed| MODES.map(|mode| (seed, mode))) {
        let disk = bench.cut(mode, seed);
        for file in ["f", "g"] {
            assert!(disk.find(ROOT, name(file)).is_err(), "{mode:?} {file}");
            assert!(disk.find(dir, name(file)).is_ok(), "{mode:?} {file}");
        }
    }
}

#[test]
fn with_one_journal_any_sync_keeps_the_names_before_it() {
    let mut bench = Bench(Disk::new(1 << 30, (0, 0), NameRule::Journal));
    let dir = bench.0.create(ROOT, name("d"), true, 0o700).unwrap().ino;
    let file = bench.0.create(dir, name("f"), false, 0o600).unwrap().ino;
    bench.fail_sync(file);
    assert!(bench.cut(Mode::None, 1).find(ROOT, name("d")).is_err());
    bench.sync(file);
    bench.create("later");
    let disk = bench.cut(Mode::None, 1);
    assert!(disk.find(dir, name("f")).is_ok());
    assert!(disk.find(ROOT, name("later")).is_err());
}

#[test]
fn a_failed_sync_forgets_what_reads_still_return() {
    let mut bench = Bench::new();
    let ino = bench.durable("f", b"old");
    bench.0.write(ino, 0, b"new").unwrap();
    bench.fail_sync(ino);
    // The next sync has nothing to do and works: fsyncgate.
    bench.sync(ino);
    assert_eq!(content(&bench.0, "f").unwrap(), b"new");
    for mode in MODES {
        assert_eq!(content(&bench.cut(mode, 1), "f").unwrap(), b"old", "{mode:?}");
    }
}

#[test]
fn a_page_that_a_failed_sync_lost_is_written_when_it_changes_again() {
    let mut bench = Bench::new();
    let ino = bench.durable("f", &[b'-'; 8192]);
    bench.0.write(ino, 0, b"a").unwrap();
    bench.0.write(ino, 4096, b"b").unwrap();
    bench.fail_sync(ino);
    bench.0.write(ino, 1, b"c").unwrap();
    bench.sync(ino);
    let found = content(&bench.cut(Mode::None, 1), "f").unwrap();
    assert_eq!((&found[..3], &found[4096..4098]), (&b"ac-"[..], &b"--"[..]));
}

#[test]
fn a_failed_sync_of_a_directory_forgets_names_that_still_work() {
    let mut bench = Bench::new();
    bench.create("f");
    bench.fail_sync(ROOT);
    bench.sync(ROOT);
    assert!(bench.0.find(ROOT, name("f")).is_ok());
    assert!(bench.cut(Mode::All, 1).find(ROOT, name("f")).is_err());
}

#[test]
fn a_sync_covers_what_was_written_before_it_began() {
    let mut bench = Bench::new();
    let ino = bench.durable("f", b"");
    bench.0.write(ino, 0, b"before").unwrap();
    let number = bench.0.begin_sync(ino).unwrap();
    bench.0.write(ino, 0, b"later-and-longer").unwrap();
    bench.0.end_sync(ino, number, false).unwrap();
    assert_eq!(content(&bench.cut(Mode::None, 1), "f").unwrap(), b"before");
    assert_eq!(content(&bench.cut(Mode::All, 1), "f").unwrap(), b"later-and-longer");
    let number = bench.0.begin_sync(ROOT).unwrap();
    bench.create("later");
    bench.0.end_sync(ROOT, number, false).unwrap();
    assert_eq!(content(&bench.cut(Mode::None, 1), "later"), None);
}

#[test]
fn a_full_disk_takes_what_fits_and_has_space_again_after_a_removal() {
    let mut bench = Bench(Disk::new(2 * 4096, (0, 0), NameRule::Strict));
    let ino = bench.durable("f", b"");
    assert_eq!(bench.0.write(ino, 100, &[1; 3 * 4096]), Ok(2 * 4096 - 100));
    assert_eq!(bench.0.write(ino, 2 * 4096, b"x"), Err(Errno::NOSPC));
    assert_eq!(bench.0.write(ino, 0, b"in place"), Ok(8));
    bench.0.pin(ino);
    bench.0.remove(ROOT, name("f"), false).unwrap();
    assert_eq!(bench.0.free_bytes(), 0, "it is still open");
    bench.0.unpin(ino, 1);
    assert_eq!(bench.0.free_bytes(), 2 * 4096);
    assert!(bench.cut(Mode::None, 1).find(ROOT, name("f")).is_ok(), "the removal was not synced");
    bench.sync(ROOT);
    assert_eq!(bench.0.attributes(ino), Err(Errno::STALE), "forgotten for good");
}

#[test]
fn references_from_before_a_cut_may_be_given_back_after_it() {
    let mut bench = Bench::new();
    let ino = bench.durable("f", b"ab");
    bench.0.pin(ino);
    bench.0.cut(Mode::None, 1);
    bench.0.pin(ino);
    bench.0.remove(ROOT, name("f"), false).unwrap();
    bench.sync(ROOT);
    bench.0.unpin(ino, 1);
    assert_eq!(bench.0.read(ino, 0, 9).unwrap(), b"ab");
    bench.0.unpin(ino, 1);
    bench.sync(ROOT);
    assert_eq!(bench.0.attributes(ino), Err(Errno::STALE));
}

#[test]
fn a_removed_file_can_be_read_and_written_while_it_is_open() {
    let mut bench = Bench::new();
    let ino = bench.durable("f", b"ab");
    bench.0.pin(ino);
    bench.0.remove(ROOT, name("f"), false).unwrap();
    bench.sync(ROOT);
    bench.0.write(ino, 2, b"c").unwrap();
    assert_eq!(bench.0.read(ino, 0, 9).unwrap(), b"abc");
}

#[test]
fn a_file_may_grow_without_its_content_and_a_write_may_tear() {
    let mut bench = Bench::new();
    let ino = bench.durable("f", b"");
    bench.0.write(ino, 0, &[7; 4096]).unwrap();
    let (mut zeros, mut torn, mut reordered) = (0, 0, 0);
    for seed in 0..200 {
        let found = content(&bench.cut(Mode::Random, seed), "f").unwrap();
        let sectors: Vec<bool> =
            found.chunks(512).map(|sector| sector.iter().all(|&byte| byte == 7)).collect();
        zeros += usize::from(!found.is_empty() && sectors.iter().all(|&is_new| !is_new));
        torn += usize::from(sectors.contains(&true) && sectors.contains(&false));
        reordered += usize::from(sectors.windows(2).any(|pair| !pair[0] && pair[1]));
    }
    assert!(zeros > 5 && torn > 20 && reordered > 10, "{zeros} zeros, {torn} torn, {reordered} reordered");
}

#[test]
fn rewriting_one_page_for_ever_takes_no_more_memory_and_is_synced_as_ever() {
    let mut bench = Bench::new();
    let ino = bench.durable("f", b"");
    for round in 0..5_000_u32 {
        bench.0.write(ino, 0, &[1 + round as u8 % 2; 16 << 10]).unwrap();
    }
    assert!(bench.0.unsynced().0 < 64 << 20, "{:?}", bench.0.unsynced());
    // Just after a merge it is one of two versions.
    let mut before = 0;
    while bench.0.unsynced().0 > before {
        before = bench.0.unsynced().0;
        bench.0.write(ino, 0, &[1; 16 << 10]).unwrap();
    }
    bench.0.write(ino, 0, &[2; 16 << 10]).unwrap();
    for seed in 0..20 {
        let found = content(&bench.cut(Mode::Random, seed), "f").unwrap();
        assert!(found.iter().all(|byte| *byte <= 2));
    }
    bench.sync(ino);
    assert_eq!(content(&bench.cut(Mode::None, 1), "f").unwrap(), [2; 16 << 10]);
}

/// One thing to do to the model and the disk.
#[derive(Debug, Clone)]
enum Step {
    Create(u8),
    Write(u8, u64, usize),
    Resize(u8, u64),
    Punch(u8, u64, u64),
    Remove(u8),
    Rename(u8, u8),
    Sync(u8),
    SyncNames,
}

fn step() -> impl Strategy<Value = Step> {
    let file = || 0_u8..5;
    prop_oneof![
        3 => file().prop_map(Step::Create),
        8 => (file(), 0_u64..6_000, 1_usize..3_000).prop_map(|(file, at, bytes)| Step::Write(file, at, bytes)),
        1 => (file(), 0_u64..9_000).prop_map(|(file, bytes)| Step::Resize(file, bytes)),
        1 => (file(), 0_u64..9_000, 0_u64..9_000).prop_map(|(file, at, bytes)| Step::Punch(file, at, bytes)),
        1 => file().prop_map(Step::Remove),
        1 => (file(), file()).prop_map(|(from, to)| Step::Rename(from, to)),
        3 => file().prop_map(Step::Sync),
        2 => Just(Step::SyncNames),
    ]
}

/// Every version since the last sync, the durable one first.
struct Model {
    bench: Bench,
    files: BTreeMap<Ino, Vec<Vec<u8>>>,
    names: Vec<Table>,
    written: u8,
}

impl Model {
    fn new() -> Self {
        Self { bench: Bench::new(), files: BTreeMap::new(), names: vec![BTreeMap::new()], written: 0 }
    }

    fn take(&mut self, step: &Step) {
        let named = |file: &u8| OsString::from(format!("f{file}"));
        let find = |bench: &Bench, file: &u8| bench.0.find(ROOT, &named(file)).ok().map(|found| found.ino);
        let disk = &mut self.bench.0;
        match step {
            Step::Create(file) => {
                if let Ok(made) = disk.create(ROOT, &named(file), false, 0o600) {
                    self.files.insert(made.ino, vec![Vec::new()]);
                }
            }
            Step::Remove(file) => drop(disk.remove(ROOT, &named(file), false)),
            Step::Rename(from, to) => drop(disk.rename((ROOT, &named(from)), (ROOT, &named(to)), true)),
            Step::SyncNames => {
                self.bench.sync(ROOT);
                self.names = vec![self.bench.names()];
            }
            Step::Sync(file) => {
                let Some(ino) = find(&self.bench, file) else { return };
                self.bench.sync(ino);
                let versions = self.files.get_mut(&ino).unwrap();
                *versions = vec![versions.last().unwrap().clone()];
            }
            Step::Write(file, ..) | Step::Resize(file, _) | Step::Punch(file, ..) => {
                let Some(ino) = find(&self.bench, file) else { return };
                self.change(ino, step);
            }
        }
        if self.names.last() != Some(&self.bench.names()) {
            self.names.push(self.bench.names());
        }
    }

    fn change(&mut self, ino: Ino, step: &Step) {
        let disk = &mut self.bench.0;
        let versions = self.files.get_mut(&ino).unwrap();
        let mut now = versions.last().unwrap().clone();
        match *step {
            Step::Write(_, at, bytes) => {
                self.written = self.written.wrapping_add(1);
                disk.write(ino, at, &vec![self.written; bytes]).unwrap();
                now.resize(now.len().max(at as usize + bytes), 0);
                now[at as usize..at as usize + bytes].fill(self.written);
            }
            Step::Resize(_, bytes) => {
                disk.resize(ino, bytes).unwrap();
                now.resize(bytes as usize, 0);
            }
            Step::Punch(_, at, bytes) => {
                disk.punch(ino, at, bytes).unwrap();
                let end = now.len().min((at + bytes) as usize);
                now.get_mut(at as usize..end).unwrap_or_default().fill(0);
            }
            _ => {}
        }
        assert_eq!(disk.read(ino, 0, 1 << 20).unwrap(), now);
        versions.push(now);
    }
}

/// The sector of a version as a larger file would show it.
fn padded(version: &[u8], sector: usize) -> Vec<u8> {
    let mut bytes =
        version.get(sector * 512..version.len().min(sector * 512 + 512)).unwrap_or_default().to_vec();
    bytes.resize(512, 0);
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(400))]

    #[test]
    fn after_a_cut_every_sector_size_and_name_is_a_version_since_the_last_sync(
        steps in prop::collection::vec(step(), 1..60), seed: u64
    ) {
        let mut model = Model::new();
        steps.iter().for_each(|step| model.take(step));
        for mode in MODES {
            let disk = model.bench.cut(mode, seed);
            let found = names(&disk);
            match mode {
                Mode::None => prop_assert_eq!(&found, &model.names[0]),
                Mode::All => prop_assert_eq!(Some(&found), model.names.last()),
                Mode::Ordered => prop_assert!(model.names.contains(&found), "{:?} of {:?}", found, model.names),
                Mode::Random => {
                    for file in (0..5).map(|file| OsString::from(format!("f{file}"))) {
                        let is_version = model.names.iter().any(|table| table.get(&file) == found.get(&file));
                        prop_assert!(is_version, "{:?}: {:?} of {:?}", file, found, model.names);
                    }
                }
            }
            let inos: BTreeSet<Ino> = found.values().copied().collect();
            prop_assert_eq!(inos.len(), found.len(), "a file with two names: {:?}", found);
            for ino in inos {
                let versions = &model.files[&ino];
                let content = disk.read(ino, 0, 1 << 20).unwrap();
                match mode {
                    Mode::None => prop_assert_eq!(&content, &versions[0]),
                    Mode::All => prop_assert_eq!(Some(&content), versions.last()),
                    Mode::Random | Mode::Ordered => {}
                }
                prop_assert!(versions.iter().any(|version| version.len() == content.len()));
                for (at, sector) in content.chunks(512).enumerate() {
                    let is_version =
                        versions.iter().any(|version| padded(version, at).get(..sector.len()) == Some(sector));
                    prop_assert!(is_version, "sector {} of file {}: {:?}", at, ino, sector);
                }
            }
        }
    }

    #[test]
    fn the_same_seed_cuts_the_same_and_a_second_cut_takes_nothing_more(
        steps in prop::collection::vec(step(), 1..40), seed: u64
    ) {
        let mut model = Model::new();
        steps.iter().for_each(|step| model.take(step));
        let contents = |disk: &Disk| -> Vec<(OsString, Vec<u8>)> {
            let read = |(name, ino)| (name, disk.read(ino, 0, 1 << 20).unwrap());
            names(disk).into_iter().map(read).collect()
        };
        for mode in MODES {
            let mut disk = model.bench.cut(mode, seed);
            prop_assert_eq!(contents(&disk), contents(&model.bench.cut(mode, seed)));
            let first = contents(&disk);
            let used: u64 = names(&disk).values().map(|&ino| disk.attributes(ino).unwrap().allocated_bytes).sum();
            prop_assert_eq!(disk.used_bytes(), used);
            disk.cut(Mode::None, seed);
            prop_assert_eq!(contents(&disk), first);
            for &ino in names(&disk).values() {
                let size = disk.attributes(ino).unwrap().bytes;
                disk.resize(ino, size + 20_000).unwrap();
                prop_assert!(disk.read(ino, size, 20_000).unwrap().iter().all(|&byte| byte == 0));
            }
        }
    }
}
