//! The import as a whole, so that a kill at any instant leaves either stock's folder or ours.
//!
//! ```text
//! 1  import.tmp/     all of ours, and a list of stock's files; synced
//! 2  nsqd.dat        replaced by a sentence: from here on the import has happened, for us and for a stock nsqd
//! 3  import.done/    the staging folder's new name; each step from here on is repeated until it is done
//! 4  topics, nsqube  moved out of it
//! 5  legacy-TIME/    stock's files moved into it
//! 6  import.done/    removed
//! ```

use std::path::Path;
use std::sync::Arc;

use storage::{DataDir, Disk, StorageError};

use super::Settings;
use super::error::StockError;
use super::found::{Found, FoundTopic, METADATA, TAKEN_OVER, is_taken_over, read_all};
use super::report::ImportReport;
use super::transfer::transfer;

const STAGING: &str = "import.tmp";
const DONE: &str = "import.done";
const SENTENCE_TMP: &str = "nsqd.dat.nsqube";
/// In the staging folder: the name of the legacy folder, then the files that go there, a line each.
const LIST: &str = "files";
const REPORT: &str = "import-report.txt";
/// What a data folder of ours has.
const OURS: [&str; 2] = ["topics", "nsqube"];
const MARK: &str = "nsqube";

/// What is in a data folder.
enum Standing {
    /// Nothing of stock's: ours, or empty.
    Ours,
    /// An import that has happened, and is not tidied up.
    Unfinished,
    /// A stock nsqd's.
    Stock(Found),
}

/// What was to be done in a data folder.
#[derive(Debug)]
pub(crate) enum TakenOver {
    /// Nothing: it is ours, or empty.
    Nothing,
    /// An import that had happened was tidied up.
    Completed,
    /// All of stock's is ours now.
    Imported(ImportReport),
}

/// Import the folder if it is a stock nsqd's; finish an import that was interrupted. The folder must be locked.
///
/// # Errors
/// Nothing of stock's was changed then, unless an import had happened already.
pub(crate) fn take_over(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    settings: &Settings,
) -> Result<TakenOver, StockError> {
    match standing(&**disk, folder)? {
        Standing::Ours => {
            remove_dir(&**disk, &folder.join(STAGING))?;
            Ok(TakenOver::Nothing)
        }
        Standing::Unfinished => {
            finish(&**disk, folder)?;
            Ok(TakenOver::Completed)
        }
        Standing::Stock(found) => {
            let report = stage(disk, folder, &found, settings).inspect_err(|_| {
                // What is staged is worth nothing, and may be what filled the disk.
                let _left_for_the_next_start = remove_dir(&**disk, &folder.join(STAGING));
            })?;
            commit(&**disk, folder)?;
            finish(&**disk, folder)?;
            Ok(TakenOver::Imported(report))
        }
    }
}

/// What `take_over` would import. `None`: nothing. Changes nothing.
///
/// # Errors
/// As `take_over`.
pub(crate) fn preview(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    settings: &Settings,
) -> Result<Option<ImportReport>, StockError> {
    let Standing::Stock(found) = standing(&**disk, folder)? else { return Ok(None) };
    let mut report = begin_report(&**disk, folder, &found, settings)?;
    report.is_dry = true;
    for (name, topic) in &found.topics {
        transfer(disk, folder, None, name, topic, settings, &mut report)?;
    }
    Ok(Some(report))
}

/// Whether an import was interrupted here, or never begun: there is nothing of ours to export yet.
pub(super) fn is_settled(disk: &dyn Disk, folder: &Path) -> Result<bool, StorageError> {
    Ok(disk.exists(&folder.join(MARK))? && !disk.exists(&folder.join(DONE))?)
}

fn standing(disk: &dyn Disk, folder: &Path) -> Result<Standing, StockError> {
    if disk.exists(&folder.join(DONE))? {
        return Ok(Standing::Unfinished);
    }
    let is_ours = disk.exists(&folder.join(MARK))?;
    let is_taken_over = is_taken_over(disk, folder)?;
    if is_taken_over && disk.exists(&folder.join(STAGING).join(LIST))? {
        return Ok(Standing::Unfinished);
    }
    if is_taken_over && !is_ours {
        return Err(StockError::Missing { folder: folder.to_owned() });
    }
    let found = Found::scan(disk, folder, !is_taken_over)?;
    match found.evidence() {
        None => Ok(Standing::Ours),
        Some(file) if is_ours => Err(StockError::Both { path: folder.join(file) }),
        Some(_) => Ok(Standing::Stock(found)),
    }
}

fn begin_report(
    disk: &dyn Disk,
    folder: &Path,
    found: &Found,
    settings: &Settings,
) -> Result<ImportReport, StorageError> {
    let mut legacy = format!("legacy-{}", settings.stamp);
    while disk.exists(&folder.join(&legacy))? {
        legacy.push_str("-again");
    }
    Ok(ImportReport {
        skipped: found.skipped.iter().cloned().collect(),
        strange: found.strange.clone(),
        message_bytes_max: settings.message_bytes_max,
        legacy,
        ..ImportReport::default()
    })
}

