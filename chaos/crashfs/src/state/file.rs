//! One file: its content as processes see it, its content as of the last sync, and the changes between the two, in
//! order, from which a power cut keeps what its seed says.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use super::Mode;
use super::chance::Chance;
use super::content::{Content, PAGE_BYTES, SECTOR_BYTES, pages_of};

/// More than this waiting for a sync is merged: intermediate versions are then no longer told apart. Only files that
/// are never synced get there, and without the limit rewriting one page for ever would take all memory.
const UNSYNCED_BYTES_MAX: usize = 32 << 20;

/// What noting a change takes besides the bytes written.
const CHANGE_BYTES: usize = 96;

#[derive(Debug, Clone, Default)]
pub(super) struct File {
    seen: Content,
    durable: Content,
    unsynced: Vec<Change>,
    unsynced_bytes: usize,
    syncing: u32,
}

#[derive(Debug, Clone)]
struct Change {
    number: u64,
    what: What,
    size: u64,
}

#[derive(Debug, Clone)]
enum What {
    Write { at: u64, bytes: Vec<u8> },
    Zero(Range<u64>),
    Merged(Merged),
}

#[derive(Debug, Clone)]
struct Merged {
    pages: BTreeSet<u64>,
    content: Content,
}

impl File {
    pub(super) fn seen(&self) -> &Content {
        &self.seen
    }

    /// Bytes that a sync would have to write.
    pub(super) fn unsynced_bytes(&self) -> u64 {
        self.unsynced_bytes as u64
    }

    pub(super) fn write(&mut self, number: u64, at: u64, bytes: &[u8]) {
        self.seen.write(at, bytes);
        self.note(number, What::Write { at, bytes: bytes.to_vec() });
    }

    pub(super) fn resize(&mut self, number: u64, size: u64) {
        let old = self.seen.size();
        self.seen.resize(size);
        self.note(number, What::Zero(size..old.max(size).next_multiple_of(PAGE_BYTES)));
    }

    pub(super) fn zero(&mut self, number: u64, range: Range<u64>) {
        self.seen.zero(range.clone());
        self.note(number, What::Zero(range));
    }

    /// A sync begins; between this and [`Self::end_sync`] no change is merged.
    pub(super) fn begin_sync(&mut self) {
        self.syncing += 1;
    }

    /// Every change up to `number` becomes durable, or, when the device failed, counts as written though it is not:
    /// that is what Linux does with the pages of a failed sync.
    pub(super) fn end_sync(&mut self, number: u64, is_failed: bool) {
        self.syncing = self.syncing.saturating_sub(1);
        let later = self.unsynced.partition_point(|change| change.number <= number);
        let rest = self.unsynced.split_off(later);
        let done = std::mem::replace(&mut self.unsynced, rest);
        self.unsynced_bytes = self.unsynced.iter().map(|change| change.what.bytes()).sum();
        if !is_failed {
            self.persist(&done);
        }
    }

    /// What a machine finds after the power came back.
    pub(super) fn cut(&mut self, mode: Mode, chance: &mut Chance) {
        let unsynced = std::mem::take(&mut self.unsynced);
        match mode {
            Mode::None => {}
            Mode::All => self.persist(&unsynced),
            Mode::Random | Mode::Ordered => self.tear(&unsynced, chance),
        }
        *self = Self { seen: self.durable.clone(), durable: self.durable.clone(), ..Self::default() };
    }

    fn note(&mut self, number: u64, what: What) {
        self.unsynced_bytes += what.bytes();
        self.unsynced.push(Change { number, what, size: self.seen.size() });
        if self.unsynced_bytes > UNSYNCED_BYTES_MAX && self.syncing == 0 {
            self.merge();
        }
    }

    fn persist(&mut self, done: &[Change]) {
        let Some(last) = done.last() else { return };
        if self.unsynced.is_empty() {
            // Pages go to the disk as they are now, with what an earlier failed sync has left in them.
            let mut pages = BTreeSet::new();
            for change in done {
                change.what.pages(&[&self.durable, &self.seen], &mut pages);
            }
            self.durable.share_pages(&self.seen, &pages);
        } else {
            for change in done {
                change.what.apply(&mut self.durable);
            }
        }
        self.durable.resize(last.size);
    }

