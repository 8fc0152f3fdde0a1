//! What may happen to files at rest, and what it may cost. A damage is chosen on the whole folder, done to a copy, and can
//! be mended from the original.

use std::fmt;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::rest::Place;
use crate::chance::Chance;

/// R7: how far from a damaged bit a message may be lost.
const REACH_BYTES: u64 = 32 * 1024;
const ZEROS_BYTES: u64 = 4096;
/// Segments of a topic that are damaged more often: what an unclean end left unsynced is in them.
const NEWEST: usize = 2;
/// The mark of the data folder.
const MARK: &str = "nsqube";

/// Something happened to a file; paths are relative to the data folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Damage {
    file: PathBuf,
    harm: Harm,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Harm {
    Flip { at: u64, bit: u8 },
    Zeros { at: u64 },
    Cut { at: u64 },
    Missing,
    Swapped { with: PathBuf },
}

impl Damage {
    /// Any damage to any file of the folder; to the newest segments, the journals and the beginnings of files more often
    /// than their size would have it.
    pub(super) fn choose(folder: &Path, chance: &mut Chance) -> Result<Self> {
        let files = files(folder)?;
        let of_kind = |kind: &dyn Fn(&str) -> bool| -> Vec<&PathBuf> {
            files.iter().filter(|file| kind(&name(file))).collect()
        };
        let logs = of_kind(&|name| name.ends_with(".log"));
        let newer = |log: &PathBuf| {
            logs.iter().filter(|other| other.parent() == log.parent() && **other > log).count()
        };
        let newest: Vec<&PathBuf> = logs.iter().copied().filter(|log| newer(log) < NEWEST).collect();
        let among = match chance.between(0, 100) {
            0..35 => logs,
            35..65 => newest,
            65..83 => of_kind(&|name| name == "journal"),
            83..94 => of_kind(&|name| name == "cursors"),
            _ => of_kind(&|name| name == MARK),
        };
        let index = usize::try_from(chance.between(0, among.len() as u64))?;
        let file = among.get(index).copied().cloned().context("the folder holds files of each kind")?;
        let bytes = fs::metadata(folder.join(&file))?.len();
        let at =
            if chance.happens(120) { chance.between(0, bytes.min(4300)) } else { chance.between(0, bytes) };
        let harm = match chance.between(0, 100) {
            0..40 => Harm::Flip { at, bit: u8::try_from(chance.between(0, 8))? },
            40..62 => Harm::Zeros { at },
            62..76 => Harm::Cut { at },
            76..86 => Harm::Missing,
            _ => partner(&files, &file, chance).map_or(Harm::Missing, |with| Harm::Swapped { with }),
        };
        Ok(Self { file, harm })
    }

    /// Do it to this copy of the folder.
    pub(super) fn strike(&self, data: &Path) -> Result<()> {
        let path = data.join(&self.file);
        let open = || OpenOptions::new().read(true).write(true).open(&path);
        match &self.harm {
            Harm::Flip { at, bit } => {
                let file = open()?;
                let mut byte = [0];
                file.read_exact_at(&mut byte, *at)?;
                file.write_all_at(&byte.map(|byte| byte ^ 1 << bit), *at)?;
            }
            Harm::Zeros { at } => {
                let file = open()?;
                let bytes = ZEROS_BYTES.min(file.metadata()?.len().saturating_sub(*at));
                file.write_all_at(&vec![0; usize::try_from(bytes)?], *at)?;
            }
            Harm::Cut { at } => open()?.set_len(*at)?,
            Harm::Missing => fs::remove_file(&path)?,
            Harm::Swapped { with } => {
                let (other, aside) = (data.join(with), data.with_extension("swapped"));
                fs::rename(&path, &aside)?;
                fs::rename(&other, &path)?;
                fs::rename(&aside, &other)?;
            }
        }
        Ok(())
    }

    /// Put the files back.
    pub(super) fn mend(&self, data: &Path, folder: &Path) -> Result<()> {
        for file in self.files() {
            fs::copy(folder.join(file), data.join(file))?;
        }
        Ok(())
    }

