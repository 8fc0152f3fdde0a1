//! A disk in memory that fails, tears and loses on command, for tests of this crate and of the broker. It tells
//! what a killed process leaves (every completed write) from what a power cut leaves (synced data, and of the
//! rest whatever the dice say).

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{DirEntry, Disk, File};
use crate::error::StorageError;

/// A disk in memory. Clones are the same disk.
#[derive(Debug, Clone, Default)]
pub struct FakeDisk {
    shared: Arc<Mutex<Shared>>,
}

/// How a call fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fault {
    kind: io::ErrorKind,
    /// How many bytes of a write are done before it fails.
    keep: usize,
    is_lasting: bool,
}

impl Fault {
    /// The device fails (EIO).
    pub fn io() -> Self {
        Self { kind: io::ErrorKind::Other, keep: 0, is_lasting: false }
    }

    /// There is no space (ENOSPC). Calls that need none work.
    pub fn full() -> Self {
        Self { kind: io::ErrorKind::StorageFull, ..Self::io() }
    }

    /// If it hits a write, its first `bytes` are done.
    pub fn keeping(self, bytes: usize) -> Self {
        Self { keep: bytes, ..self }
    }

    /// Every call from there on fails, until `heal`: with `io`, the process was killed there.
    pub fn lasting(self) -> Self {
        Self { is_lasting: true, ..self }
    }
}

impl FakeDisk {
    /// How many calls there were so far.
    pub fn calls(&self) -> u64 {
        self.lock().calls
    }

    /// Let the call number `call` fail, counted from 1 when the disk was made.
    pub fn fail_at(&self, call: u64, fault: Fault) {
        self.lock().fault = Some((call, fault));
    }

    /// No more failures.
    pub fn heal(&self) {
        self.lock().fault = None;
    }

    /// What is there after the process was killed: every completed write. Old handles do not reach it.
    pub fn crash(&self) -> Self {
        let shared = self.lock();
        let survivor = Shared { tree: shared.tree.clone(), files: shared.files.clone(), ..Shared::default() };
        Self { shared: Arc::new(Mutex::new(survivor)) }
    }

    /// What is there after the power was cut: of what was not synced, names up to some point in time, and any of
    /// the writes, some torn. The same seed, the same loss.
    pub fn power_cut(&self, seed: u64) -> Self {
        let shared = self.lock();
        let mut dice = Dice(seed);
        let mut tree = shared.durable.clone();
        let kept = dice.below(shared.unsynced.len() + 1);
        for step in shared.unsynced.iter().take(kept) {
            step.apply(&mut tree);
        }
        let files = shared.files.iter().map(|file| file.power_cut(&mut dice)).collect();
        let survivor = Shared { durable: tree.clone(), tree, files, ..Shared::default() };
        Self { shared: Arc::new(Mutex::new(survivor)) }
    }

    /// A file's content.
    pub fn content(&self, path: &Path) -> Option<Vec<u8>> {
        let shared = self.lock();
        let id = shared.file(path)?;
        shared.files.get(id).map(|file| file.bytes.clone())
    }

    /// Put a file there, or other content into one, as if from outside.
    pub fn put(&self, path: &Path, bytes: &[u8]) {
        let mut shared = self.lock();
        let id = shared.file(path).unwrap_or_else(|| shared.add_file(path));
        if let Some(file) = shared.files.get_mut(id) {
            *file = FileState { bytes: bytes.to_vec(), durable: bytes.to_vec(), unsynced: Vec::new() };
        }
    }

    /// The paths of all files.
    pub fn files(&self) -> Vec<PathBuf> {
        let shared = self.lock();
        shared.tree.iter().filter(|(_, node)| **node != Node::Dir).map(|(path, _)| path.clone()).collect()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, id: usize, path: &Path) -> Arc<dyn File> {
        Arc::new(FakeFile { disk: self.clone(), id, path: path.to_path_buf() })
    }
}

impl Disk for FakeDisk {
    fn create_dir(&self, path: &Path) -> Result<(), StorageError> {
        let mut shared = self.lock();
        // A directory that is there already needs no space.
        let need = if shared.tree.contains_key(path) { Need::Nothing } else { Need::Space };
        shared.call(need, "create", path)?;
        let missing: Vec<&Path> = path.ancestors().filter(|dir| !shared.tree.contains_key(*dir)).collect();
        for dir in missing.into_iter().rev() {
            shared.change(Step::Add(dir.to_path_buf(), Node::Dir));
        }
        Ok(())
    }

    fn list(&self, path: &Path) -> Result<Vec<DirEntry>, StorageError> {
        let mut shared = self.lock();
        shared.call(Need::Nothing, "list", path)?;
        shared.must_exist(path, "list")?;
        let inside = shared.tree.iter().filter(|(entry, _)| entry.parent() == Some(path));
        let entries = inside.map(|(entry, node)| DirEntry {
            name: entry.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default(),
            is_dir: *node == Node::Dir,
            bytes: shared.state(*node).map_or(0, |file| file.bytes.len() as u64),
        });
        Ok(entries.collect())
    }

