//! The bytes of one file, sparse: pages that were never written take no memory and read as zeros. Pages are shared
//! between the content as it is and the content as it would survive. What is durable is decided in `file`.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;

/// What the kernel writes back as a whole.
pub(super) const PAGE_BYTES: u64 = 4096;
/// What a device writes as a whole: a power cut keeps the old or the new one.
pub(super) const SECTOR_BYTES: u64 = 512;

pub(super) type Page = [u8; PAGE_BYTES as usize];

#[derive(Debug, Clone, Default)]
pub(super) struct Content {
    size: u64,
    pages: BTreeMap<u64, Arc<Page>>,
}

impl Content {
    pub(super) fn size(&self) -> u64 {
        self.size
    }

    pub(super) fn page_count(&self) -> u64 {
        self.pages.len() as u64
    }

    /// How many pages a write there would add.
    pub(super) fn pages_missing(&self, at: u64, bytes: u64) -> u64 {
        let pages = pages_of(at, bytes);
        let wanted = pages.end - pages.start;
        wanted - self.pages.range(pages).count() as u64
    }

    /// Up to `bytes` from `at`; fewer only at the end.
    pub(super) fn read(&self, at: u64, bytes: u64) -> Vec<u8> {
        let end = at.saturating_add(bytes).min(self.size);
        let mut read = Vec::with_capacity(end.saturating_sub(at) as usize);
        for piece in pieces(at, end.saturating_sub(at)) {
            match self.pages.get(&piece.page).and_then(|page| page.get(piece.within.clone())) {
                Some(bytes) => read.extend_from_slice(bytes),
                None => read.resize(read.len() + piece.within.len(), 0),
            }
        }
        read
    }

    /// Put bytes there; the size grows as needed.
    pub(super) fn write(&mut self, at: u64, bytes: &[u8]) {
        if bytes.is_empty() {
            return;
        }
        let mut rest = bytes;
        for piece in pieces(at, bytes.len() as u64) {
            let Some((now, later)) = rest.split_at_checked(piece.within.len()) else { break };
            self.patch(piece.page, piece.within, now);
            rest = later;
        }
        self.size = self.size.max(at.saturating_add(bytes.len() as u64));
    }

    /// Read as zeros from now on; whole pages are freed. The size stays.
    pub(super) fn zero(&mut self, range: Range<u64>) {
        let whole = range.start.div_ceil(PAGE_BYTES)..(range.end / PAGE_BYTES);
        let inside: Vec<u64> = if whole.is_empty() {
            Vec::new()
        } else {
            self.pages.range(whole).map(|(&page, _)| page).collect()
        };
        for page in inside {
            self.pages.remove(&page);
        }
        for edge in [range.start / PAGE_BYTES, range.end / PAGE_BYTES] {
            let start = edge * PAGE_BYTES;
            let within = range.start.max(start)..range.end.min(start + PAGE_BYTES);
            if within.is_empty() || within.end - within.start == PAGE_BYTES || !self.pages.contains_key(&edge)
            {
                continue;
            }
            let within = (within.start - start) as usize..(within.end - start) as usize;
            let zeros = vec![0; within.len()];
            self.patch(edge, within, &zeros);
        }
    }

    /// Cut the file, or extend it with zeros.
    pub(super) fn resize(&mut self, size: u64) {
        if size < self.size {
            let end = self.size.next_multiple_of(PAGE_BYTES);
            self.zero(size..end);
        }
        self.size = size;
    }

    /// Take these pages over from `other`, also where it has none.
    pub(super) fn share_pages(&mut self, other: &Self, pages: &BTreeSet<u64>) {
        for page in pages {
            match other.pages.get(page) {
                Some(bytes) => self.pages.insert(*page, Arc::clone(bytes)),
                None => self.pages.remove(page),
            };
        }
    }

