//! The data directory: what marks it as ours, and one folder per name below `topics`.
//! What is inside of a folder is the log's and the journal's business.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::disk::Disk;
use crate::error::{ErrorKind, StorageError};
use crate::format::{self, PREAMBLE_BYTES, Preamble};
use crate::segment::read_full;

const MAGIC: &[u8; 8] = b"NSQBEdir";
const MARK: &str = "nsqube";
const MARK_TMP: &str = "nsqube.tmp";
/// No identity is longer.
const MARK_BYTES_MAX: usize = 4096;
const TOPICS: &str = "topics";
const DELETED: &str = ".deleted-";
/// What ext4, xfs and most others allow for one name.
const FOLDER_BYTES_MAX: usize = 255 - 16;

/// A data directory that was found to be ours, or was made so.
///
/// ```text
/// <data>/nsqube                 magic, format version, and whose directory it is if somebody said
/// <data>/topics/<name>/         [a-z0-9_-] stand for themselves, every other byte is %xx
/// <data>/topics/<name>.deleted-N/   on its way out; gone at the next start at the latest
/// ```
#[derive(Debug)]
pub struct DataDir {
    disk: Arc<dyn Disk>,
    topics: PathBuf,
}

impl DataDir {
    /// Open the directory at `path`, creating it if there is none. What earlier deletions left is removed.
    /// Take the [`crate::DirLock`] first.
    ///
    /// # Errors
    /// `Stock`: it holds the data of Go nsqd; `Newer` or `Foreign` by its mark. Nothing was touched then.
    pub fn open(disk: Arc<dyn Disk>, path: &Path) -> Result<Self, StorageError> {
        Self::open_as(disk, path, None)
    }

    /// `open`, for the one whose directory it must be: a text the operator of a cluster gives, so that a volume that
    /// is mounted in the wrong place is noticed. `None`: nothing is checked. A mark that names nobody takes the name.
    ///
    /// # Errors
    /// As `open`; `Identity`: the mark names another. Nothing was touched then.
    pub fn open_as(disk: Arc<dyn Disk>, path: &Path, identity: Option<&str>) -> Result<Self, StorageError> {
        if !disk.exists(path)? {
            disk.create_dir(path)?;
        } else if !disk.exists(&path.join(MARK))? {
            // After an import there is an nsqd.dat, with a sentence for a stock nsqd that is started here.
            refuse_stock(&*disk, path)?;
        }
        let topics = path.join(TOPICS);
        let dir = Self { disk, topics };
        let marked = dir.marked(path)?;
        let found = marked.as_deref().unwrap_or_default();
        match identity {
            Some(given) if !found.is_empty() && found != given => {
                return Err(StorageError::belongs_to(found, &path.join(MARK)));
            }
            Some(given) if found != given => dir.mark(path, given)?,
            None if marked.is_none() => dir.mark(path, "")?,
            _ => {}
        }
        dir.disk.create_dir(&dir.topics)?;
        // A power cut must not take the folder that all topics are in.
        dir.disk.sync_dir(path)?;
        dir.remove_deleted()?;
        Ok(dir)
    }

    /// The names there are folders for, sorted.
    ///
    /// # Errors
    /// The disk failed, or something that is no folder stands where one would be: what was in it is missed by
    /// somebody.
    pub fn list(&self) -> Result<Vec<String>, StorageError> {
        let entries = self.disk.list(&self.topics)?;
        let intruder = entries.iter().find(|entry| !entry.is_dir && decode_name(&entry.name).is_some());
        if let Some(entry) = intruder {
            let kind = ErrorKind::Io(std::io::ErrorKind::NotADirectory);
            return Err(StorageError::new(kind, "list", &self.topics.join(&entry.name)));
        }
        let folders = entries.iter().filter(|entry| entry.is_dir);
        let mut names: Vec<String> = folders.filter_map(|entry| decode_name(&entry.name)).collect();
        names.sort();
        Ok(names)
    }