    fn create(&self, path: &Path) -> Result<Arc<dyn File>, StorageError> {
        let mut shared = self.lock();
        shared.call(Need::Space, "create", path)?;
        if shared.tree.contains_key(path) {
            return Err(error(io::ErrorKind::AlreadyExists, "create", path));
        }
        if let Some(parent) = path.parent() {
            shared.must_exist(parent, "create")?;
        }
        let id = shared.add_file(path);
        Ok(self.handle(id, path))
    }

    fn open(&self, path: &Path) -> Result<Arc<dyn File>, StorageError> {
        let mut shared = self.lock();
        shared.call(Need::Nothing, "open", path)?;
        let id = shared.file(path).ok_or_else(|| error(io::ErrorKind::NotFound, "open", path))?;
        Ok(self.handle(id, path))
    }

    fn remove(&self, path: &Path) -> Result<(), StorageError> {
        let mut shared = self.lock();
        shared.call(Need::Nothing, "remove", path)?;
        shared.must_exist(path, "remove")?;
        shared.change(Step::Remove(path.to_path_buf()));
        Ok(())
    }

    fn remove_dir(&self, path: &Path) -> Result<(), StorageError> {
        self.remove(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), StorageError> {
        let mut shared = self.lock();
        shared.call(Need::Nothing, "rename", from)?;
        shared.must_exist(from, "rename")?;
        shared.change(Step::Rename(from.to_path_buf(), to.to_path_buf()));
        Ok(())
    }

    fn sync_dir(&self, path: &Path) -> Result<(), StorageError> {
        let mut shared = self.lock();
        shared.call(Need::Nothing, "sync", path)?;
        shared.sync_names(path);
        Ok(())
    }

    fn exists(&self, path: &Path) -> Result<bool, StorageError> {
        let mut shared = self.lock();
        shared.call(Need::Nothing, "look for", path)?;
        Ok(shared.tree.contains_key(path))
    }
}

#[derive(Debug)]
struct FakeFile {
    disk: FakeDisk,
    id: usize,
    path: PathBuf,
}

impl FakeFile {
    /// Count the call, then do `act` to the file.
    fn call<T>(
        &self,
        need: Need,
        operation: &'static str,
        act: impl FnOnce(&mut FileState) -> T,
    ) -> Result<T, StorageError> {
        let mut shared = self.disk.lock();
        shared.call(need, operation, &self.path)?;
        let file = shared.files.get_mut(self.id);
        file.map(act).ok_or_else(|| error(io::ErrorKind::NotFound, operation, &self.path))
    }
}

impl File for FakeFile {
    fn read_at(&self, buffer: &mut [u8], at: u64) -> Result<usize, StorageError> {
        self.call(Need::Nothing, "read", |file| {
            let from = usize::try_from(at).unwrap_or(usize::MAX);
            let stored = file.bytes.get(from..).unwrap_or_default();
            // A short read now and then is what the real call may do; halves end, so this does.
            let length = if buffer.len() > 512 { buffer.len() / 2 } else { buffer.len() }.min(stored.len());
            for (to, from) in buffer.iter_mut().zip(stored.iter().take(length)) {
                *to = *from;
            }
            length
        })
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<(), StorageError> {
        let failure = match self.call(Need::Space, "write", |file| file.write(bytes, at)) {
            Ok(()) => return Ok(()),
            Err(failure) => failure,
        };
        let mut shared = self.disk.lock();
        let keep = std::mem::take(&mut shared.keep).min(bytes.len());
        if let (Some(file), Some(part)) = (shared.files.get_mut(self.id), bytes.get(..keep)) {
            file.write(part, at);
        }
        Err(failure)
    }

    fn sync_data(&self) -> Result<(), StorageError> {
        self.call(Need::Nothing, "sync", |file| {
            file.durable = file.bytes.clone();
            file.unsynced.clear();
        })
    }

    fn len(&self) -> Result<u64, StorageError> {
        self.call(Need::Nothing, "measure", |file| file.bytes.len() as u64)
    }

    fn set_len(&self, bytes: u64) -> Result<(), StorageError> {
        self.call(Need::Nothing, "cut", |file| {
            let change = Change::Length(usize::try_from(bytes).unwrap_or(usize::MAX));
            change.apply(&mut file.bytes);
            file.unsynced.push(change);
        })
    }
}

/// Whether a call can fail for want of space.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Need {
    Space,
    Nothing,
}

#[derive(Debug, Default)]
struct Shared {
    tree: BTreeMap<PathBuf, Node>,
    files: Vec<FileState>,
    /// The names a power cut cannot take.
    durable: BTreeMap<PathBuf, Node>,
    /// What happened to names since, in order.
    unsynced: Vec<Step>,
    calls: u64,
    fault: Option<(u64, Fault)>,
    /// How much of the write that failed just now is done all the same.
    keep: usize,
}

impl Shared {
    /// Count a call, and let it fail if its time has come.
    fn call(&mut self, need: Need, operation: &'static str, path: &Path) -> Result<(), StorageError> {
        self.calls += 1;
        self.keep = 0;
        let Some((at, fault)) = self.fault else { return Ok(()) };
        let is_hit = self.calls == at || (fault.is_lasting && self.calls > at);
        let is_harmless = fault.kind == io::ErrorKind::StorageFull && need == Need::Nothing;
        if !is_hit || is_harmless {
            return Ok(());
        }
        // Once killed, a process writes nothing more, not even a part.
        self.keep = if self.calls == at || fault.kind == io::ErrorKind::StorageFull { fault.keep } else { 0 };
        Err(error(fault.kind, operation, path))
    }