    /// Each sector keeps any of the versions it had since the last sync, and the size any of its values. How likely
    /// the new one is differs between files: with one chance for all, every longer record would be torn.
    fn tear(&mut self, unsynced: &[Change], chance: &mut Chance) {
        let Some(last) = unsynced.last() else { return };
        let written = chance.pick(&[0, 10, 50, 90, 100]);
        let mut versions: BTreeMap<u64, Vec<&What>> = BTreeMap::new();
        for change in unsynced {
            for sector in change.what.sectors(&[&self.durable, &self.seen]) {
                versions.entry(sector).or_default().push(&change.what);
            }
        }
        for (sector, versions) in versions {
            if chance.is(written) {
                self.durable.put_sector(sector, &self.seen.sector(sector));
            } else if chance.is(33) {
                let kept = chance.below(versions.len() as u64) as usize;
                self.replay(sector, versions.get(..kept).unwrap_or_default());
            }
        }
        let size = if chance.is(written) {
            last.size
        } else {
            let kept = chance.below(unsynced.len() as u64 + 1) as usize;
            let before = kept.checked_sub(1).and_then(|kept| unsynced.get(kept));
            before.map_or(self.durable.size(), |change| change.size)
        };
        // First up, then down: what was put behind the size must not show when the file grows again.
        let largest = unsynced.iter().map(|change| change.size).max().unwrap_or(size);
        self.durable.resize(largest.max(self.durable.size()));
        self.durable.resize(size);
    }

    fn replay(&mut self, sector: u64, versions: &[&What]) {
        let mut bytes = self.durable.sector(sector);
        for version in versions {
            version.apply_to_sector(sector, &mut bytes);
        }
        self.durable.put_sector(sector, &bytes);
    }

    fn merge(&mut self) {
        let Some(number) = self.unsynced.last().map(|change| change.number) else { return };
        let mut pages = BTreeSet::new();
        for change in &self.unsynced {
            change.what.pages(&[&self.durable, &self.seen], &mut pages);
        }
        let what = What::Merged(Merged { pages, content: self.seen.clone() });
        self.unsynced_bytes = what.bytes();
        self.unsynced = vec![Change { number, what, size: self.seen.size() }];
    }
}

impl What {
    fn bytes(&self) -> usize {
        match self {
            Self::Write { bytes, .. } => bytes.len() + CHANGE_BYTES,
            Self::Zero(_) | Self::Merged(_) => CHANGE_BYTES,
        }
    }

    fn apply(&self, content: &mut Content) {
        match self {
            Self::Write { at, bytes } => content.write(*at, bytes),
            Self::Zero(range) => content.zero(range.clone()),
            Self::Merged(merged) => content.share_pages(&merged.content, &merged.pages),
        }
    }

    fn apply_to_sector(&self, sector: u64, sector_bytes: &mut [u8]) {
        let start = sector * SECTOR_BYTES;
        let end = start + SECTOR_BYTES;
        match self {
            Self::Write { at, bytes } => {
                let (from, to) = (start.max(*at), end.min(at + bytes.len() as u64));
                let new = bytes.get(from.saturating_sub(*at) as usize..to.saturating_sub(*at) as usize);
                let place = sector_bytes.get_mut((from - start) as usize..to.saturating_sub(start) as usize);
                if let (Some(new), Some(place)) = (new, place) {
                    place.copy_from_slice(new);
                }
            }
            Self::Zero(range) => {
                let (from, to) = (start.max(range.start), end.min(range.end));
                let place = sector_bytes.get_mut((from - start) as usize..to.saturating_sub(start) as usize);
                place.unwrap_or_default().fill(0);
            }
            Self::Merged(merged) => {
                if merged.pages.contains(&(start / PAGE_BYTES)) {
                    sector_bytes.copy_from_slice(&merged.content.sector(sector));
                }
            }
        }
    }

    /// The pages it changes; of zeros only those that any of `contents` has.
    fn pages(&self, contents: &[&Content], pages: &mut BTreeSet<u64>) {
        match self {
            Self::Write { at, bytes } => pages.extend(pages_of(*at, bytes.len() as u64)),
            Self::Zero(range) => {
                for content in contents {
                    pages.extend(content.pages_in(range.clone()));
                }
            }
            Self::Merged(merged) => pages.extend(&merged.pages),
        }
    }

    fn sectors(&self, contents: &[&Content]) -> Vec<u64> {
        let mut pages = BTreeSet::new();
        self.pages(contents, &mut pages);
        let inside = match self {
            Self::Write { at, bytes } => sectors_of(*at..at + bytes.len() as u64),
            Self::Zero(range) => sectors_of(range.clone()),
            Self::Merged(_) => 0..u64::MAX,
        };
        let per_page = PAGE_BYTES / SECTOR_BYTES;
        let all = pages.into_iter().flat_map(|page| page * per_page..(page + 1) * per_page);
        all.filter(|sector| inside.contains(sector)).collect()
    }
}

fn sectors_of(bytes: Range<u64>) -> Range<u64> {
    bytes.start / SECTOR_BYTES..bytes.end.div_ceil(SECTOR_BYTES)
}
