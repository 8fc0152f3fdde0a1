//! One file of the disk in memory: what is in it, what of that a power cut cannot take, and what happened since.

/// What a file's space is counted in.
const BLOCK_BYTES: usize = 4096;
/// What a power cut tears a write into.
const SECTOR_BYTES: usize = 512;

#[derive(Debug, Clone, Default)]
pub(crate) struct FileState {
    pub(crate) bytes: Vec<u8>,
    /// What a power cut cannot take.
    pub(crate) durable: Vec<u8>,
    pub(crate) unsynced: Vec<Change>,
}

impl FileState {
    pub(crate) fn write(&mut self, bytes: &[u8], at: u64) {
        let change = Change::Write(usize::try_from(at).unwrap_or(usize::MAX), bytes.to_vec());
        self.change(change);
    }

    /// What an earlier sync that failed has dropped stays dropped.
    pub(crate) fn sync(&mut self) {
        for change in std::mem::take(&mut self.unsynced) {
            change.apply(&mut self.durable);
        }
    }

    pub(crate) fn change(&mut self, change: Change) {
        change.apply(&mut self.bytes);
        self.unsynced.push(change);
    }

    /// The space it takes: blocks of zeros count as holes.
    pub(crate) fn allocated(&self) -> u64 {
        let blocks = self.bytes.chunks(BLOCK_BYTES).filter(|block| block.iter().any(|byte| *byte != 0));
        (blocks.count() * BLOCK_BYTES) as u64
    }

    /// Each write is kept, lost or torn, whatever became of the others: the kernel writes in any order.
    pub(crate) fn power_cut(&self, dice: Option<&mut Dice>) -> Self {
        let mut bytes = self.durable.clone();
        if let Some(dice) = dice {
            for change in &self.unsynced {
                match (dice.below(4), change) {
                    (0, _) => {}
                    (1, Change::Write(at, part)) => {
                        let kept = part.iter().take(dice.below(part.len() + 1)).copied().collect();
                        Change::Write(*at, kept).apply(&mut bytes);
                    }
                    (2, Change::Write(at, part)) => {
                        let sectors = part.chunks(SECTOR_BYTES).enumerate();
                        for (index, sector) in sectors.filter(|_| dice.below(2) == 0) {
                            Change::Write(at + index * SECTOR_BYTES, sector.to_vec()).apply(&mut bytes);
                        }
                    }
                    _ => change.apply(&mut bytes),
                }
            }
        }
        Self { durable: bytes.clone(), bytes, unsynced: Vec::new() }
    }
}

/// Something that happened to a file's content.
#[derive(Debug, Clone)]
pub(crate) enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
    Hole(usize, usize),
}

impl Change {
    pub(crate) fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.resize(*length, 0),
            Self::Hole(from, to) => {
                let end = content.len().min(*to);
                content.get_mut(*from..end).unwrap_or_default().fill(0);
            }
            Self::Write(_, bytes) if bytes.is_empty() => {}
            Self::Write(at, bytes) => {
                content.resize(content.len().max(at + bytes.len()), 0);
                if let Some(to) = content.get_mut(*at..at + bytes.len()) {
                    to.copy_from_slice(bytes);
                }
            }
        }
    }
}

/// A small source of numbers (splitmix64) that gives the same ones for the same seed.
pub(crate) struct Dice(pub(crate) u64);

impl Dice {
    pub(crate) fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((number ^ (number >> 31)) % bound.max(1) as u64) as usize
    }
}