    /// Where the folder for `name` is, or would be.
    pub fn path_of(&self, name: &str) -> PathBuf {
        self.topics.join(encode_name(name))
    }

    /// Make the folder for `name`; fine if it exists.
    ///
    /// # Errors
    /// The name is empty or too long for a folder, or the disk failed.
    pub fn create(&self, name: &str) -> Result<PathBuf, StorageError> {
        let path = self.path_of(name);
        let folder_bytes = encode_name(name).len();
        if folder_bytes == 0 || folder_bytes > FOLDER_BYTES_MAX {
            return Err(StorageError::new(ErrorKind::Name, "create", &path));
        }
        self.disk.create_dir(&path)?;
        Ok(path)
    }

    /// Have the folders made so far survive a power cut.
    ///
    /// # Errors
    /// The disk failed.
    pub fn sync_names(&self) -> Result<(), StorageError> {
        self.disk.sync_dir(&self.topics)
    }

    /// Delete the folder for `name` and all in it; fine if there is none. Once this returns it never comes back.
    ///
    /// # Errors
    /// The folder could not be renamed away and is as it was.
    pub fn delete(&self, name: &str) -> Result<(), StorageError> {
        let path = self.path_of(name);
        if name.is_empty() || !self.disk.exists(&path)? {
            return Ok(());
        }
        let mut number = 0;
        let doomed = loop {
            let candidate = self.topics.join(format!("{}{DELETED}{number}", encode_name(name)));
            if !self.disk.exists(&candidate)? {
                break candidate;
            }
            number += 1;
        };
        // The rename is the deletion: atomic, however many files there are. What cannot be removed now is
        // removed at the next start.
        self.disk.rename(&path, &doomed)?;
        self.sync_names()?;
        self.disk.remove_dir(&doomed).ok();
        Ok(())
    }

    /// Whose directory it is, by its mark; an empty text names nobody. `None`: there is no mark, or none that can be
    /// read.
    fn marked(&self, path: &Path) -> Result<Option<String>, StorageError> {
        let mark = path.join(MARK);
        if !self.disk.exists(&mark)? {
            return Ok(None);
        }
        let file = self.disk.open(&mark)?;
        let mut bytes = vec![0; MARK_BYTES_MAX];
        let filled = read_full(&*file, &mut bytes, 0)?;
        bytes.truncate(filled);
        let header_bytes = bytes.len().max(PREAMBLE_BYTES);
        Ok(match format::judge(MAGIC, &bytes, header_bytes, &mark)? {
            Preamble::Fields(identity) => Some(String::from_utf8_lossy(identity).into_owned()),
            Preamble::Torn => None,
        })
    }

    fn mark(&self, path: &Path, identity: &str) -> Result<(), StorageError> {
        let tmp = path.join(MARK_TMP);
        if self.disk.exists(&tmp)? {
            self.disk.remove(&tmp)?;
        }
        let file = self.disk.create(&tmp)?;
        file.write_at(&format::header(MAGIC, identity.as_bytes()), 0)?;
        file.sync_data()?;
        self.disk.rename(&tmp, &path.join(MARK))?;
        self.disk.sync_dir(path)
    }

    fn remove_deleted(&self) -> Result<(), StorageError> {
        for entry in self.disk.list(&self.topics)? {
            // A dot is never literal in an encoded name, so no live folder looks like this.
            if entry.is_dir && entry.name.contains(DELETED) {
                self.disk.remove_dir(&self.topics.join(&entry.name))?;
            }
        }
        Ok(())
    }
}

/// The folder for a name: `[a-z0-9_-]` stand for themselves, so that names differing in case differ on every
/// file system, and `.` and `..` are ordinary names.
pub fn encode_name(name: &str) -> String {
    let mut folder = String::with_capacity(name.len());
    for byte in name.bytes() {
        match byte {
            b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' => folder.push(char::from(byte)),
            other => folder.push_str(&format!("%{other:02x}")),
        }
    }
    folder
}

