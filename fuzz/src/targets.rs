//! The targets: whatever reads bytes of strangers, each with what must hold whatever they are. A target panics when
//! something does not hold.

mod commands;
mod compress;
mod identify;
mod lookup;
mod mpub;
mod query;

use std::path::PathBuf;

use crate::Shape;
use crate::campaign::outcome;

/// Something that reads bytes.
#[derive(Debug)]
pub struct Target {
    /// As it is called on the command line, and its folder of regressions.
    pub name: &'static str,
    /// Reads the input, and panics if what must hold does not.
    pub run: fn(&[u8]) -> Shape,
    /// Where mutation starts.
    seeds: fn() -> Vec<Vec<u8>>,
    /// What mutation puts in.
    pub(crate) words: &'static [&'static [u8]],
}

/// All of them.
pub const TARGETS: &[Target] = &[
    commands::TARGET,
    identify::TARGET,
    mpub::TARGET,
    compress::SNAPPY,
    compress::DEFLATE,
    lookup::TARGET,
    query::TARGET,
];

impl Target {
    /// The target of that name.
    pub fn named(name: &str) -> Option<&'static Self> {
        TARGETS.iter().find(|target| target.name == name)
    }

    /// Seeds, and whatever broke it before.
    pub fn inputs(&self) -> Vec<Vec<u8>> {
        let mut inputs = (self.seeds)();
        let found = std::fs::read_dir(self.regressions()).into_iter().flatten().flatten();
        inputs.extend(found.filter_map(|entry| std::fs::read(entry.path()).ok()));
        inputs
    }

    /// Run one input.
    ///
    /// # Errors
    /// What the panic said.
    pub fn replay(&self, input: &[u8]) -> Result<Shape, String> {
        outcome(self, input)
    }

    /// Inputs that broke it once, kept for ever.
    pub(crate) fn regressions(&self) -> PathBuf {
        harness::root().join("fuzz").join("regressions").join(self.name)
    }
}

/// A name for an input.
pub(crate) fn hash(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x100_0000_01b3))
}

/// The first byte decides something, the rest is the input proper.
fn chosen(input: &[u8]) -> (u8, &[u8]) {
    input.split_first().map_or((0, input), |(first, rest)| (*first, rest))
}

/// Texts as seeds.
fn texts(texts: &[&str]) -> Vec<Vec<u8>> {
    texts.iter().map(|text| text.as_bytes().to_vec()).collect()
}