    fn change(&mut self, step: Step) {
        step.apply(&mut self.tree);
        self.unsynced.push(step);
    }

    fn add_file(&mut self, path: &Path) -> usize {
        let id = self.files.len();
        self.files.push(FileState::default());
        self.change(Step::Add(path.to_path_buf(), Node::File(id)));
        id
    }

    fn file(&self, path: &Path) -> Option<usize> {
        match self.tree.get(path)? {
            Node::File(id) => Some(*id),
            Node::Dir => None,
        }
    }

    fn state(&self, node: Node) -> Option<&FileState> {
        match node {
            Node::File(id) => self.files.get(id),
            Node::Dir => None,
        }
    }

    fn must_exist(&self, path: &Path, operation: &'static str) -> Result<(), StorageError> {
        let is_there = self.tree.contains_key(path);
        if is_there { Ok(()) } else { Err(error(io::ErrorKind::NotFound, operation, path)) }
    }

    fn sync_names(&mut self, dir: &Path) {
        let (synced, rest): (Vec<Step>, Vec<Step>) =
            std::mem::take(&mut self.unsynced).into_iter().partition(|step| step.is_in(dir));
        for step in synced {
            step.apply(&mut self.durable);
        }
        self.unsynced = rest;
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Node {
    Dir,
    File(usize),
}

/// Something that happened to names.
#[derive(Debug, Clone)]
enum Step {
    Add(PathBuf, Node),
    /// With everything below it.
    Remove(PathBuf),
    Rename(PathBuf, PathBuf),
}

impl Step {
    fn apply(&self, tree: &mut BTreeMap<PathBuf, Node>) {
        match self {
            Self::Add(path, node) => {
                tree.insert(path.clone(), *node);
            }
            Self::Remove(path) => tree.retain(|entry, _| !entry.starts_with(path)),
            Self::Rename(from, to) => {
                let moved: Vec<(PathBuf, Node)> =
                    tree.extract_if(.., |entry, _| entry.starts_with(from)).collect();
                tree.extend(moved.into_iter().filter_map(|(entry, node)| {
                    let below = entry.strip_prefix(from).ok()?;
                    let moved = if below.as_os_str().is_empty() { to.clone() } else { to.join(below) };
                    Some((moved, node))
                }));
            }
        }
    }

    fn is_in(&self, dir: &Path) -> bool {
        let (Self::Add(path, _) | Self::Remove(path) | Self::Rename(_, path)) = self;
        path.parent() == Some(dir)
    }
}

#[derive(Debug, Clone, Default)]
struct FileState {
    bytes: Vec<u8>,
    /// What a power cut cannot take.
    durable: Vec<u8>,
    unsynced: Vec<Change>,
}

impl FileState {
    fn write(&mut self, bytes: &[u8], at: u64) {
        let change = Change::Write(usize::try_from(at).unwrap_or(usize::MAX), bytes.to_vec());
        change.apply(&mut self.bytes);
        self.unsynced.push(change);
    }

    /// Each write is kept, lost or torn, whatever became of the others: the kernel writes in any order.
    fn power_cut(&self, dice: &mut Dice) -> Self {
        let mut bytes = self.durable.clone();
        for change in &self.unsynced {
            match (dice.below(3), change) {
                (0, _) => {}
                (1, Change::Write(at, part)) => {
                    let kept = part.iter().take(dice.below(part.len() + 1)).copied().collect();
                    Change::Write(*at, kept).apply(&mut bytes);
                }
                _ => change.apply(&mut bytes),
            }
        }
        Self { durable: bytes.clone(), bytes, unsynced: Vec::new() }
    }
}

/// Something that happened to a file's content.
#[derive(Debug, Clone)]
enum Change {
    Write(usize, Vec<u8>),
    Length(usize),
}

impl Change {
    fn apply(&self, content: &mut Vec<u8>) {
        match self {
            Self::Length(length) => content.resize(*length, 0),
            Self::Write(_, bytes) if bytes.is_empty() => {}
            Self::Write(at, bytes) => {
                content.resize(content.len().max(at + bytes.len()), 0);
                for (to, from) in content.iter_mut().skip(*at).zip(bytes) {
                    *to = *from;
                }
            }
        }
    }
}

/// A small source of numbers (splitmix64) that gives the same ones for the same seed.
struct Dice(u64);

impl Dice {
    fn below(&mut self, bound: usize) -> usize {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut number = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        number = (number ^ (number >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((number ^ (number >> 31)) % bound.max(1) as u64) as usize
    }
}

fn error(kind: io::ErrorKind, operation: &'static str, path: &Path) -> StorageError {
    StorageError::io(&io::Error::from(kind), operation, path)
}
