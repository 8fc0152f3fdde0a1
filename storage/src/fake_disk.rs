//! A disk in memory that fails, tears and loses on command, for tests of this crate and of the broker. It tells
//! what a killed process leaves (every completed write) from what a power cut leaves (synced data, and of the
//! rest whatever the dice say).

mod content;

use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::disk::{DirEntry, Disk, File, Space, WholeDisk};
use crate::error::StorageError;

pub(crate) use content::Dice;
use content::{Change, FileState};

/// A disk in memory. Clones are the same disk.
#[derive(Clone, Default)]
pub struct FakeDisk {
    shared: Arc<Mutex<Shared>>,
}

/// What was there before a call.
#[derive(Debug)]
pub struct Moment {
    /// The call's number.
    pub call: u64,
    before: Shared,
    /// If it was a write: to which file, where, what.
    write: Option<(usize, u64, Vec<u8>)>,
}

impl Moment {
    /// The disk as it was; of a write, its first `bytes` are done.
    pub fn disk(&self, bytes: usize) -> FakeDisk {
        let mut shared = self.before.survivor();
        if let Some((id, at, whole)) = &self.write
            && let (Some(file), Some(part)) = (shared.files.get_mut(*id), whole.get(..bytes.min(whole.len())))
        {
            file.write(part, *at);
        }
        FakeDisk { shared: Arc::new(Mutex::new(shared)) }
    }

    /// How long the write was; 0 if the call was none.
    pub fn write_bytes(&self) -> usize {
        self.write.as_ref().map_or(0, |(_, _, whole)| whole.len())
    }
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

    /// A signal came (EINTR).
    pub fn interrupted() -> Self {
        Self { kind: io::ErrorKind::Interrupted, ..Self::io() }
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
        Self { shared: Arc::new(Mutex::new(shared.survivor())) }
    }

    /// What is there after the power was cut: of what was not synced, names up to some point in time, and any of
    /// the writes, some torn. The same seed, the same loss.
    pub fn power_cut(&self, seed: u64) -> Self {
        Self { shared: Arc::new(Mutex::new(self.lock().power_cut(Some(&mut Dice(seed))))) }
    }

    /// `power_cut`, and nothing that was not synced is there.
    pub fn power_cut_losing_all(&self) -> Self {
        Self { shared: Arc::new(Mutex::new(self.lock().power_cut(None))) }
    }

    /// Remember from now on what was there before each call that changed something.
    pub fn record(&self) {
        self.lock().history = Some(Vec::new());
    }

    /// What `record` remembers, oldest first.
    pub fn moments(&self) -> Vec<Moment> {
        self.lock().history.take().unwrap_or_default()
    }

    /// Everything there is survives a power cut from now on.
    pub fn sync_all(&self) {
        let mut shared = self.lock();
        shared.durable = shared.tree.clone();
        shared.unsynced.clear();
        shared.files.iter_mut().for_each(FileState::sync);
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

    /// Let the disk have room for so many bytes of files: a write beyond them fails for want of space.
    pub fn limit_space(&self, bytes: Option<u64>) {
        self.lock().space = bytes;
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn handle(&self, id: usize, path: &Path) -> Arc<dyn File> {
        Arc::new(FakeFile { disk: self.clone(), id, path: path.to_path_buf() })
    }
}

impl std::fmt::Debug for FakeDisk {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("FakeDisk")
    }
}

impl WholeDisk for FakeDisk {
    fn sync(&self) -> Result<(), StorageError> {
        self.lock().call(Need::Nothing, "sync all of", Path::new("/"))?;
        self.sync_all();
        Ok(())
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
        let is_dir = shared.tree.get(path) == Some(&Node::Dir);
        let kind = if is_dir { io::ErrorKind::IsADirectory } else { io::ErrorKind::NotFound };
        let id = shared.file(path).ok_or_else(|| error(kind, "open", path))?;
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

    fn whole(&self, _: &Path) -> Option<Arc<dyn WholeDisk>> {
        Some(Arc::new(self.clone()))
    }

    fn exists(&self, path: &Path) -> Result<bool, StorageError> {
        let mut shared = self.lock();
        shared.call(Need::Nothing, "look for", path)?;
        Ok(shared.tree.contains_key(path))
    }

    fn space(&self, path: &Path) -> Result<Space, StorageError> {
        let mut shared = self.lock();
        shared.call(Need::Nothing, "measure", path)?;
        shared.must_exist(path, "measure")?;
        let total = shared.space.unwrap_or(1 << 40);
        Ok(Space { total, available: total.saturating_sub(shared.used()) })
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
        let result = shared.call(need, operation, &self.path);
        if operation == "sync"
            && result.is_err()
            && let Some(file) = shared.files.get_mut(self.id)
        {
            // As Linux does: the pages count as clean, the next sync says all is well, the disk never sees them.
            file.unsynced.clear();
        }
        result?;
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
            if let (Some(to), Some(from)) = (buffer.get_mut(..length), stored.get(..length)) {
                to.copy_from_slice(from);
            }
            length
        })
    }