    /// The bytes of one sector, zeros where there are none, whatever the size is.
    pub(super) fn sector(&self, sector: u64) -> Vec<u8> {
        let at = sector * SECTOR_BYTES;
        let within = (at % PAGE_BYTES) as usize..(at % PAGE_BYTES + SECTOR_BYTES) as usize;
        let page = self.pages.get(&(at / PAGE_BYTES));
        page.and_then(|page| page.get(within)).map_or_else(|| vec![0; SECTOR_BYTES as usize], <[u8]>::to_vec)
    }

    /// Replace one sector without touching the size.
    pub(super) fn put_sector(&mut self, sector: u64, bytes: &[u8]) {
        let at = sector * SECTOR_BYTES;
        let start = (at % PAGE_BYTES) as usize;
        self.patch(at / PAGE_BYTES, start..start + bytes.len(), bytes);
    }

    /// Pages that exist in this range of bytes.
    pub(super) fn pages_in(&self, range: Range<u64>) -> impl Iterator<Item = u64> {
        let pages = pages_of(range.start, range.end.saturating_sub(range.start));
        self.pages.range(pages).map(|(&page, _)| page)
    }

    fn patch(&mut self, page: u64, within: Range<usize>, bytes: &[u8]) {
        let page = self.pages.entry(page).or_insert_with(|| Arc::new([0; PAGE_BYTES as usize]));
        if let Some(place) = Arc::make_mut(page).get_mut(within)
            && place.len() == bytes.len()
        {
            place.copy_from_slice(bytes);
        }
    }
}

/// The pages a range of bytes touches.
pub(super) fn pages_of(at: u64, bytes: u64) -> Range<u64> {
    let end = at.saturating_add(bytes).div_ceil(PAGE_BYTES);
    let start = at / PAGE_BYTES;
    start..end.max(start)
}

struct Piece {
    page: u64,
    within: Range<usize>,
}

fn pieces(at: u64, bytes: u64) -> impl Iterator<Item = Piece> {
    let end = at.saturating_add(bytes);
    let pages = if bytes == 0 { 0..0 } else { pages_of(at, bytes) };
    pages.map(move |page| {
        let start = page * PAGE_BYTES;
        let within = at.max(start) - start..end.min(start + PAGE_BYTES) - start;
        Piece { page, within: within.start as usize..within.end as usize }
    })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        #[test]
        fn a_sparse_file_reads_like_a_plain_one(
            steps in prop::collection::vec((0_u8..3, 0_u64..20_000, 0_usize..9_000, 1_u8..), 1..40)
        ) {
            let mut content = Content::default();
            let mut plain: Vec<u8> = Vec::new();
            for (kind, at, len, byte) in steps {
                match kind {
                    0 => {
                        content.write(at, &vec![byte; len]);
                        if len > 0 && plain.len() < at as usize + len {
                            plain.resize(at as usize + len, 0);
                        }
                        if len > 0 {
                            plain[at as usize..at as usize + len].fill(byte);
                        }
                    }
                    1 => {
                        content.resize(at);
                        plain.resize(at as usize, 0);
                    }
                    _ => {
                        let end = (at as usize + len).min(plain.len());
                        content.zero(at..at + len as u64);
                        if let Some(place) = plain.get_mut(at as usize..end) {
                            place.fill(0);
                        }
                    }
                }
                prop_assert_eq!(content.size(), plain.len() as u64);
                prop_assert_eq!(&content.read(0, 1 << 20), &plain);
                let tail = plain.get(at as usize..).unwrap_or_default();
                prop_assert_eq!(content.read(at, 100), tail.get(..100).unwrap_or(tail));
            }
        }
    }

    #[test]
    fn a_write_far_out_takes_one_page() {
        let mut content = Content::default();
        assert_eq!(content.pages_missing(1 << 40, 1), 1);
        content.write(1 << 40, b"x");
        assert_eq!((content.page_count(), content.size()), (1, (1 << 40) + 1));
        assert_eq!(content.pages_missing(1 << 40, 1), 0);
        content.resize(0);
        assert_eq!(content.page_count(), 0);
    }
}