/// The name of a folder; `None` for what `encode_name` would not write.
pub fn decode_name(folder: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(folder.len());
    let mut rest = folder;
    while let Some(first) = rest.bytes().next() {
        let length = if first == b'%' { 3 } else { 1 };
        let (unit, behind) = rest.split_at_checked(length)?;
        bytes.push(match unit.strip_prefix('%') {
            Some(digits) => u8::from_str_radix(digits, 16).ok()?,
            None => first,
        });
        rest = behind;
    }
    let name = String::from_utf8(bytes).ok()?;
    // Refuses upper-case digits, escapes of plain letters and the empty name in one comparison.
    (!name.is_empty() && encode_name(&name) == folder).then_some(name)
}

fn refuse_stock(disk: &dyn Disk, path: &Path) -> Result<(), StorageError> {
    for entry in disk.list(path)? {
        // nsqd: metadata in nsqd.dat, messages in NAME.diskqueue.NNNNNN.dat, places in NAME.diskqueue.meta.dat.
        let is_queue = entry.name.contains(".diskqueue.") && entry.name.ends_with(".dat");
        if entry.name == "nsqd.dat" || is_queue {
            return Err(StorageError::new(ErrorKind::Stock, "use", &path.join(&entry.name)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::fake_disk::{FakeDisk, Fault};

    fn open(disk: &FakeDisk) -> Result<DataDir, StorageError> {
        DataDir::open(Arc::new(disk.clone()), Path::new("/data"))
    }

    fn snapshot(disk: &FakeDisk) -> Vec<(PathBuf, Option<Vec<u8>>)> {
        disk.files().into_iter().map(|path| (path.clone(), disk.content(&path))).collect()
    }

    #[test]
    fn names_that_look_like_paths_or_differ_in_case_get_folders_of_their_own() {
        for (name, folder) in [
            ("orders", "orders"),
            ("Orders", "%4frders"),
            (".", "%2e"),
            ("..", "%2e%2e"),
            ("a.b_c-1", "a%2eb_c-1"),
            ("x#ephemeral", "x%23ephemeral"),
        ] {
            assert_eq!(encode_name(name), folder);
            assert_eq!(decode_name(folder).as_deref(), Some(name));
        }
        for folder in ["", "A", "%4F", "%61", "%", "%4", "%zz", "%+1", "a.b", "%ff", "o.deleted-0"] {
            assert_eq!(decode_name(folder), None, "{folder}");
        }
    }

    #[test]
    fn folders_are_created_listed_and_deleted_for_good() {
        let disk = FakeDisk::default();
        let dir = open(&disk).unwrap();
        for name in ["b", "A.b", "a"] {
            let path = dir.create(name).unwrap();
            disk.put(&path.join("journal"), b"x");
        }
        dir.create("a").unwrap();
        assert_eq!(dir.list().unwrap(), ["A.b", "a", "b"]);
        dir.delete("a").unwrap();
        dir.delete("never").unwrap();
        assert_eq!(open(&disk).unwrap().list().unwrap(), ["A.b", "b"]);
        assert_eq!(dir.create("").unwrap_err().kind, ErrorKind::Name);
        assert_eq!(dir.create(&"A".repeat(200)).unwrap_err().kind, ErrorKind::Name);
    }

    #[test]
    fn a_deletion_killed_at_any_call_is_done_or_not_done() {
        for call in 1..12 {
            let disk = FakeDisk::default();
            let dir = open(&disk).unwrap();
            let path = dir.create("t").unwrap();
            disk.put(&path.join("journal"), b"x");
            disk.fail_at(disk.calls() + call, Fault::io().lasting());
            let is_deleted = dir.delete("t").is_ok();
            let disk = disk.crash();
            let dir = open(&disk).unwrap();
            let is_there = disk.content(&path.join("journal")).is_some();
            assert!(!is_there || !is_deleted, "killed at call {call}");
            assert_eq!(dir.list().unwrap().len(), usize::from(is_there));
            assert_eq!(disk.files().len(), 1 + usize::from(is_there), "leftovers are gone");
        }
    }

    #[test]
    fn a_directory_of_a_stock_nsqd_is_refused_untouched() {
        for name in ["nsqd.dat", "orders.diskqueue.000000.dat", "orders:mail.diskqueue.meta.dat"] {
            let disk = FakeDisk::default();
            disk.create_dir(Path::new("/data")).unwrap();
            disk.put(&Path::new("/data").join(name), b"{}");
            let before = snapshot(&disk);
            let error = open(&disk).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Stock);
            let text = error.to_string();
            assert!(text.contains(name) && text.contains("nsqd import"), "{text}");
            assert_eq!(snapshot(&disk), before);
        }
    }

    #[test]
    fn a_directory_of_another_is_refused_untouched_and_one_of_nobody_is_taken() {
        let disk = FakeDisk::default();
        let open_as = |identity| DataDir::open_as(Arc::new(disk.clone()), Path::new("/data"), identity);
        open_as(None).unwrap();
        open_as(Some("prod/orders/0")).unwrap();
        let before = snapshot(&disk);
        for _ in 0..2 {
            open_as(Some("prod/orders/0")).unwrap();
            open_as(None).unwrap();
            let error = open_as(Some("prod/orders/1")).unwrap_err();
            assert_eq!(error.kind, ErrorKind::Identity);
            let text = error.to_string();
            assert!(text.contains("prod/orders/0") && text.contains("nothing was changed"), "{text}");
        }
        assert_eq!(snapshot(&disk), before);
        // A mark that cannot be read names nobody.
        disk.put(Path::new("/data/nsqube"), &[0; 29]);
        open_as(Some("prod/orders/1")).unwrap();
        assert_eq!(open_as(Some("prod/orders/0")).unwrap_err().detail, "prod/orders/1");
    }

    #[test]
    fn a_file_in_the_place_of_a_folder_is_named() {
        let disk = FakeDisk::default();
        let dir = open(&disk).unwrap();
        disk.put(Path::new("/data/topics/orders"), b"x");
        let text = dir.list().unwrap_err().to_string();
        assert!(text.contains("/data/topics/orders") && text.contains("move it away"), "{text}");
    }

    #[test]
    fn a_newer_or_foreign_directory_is_refused_untouched() {
        let mut newer = [MAGIC.as_slice(), &2u32.to_le_bytes()].concat();
        let crc = crc32c::crc32c(&newer);
        newer.extend_from_slice(&crc.to_le_bytes());
        for (mark, kind) in [
            (newer, ErrorKind::Newer { found: 2, known: 1 }),
            (b"something else".to_vec(), ErrorKind::Foreign),
        ] {
            let disk = FakeDisk::default();
            open(&disk).unwrap();
            disk.put(Path::new("/data/nsqube"), &mark);
            disk.create_dir(Path::new("/data/topics/t.deleted-0")).unwrap();
            disk.put(Path::new("/data/topics/t.deleted-0/journal"), b"x");
            let before = snapshot(&disk);
            assert_eq!(open(&disk).unwrap_err().kind, kind);
            assert_eq!(snapshot(&disk), before);
        }
    }

    #[test]
    fn a_first_start_killed_at_any_call_is_made_up_for_by_the_next() {
        for call in 1..20 {
            let disk = FakeDisk::default();
            disk.fail_at(call, Fault::io().keeping(5).lasting());
            open(&disk).ok();
            let disk = disk.crash();
            open(&disk).unwrap().create("t").unwrap();
            assert_eq!(open(&disk).unwrap().list().unwrap(), ["t"], "killed at call {call}");
        }
    }

    proptest! {
        #[test]
        fn every_name_comes_back_from_its_folder(name in "\\PC{1,40}", folder in "[a-z%0-9A-F.]{0,9}") {
            let encoded = encode_name(&name);
            prop_assert!(encoded.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'_' | b'-' | b'%')));
            prop_assert_eq!(decode_name(&encoded), Some(name));
            if let Some(name) = decode_name(&folder) {
                prop_assert_eq!(encode_name(&name), folder);
            }
        }
    }
}