    fn write_at(&self, bytes: &[u8], at: u64) -> Result<(), StorageError> {
        let (grows_by, room) = {
            let shared = self.disk.lock();
            let length = shared.files.get(self.id).map_or(0, |file| file.bytes.len() as u64);
            ((at + bytes.len() as u64).saturating_sub(length), shared.room())
        };
        // What is written over what is there needs no more space.
        let need = if grows_by > 0 { Need::Space } else { Need::Nothing };
        let failure = if grows_by <= room {
            self.disk.lock().writing = Some((self.id, at, bytes.to_vec()));
            match self.call(need, "write", |file| file.write(bytes, at)) {
                Ok(()) => return Ok(()),
                Err(failure) => failure,
            }
        } else {
            let mut shared = self.disk.lock();
            shared.call(Need::Space, "write", &self.path)?;
            shared.keep =
                bytes.len() - usize::try_from(grows_by - room).unwrap_or(usize::MAX).min(bytes.len());
            error(io::ErrorKind::StorageFull, "write", &self.path)
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
            file.sync();
        })
    }

    fn len(&self) -> Result<u64, StorageError> {
        self.call(Need::Nothing, "measure", |file| file.bytes.len() as u64)
    }

    fn set_len(&self, bytes: u64) -> Result<(), StorageError> {
        self.call(Need::Nothing, "cut", |file| {
            let change = Change::Length(usize::try_from(bytes).unwrap_or(usize::MAX));
            file.change(change);
        })
    }

    fn punch(&self, from: u64, to: u64) -> Result<(), StorageError> {
        self.call(Need::Nothing, "free a part of", |file| {
            let place = |at| usize::try_from(at).unwrap_or(usize::MAX);
            file.change(Change::Hole(place(from), place(to)));
        })
    }

    fn allocated_bytes(&self) -> Result<u64, StorageError> {
        self.call(Need::Nothing, "measure", |file| file.allocated())
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
    /// How many bytes of files there is room for; `None`: as many as the memory takes.
    space: Option<u64>,
    /// How much of the write that failed just now is done all the same.
    keep: usize,
    history: Option<Vec<Moment>>,
    /// The write that is about to be counted.
    writing: Option<(usize, u64, Vec<u8>)>,
}

/// Calls that change nothing, not even what survives.
const QUESTIONS: [&str; 6] = ["read", "open", "list", "look for", "measure", "sync nothing"];

impl Shared {
    /// Count a call, and let it fail if its time has come.
    fn call(&mut self, need: Need, operation: &'static str, path: &Path) -> Result<(), StorageError> {
        self.calls += 1;
        self.keep = 0;
        let write = self.writing.take();
        if self.history.is_some() && !QUESTIONS.contains(&operation) {
            let moment = Moment { call: self.calls, before: self.survivor(), write };
            if let Some(history) = &mut self.history {
                history.push(moment);
            }
        }
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

    /// What a killed process leaves.
    fn survivor(&self) -> Self {
        let (tree, files) = (self.tree.clone(), self.files.clone());
        let (durable, unsynced) = (self.durable.clone(), self.unsynced.clone());
        Self { tree, files, durable, unsynced, space: self.space, ..Self::default() }
    }

    /// What a power cut leaves: all by the dice, or nothing unsynced without them.
    fn power_cut(&self, mut dice: Option<&mut Dice>) -> Self {
        let mut tree = self.durable.clone();
        let kept = dice.as_deref_mut().map_or(0, |dice| dice.below(self.unsynced.len() + 1));
        for step in self.unsynced.iter().take(kept) {
            step.apply(&mut tree);
        }
        let files = self.files.iter().map(|file| file.power_cut(dice.as_deref_mut())).collect();
        Self { durable: tree.clone(), tree, files, space: self.space, ..Self::default() }
    }

    /// How much can still be written.
    fn room(&self) -> u64 {
        self.space.map_or(u64::MAX, |space| space.saturating_sub(self.used()))
    }

    /// What the files that have a name take; holes take nothing.
    fn used(&self) -> u64 {
        self.tree.values().filter_map(|node| self.state(*node)).map(FileState::allocated).sum()
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

fn error(kind: io::ErrorKind, operation: &'static str, path: &Path) -> StorageError {
    StorageError::io(&io::Error::from(kind), operation, path)
}