/// Write all of ours beside stock's files.
fn stage(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    found: &Found,
    settings: &Settings,
) -> Result<ImportReport, StockError> {
    for name in OURS {
        let path = folder.join(name);
        if disk.exists(&path)? {
            return Err(StockError::InTheWay { path });
        }
    }
    let needed = found.topics.values().map(least_bytes).sum();
    let free = disk.space(folder)?.available;
    if free < needed {
        return Err(StockError::NoSpace { folder: folder.to_owned(), needed, free });
    }
    let staging = folder.join(STAGING);
    remove_dir(&**disk, &staging)?;
    disk.create_dir(&staging)?;
    disk.sync_dir(folder)?;
    let dir = DataDir::open(Arc::clone(disk), &staging)?;
    let mut report = begin_report(&**disk, folder, found, settings)?;
    for (name, topic) in &found.topics {
        let to = dir.create(name.as_str())?;
        transfer(disk, folder, Some(&to), name, topic, settings, &mut report)?;
    }
    dir.sync_names()?;
    write(&**disk, &staging.join(REPORT), &format!("{report}\n"))?;
    let moved = found.files.iter().filter(|name| *name != METADATA);
    let list: String = [&report.legacy].into_iter().chain(moved).map(|line| format!("{line}\n")).collect();
    if found.files.iter().any(|name| name == METADATA) {
        let bytes = read_all(&**disk, &folder.join(METADATA))?;
        write_bytes(&**disk, &staging.join(METADATA), &bytes)?;
    }
    write(&**disk, &staging.join(LIST), &list)?;
    disk.sync_dir(&staging)?;
    write_sentence(&**disk, folder, &report.legacy)?;
    disk.sync_dir(folder)?;
    Ok(report)
}

/// What a topic takes at the least: its own queue, and the longest of its channels.
fn least_bytes(topic: &FoundTopic) -> u64 {
    let live = |files: &stock::QueueFiles| -> u64 {
        files.plan(false).parts.iter().map(|part| part.file_bytes.saturating_sub(part.from)).sum()
    };
    let longest = topic.channels.values().map(|queue| live(&queue.files)).max();
    live(&topic.queue.files) + longest.unwrap_or(0)
}

/// What will take the place of `nsqd.dat`, beside it.
fn write_sentence(disk: &dyn Disk, folder: &Path, legacy: &str) -> Result<(), StorageError> {
    let tmp = folder.join(SENTENCE_TMP);
    if disk.exists(&tmp)? {
        disk.remove(&tmp)?;
    }
    let sentence = format!(
        "{TAKEN_OVER}, and keeps its old files in {legacy}.\nA stock nsqd would find none of them and must not start \
         here. The way back: `nsqd export --data-path THIS-FOLDER --to NEW-FOLDER`, then start the stock nsqd on \
         NEW-FOLDER.\n"
    );
    write(disk, &tmp, &sentence)
}

/// The one step that makes it so.
fn commit(disk: &dyn Disk, folder: &Path) -> Result<(), StorageError> {
    disk.rename(&folder.join(SENTENCE_TMP), &folder.join(METADATA))?;
    disk.sync_dir(folder)
}

/// Put ours into its place and stock's files aside. Whatever was done before stays done.
fn finish(disk: &dyn Disk, folder: &Path) -> Result<(), StockError> {
    let (staging, done) = (folder.join(STAGING), folder.join(DONE));
    if !disk.exists(&done)? {
        disk.rename(&staging, &done)?;
        disk.sync_dir(folder)?;
    }
    for name in OURS {
        move_once(disk, &done.join(name), &folder.join(name))?;
    }
    disk.sync_dir(folder)?;
    let list = done.join(LIST);
    if disk.exists(&list)? {
        let bytes = read_all(disk, &list)?;
        let text = String::from_utf8_lossy(&bytes);
        let mut lines = text.lines();
        let legacy = folder.join(lines.next().unwrap_or("legacy"));
        disk.create_dir(&legacy)?;
        disk.sync_dir(folder)?;
        for name in [METADATA, REPORT] {
            move_once(disk, &done.join(name), &legacy.join(name))?;
        }
        for name in lines {
            move_once(disk, &folder.join(name), &legacy.join(name))?;
        }
        // Names that only left one folder would be back after a power cut: both are synced.
        disk.sync_dir(&legacy)?;
        disk.sync_dir(folder)?;
        disk.remove(&list)?;
        disk.sync_dir(&done)?;
    }
    remove_dir(disk, &done)?;
    disk.sync_dir(folder)?;
    Ok(())
}

fn move_once(disk: &dyn Disk, from: &Path, to: &Path) -> Result<(), StockError> {
    if !disk.exists(from)? {
        return Ok(());
    }
    if disk.exists(to)? {
        return Err(StockError::InTheWay { path: to.to_owned() });
    }
    Ok(disk.rename(from, to)?)
}

fn remove_dir(disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    if disk.exists(path)? { disk.remove_dir(path) } else { Ok(()) }
}

fn write(disk: &dyn Disk, path: &Path, text: &str) -> Result<(), StorageError> {
    write_bytes(disk, path, text.as_bytes())
}

fn write_bytes(disk: &dyn Disk, path: &Path, bytes: &[u8]) -> Result<(), StorageError> {
    let file = disk.create(path)?;
    file.write_at(bytes, 0)?;
    file.sync_data()
}