    /// The files that are not what they were.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        let other = if let Harm::Swapped { with } = &self.harm { Some(with) } else { None };
        [&self.file].into_iter().chain(other)
    }

    /// Whether something else than messages is damaged: then what was finished may come again.
    pub(super) fn is_of_metadata(&self) -> bool {
        self.files().any(|file| !name(file).ends_with(".log"))
    }

    /// Whether nothing is left where something was.
    pub(super) fn takes_away(&self) -> bool {
        matches!(self.harm, Harm::Cut { .. } | Harm::Missing)
    }

    /// Whether it may cost the message that lies there.
    pub(super) fn may_cost(&self, place: &Place) -> bool {
        if !self.files().any(|file| *file == place.file) {
            return false;
        }
        let near =
            |from: u64, to: u64| place.at < to + REACH_BYTES && place.at + place.bytes + REACH_BYTES > from;
        match self.harm {
            Harm::Flip { at, .. } => near(at, at + 1),
            Harm::Zeros { at } => near(at, at + ZEROS_BYTES),
            Harm::Cut { at } => near(at, u64::MAX - REACH_BYTES),
            Harm::Missing | Harm::Swapped { .. } => true,
        }
    }

    /// As the table names it: what, and of which kind of file.
    pub(super) fn kind(&self) -> (&'static str, &'static str) {
        let harm = match self.harm {
            Harm::Flip { .. } => "1 bit",
            Harm::Zeros { .. } => "4 KiB zeroed",
            Harm::Cut { .. } => "truncated",
            Harm::Missing => "missing",
            Harm::Swapped { .. } => "swapped",
        };
        let file = match name(&self.file).as_str() {
            "journal" => "journal",
            "cursors" => "cursors",
            MARK => "mark",
            _ => "log",
        };
        (harm, file)
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file.display())?;
        match &self.harm {
            Harm::Flip { at, bit } => write!(f, "bit {bit} of byte {at} flipped"),
            Harm::Zeros { at } => write!(f, "4 KiB from byte {at} zeroed"),
            Harm::Cut { at } => write!(f, "truncated to {at} bytes"),
            Harm::Missing => f.write_str("missing"),
            Harm::Swapped { with } => write!(f, "swapped with {}", with.display()),
        }
    }
}

/// All files below the folder, sorted.
pub(super) fn files(folder: &Path) -> Result<Vec<PathBuf>> {
    let mut found = Vec::new();
    let mut folders = vec![folder.to_path_buf()];
    while let Some(next) = folders.pop() {
        for entry in fs::read_dir(&next)? {
            let path = entry?.path();
            if path.is_dir() {
                folders.push(path);
            } else if fs::metadata(&path)?.len() > 0 {
                found.push(path.strip_prefix(folder)?.to_path_buf());
            }
        }
    }
    found.sort();
    Ok(found)
}

/// Its like of another topic, or a neighbour.
fn partner(files: &[PathBuf], file: &Path, chance: &mut Chance) -> Option<PathBuf> {
    let is_neighbour = chance.happens(500);
    let fits = |other: &&PathBuf| {
        let suits = if is_neighbour {
            other.parent() == file.parent()
        } else {
            other.parent() != file.parent() && other.extension() == file.extension()
        };
        suits && other.as_path() != file && other.starts_with("topics") && file.starts_with("topics")
    };
    let fitting: Vec<&PathBuf> = files.iter().filter(fits).collect();
    let index = usize::try_from(chance.between(0, fitting.len() as u64)).ok()?;
    fitting.get(index).copied().cloned()
}

fn name(file: &Path) -> String {
    file.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(number: u64) -> PathBuf {
        PathBuf::from(format!("topics/orders/{number:020}.log"))
    }

    #[track_caller]
    fn check(harm: Harm, at: u64, expected: bool) {
        let damage = Damage { file: log(7), harm };
        let place = |file| Place { file, at, bytes: 100 };
        assert_eq!(damage.may_cost(&place(log(7))), expected, "{damage}, message at {at}");
        assert!(!damage.may_cost(&place(log(8))), "{damage}, message in another file");
    }

    #[test]
    fn a_damage_may_cost_what_lies_within_its_reach() {
        let at = 100_000;
        let (from, to) = (at - REACH_BYTES, at + REACH_BYTES);
        check(Harm::Flip { at, bit: 0 }, from - 100, false);
        check(Harm::Flip { at, bit: 0 }, from - 99, true);
        check(Harm::Flip { at, bit: 0 }, to, true);
        check(Harm::Flip { at, bit: 0 }, to + 1, false);
        check(Harm::Zeros { at }, to + ZEROS_BYTES - 1, true);
        check(Harm::Zeros { at }, to + ZEROS_BYTES, false);
        check(Harm::Cut { at }, from - 100, false);
        check(Harm::Cut { at }, 10 * at, true);
        check(Harm::Missing, 1, true);
    }

    #[test]
    fn both_files_of_a_swap_are_damaged() {
        let damage = Damage { file: log(7), harm: Harm::Swapped { with: log(8) } };
        for number in [7, 8] {
            assert!(damage.may_cost(&Place { file: log(number), at: 1, bytes: 1 }));
        }
        assert!(!damage.is_of_metadata());
        let journal = Damage { harm: Harm::Swapped { with: "topics/orders/journal".into() }, ..damage };
        assert!(journal.is_of_metadata());
    }
}
