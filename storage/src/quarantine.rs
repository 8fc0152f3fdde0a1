//! Damaged bytes are kept for a human before their segment may go: in `damaged/` of the log's directory, one file
//! per run of damage, up to a limit. Nothing here is ever read back by the program.

use std::path::Path;

use crate::disk::{Disk, File};
use crate::error::StorageError;
use crate::segment::read_full;

const FOLDER: &str = "damaged";
/// More than this of one log is only counted: a dying disk must not fill itself with copies.
const KEPT_BYTES_MAX: u64 = 64 * 1024 * 1024;
const PIECE_BYTES: usize = 64 * 1024;
/// A hole made by `punch` frees whole blocks of this size.
pub(crate) const BLOCK_BYTES: u64 = 4096;

/// Copy the bytes of `file` from `from` to `to`, which stand at `offset` of the log in `dir`. Best effort: a disk
/// that cannot take the copy must not keep a consumer from the records behind the damage.
pub(crate) fn keep(disk: &dyn Disk, dir: &Path, file: &dyn File, (from, to): (u64, u64), offset: u64) {
    let _best_effort = copy(disk, dir, file, (from, to), offset);
}

/// How many bytes are kept for the log in `dir`.
pub(crate) fn kept_bytes(disk: &dyn Disk, dir: &Path) -> u64 {
    let entries = disk.list(&dir.join(FOLDER)).unwrap_or_default();
    entries.iter().map(|entry| entry.bytes).sum()
}

fn copy(
    disk: &dyn Disk,
    dir: &Path,
    file: &dyn File,
    (from, to): (u64, u64),
    offset: u64,
) -> Result<(), StorageError> {
    let to = to.min(file.len()?);
    let folder = dir.join(FOLDER);
    let path = folder.join(format!("{offset:020}.bin"));
    let is_known = disk.exists(&path)?;
    if from >= to || is_known || is_punched(file, from, to)? {
        return Ok(());
    }
    if kept_bytes(disk, dir).saturating_add(to - from) > KEPT_BYTES_MAX {
        return Ok(());
    }
    disk.create_dir(&folder)?;
    let copy = disk.create(&path)?;
    let mut piece = vec![0; PIECE_BYTES];
    let mut at = from;
    while at < to {
        let wanted = usize::try_from(to - at).unwrap_or(PIECE_BYTES).min(PIECE_BYTES);
        let Some(part) = piece.get_mut(..wanted) else { break };
        let filled = read_full(file, part, at)?;
        let Some(part) = part.get(..filled).filter(|part| !part.is_empty()) else { break };
        copy.write_at(part, at - from)?;
        at += filled as u64;
    }
    copy.sync_data()?;
    disk.sync_dir(&folder)
}

/// Whether it shares bytes with a whole block of zeros: freed by `punch`, or overwritten. Nothing is left to keep,
/// and what stands around it are remains of finished records.
fn is_punched(file: &dyn File, from: u64, to: u64) -> Result<bool, StorageError> {
    let mut block = [0; BLOCK_BYTES as usize];
    let mut at = from / BLOCK_BYTES * BLOCK_BYTES;
    while at < to {
        let filled = read_full(file, &mut block, at)?;
        if filled == block.len() && block.iter().all(|byte| *byte == 0) {
            return Ok(true);
        }
        at += BLOCK_BYTES;
    }
    Ok(false)
}
