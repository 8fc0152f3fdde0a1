//! The file system as a value: operations go in, and a power cut with a seed turns it into what the disk would hold.
//! No FUSE, clock or thread here; injected errors and the power switch are in `device`.

mod chance;
mod content;
mod file;
mod names;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};

use rustix::io::Errno;

use chance::Chance;
use content::PAGE_BYTES;
use file::File;
use names::{Names, Set};

/// Number of a file or directory; never used twice.
pub type Ino = u64;

/// The directory everything else is in.
pub const ROOT: Ino = 1;

/// How a power cut treats what was not synced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mode {
    /// All of it is gone.
    None,
    /// All of it survives.
    All,
    /// Each sector of 512 bytes, each size and each change of names survives or not, by the seed.
    Random,
    /// Contents as `Random`; names survive up to one change and none after it, as in a journalling file system.
    Ordered,
}

/// What makes a name durable.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum NameRule {
    /// Only the sync of its directory: all that POSIX promises.
    #[default]
    Strict,
    /// The sync of anything, for every change before it: what ext4 and XFS do with their one journal.
    Journal,
}

/// What stat(2) tells.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Number of the file.
    pub ino: Ino,
    /// Whether it is a directory.
    pub is_dir: bool,
    /// Length in bytes; 0 for directories.
    pub bytes: u64,
    /// Memory its pages take.
    pub allocated_bytes: u64,
    /// Permission bits.
    pub mode: u32,
    /// User and group.
    pub owner: (u32, u32),
}

/// Content and names, volatile and durable.
#[derive(Debug, Clone)]
pub struct Disk {
    nodes: BTreeMap<Ino, Node>,
    names: Names,
    next_ino: Ino,
    rule: NameRule,
    changes: u64,
    used_pages: u64,
    bytes_max: u64,
    /// Without a name, but perhaps still open.
    orphans: BTreeSet<Ino>,
    /// Seen by nobody any more, but a cut may bring them back. They take no space.
    ghosts: BTreeSet<Ino>,
}

#[derive(Debug, Clone)]
struct Node {
    kind: Kind,
    mode: u32,
    owner: (u32, u32),
    /// How often the kernel holds it; a file without a name lives on while it is open.
    pins: u64,
}

#[derive(Debug, Clone)]
enum Kind {
    Dir,
    File(File),
}

impl Disk {
    /// Empty, of this size.
    pub fn new(bytes_max: u64, owner: (u32, u32), rule: NameRule) -> Self {
        let root = Node { kind: Kind::Dir, mode: 0o700, owner, pins: 1 };
        Self {
            nodes: BTreeMap::from([(ROOT, root)]),
            names: Names::default(),
            next_ino: ROOT + 1,
            rule,
            changes: 0,
            used_pages: 0,
            bytes_max,
            orphans: BTreeSet::new(),
            ghosts: BTreeSet::new(),
        }
    }

    /// What a name stands for.
    ///
    /// # Errors
    /// ENOENT, ENOTDIR.
    pub fn find(&self, dir: Ino, name: &OsStr) -> Result<Attributes, Errno> {
        self.dir(dir)?;
        self.attributes(self.names.find(dir, name).ok_or(Errno::NOENT)?)
    }

    /// # Errors
    /// ESTALE when it is gone.
    pub fn attributes(&self, ino: Ino) -> Result<Attributes, Errno> {
        let node = self.nodes.get(&ino).ok_or(Errno::STALE)?;
        let (bytes, pages) = match &node.kind {
            Kind::Dir => (0, 0),
            Kind::File(file) => (file.seen().size(), file.seen().page_count()),
        };
        Ok(Attributes {
            ino,
            is_dir: matches!(node.kind, Kind::Dir),
            bytes,
            allocated_bytes: pages * PAGE_BYTES,
            mode: node.mode,
            owner: node.owner,
        })
    }

    /// What is in a directory, by name.
    ///
    /// # Errors
    /// ENOTDIR, ESTALE.
    pub fn list(&self, dir: Ino) -> Result<Vec<(OsString, Ino, bool)>, Errno> {
        self.dir(dir)?;
        let is_dir = |ino| self.nodes.get(&ino).is_some_and(|node| matches!(node.kind, Kind::Dir));
        Ok(self.names.list(dir).map(|(name, ino)| (name.to_owned(), ino, is_dir(ino))).collect())
    }

    /// A new empty file, or directory.
    ///
    /// # Errors
    /// EEXIST, ENOTDIR, ENAMETOOLONG; ENOSPC when nothing more fits at all.
    pub fn create(&mut self, dir: Ino, name: &OsStr, is_dir: bool, mode: u32) -> Result<Attributes, Errno> {
        let owner = self.dir(dir)?.owner;
        if name.len() > 255 {
            return Err(Errno::NAMETOOLONG);
        }
        if self.names.find(dir, name).is_some() {
            return Err(Errno::EXIST);
        }
        if self.free_bytes() < PAGE_BYTES {
            return Err(Errno::NOSPC);
        }
        let ino = self.next_ino;
        self.next_ino += 1;
        let kind = if is_dir { Kind::Dir } else { Kind::File(File::default()) };
        self.nodes.insert(ino, Node { kind, mode: mode & 0o7777, owner, pins: 0 });
        let number = self.number();
        self.names.change(number, vec![Set::new(dir, name, Some(ino))]);
        self.attributes(ino)
    }

    /// Remove a file, or an empty directory.
    ///
    /// # Errors
    /// ENOENT, EISDIR, ENOTDIR, ENOTEMPTY.
    pub fn remove(&mut self, dir: Ino, name: &OsStr, is_dir: bool) -> Result<(), Errno> {
        let found = self.find(dir, name)?;
        match (is_dir, found.is_dir) {
            (true, false) => return Err(Errno::NOTDIR),
            (false, true) => return Err(Errno::ISDIR),
            (true, true) if !self.names.is_empty(found.ino) => return Err(Errno::NOTEMPTY),
            _ => {}
        }
        let number = self.number();
        self.names.change(number, vec![Set::new(dir, name, None)]);
        self.unlinked(found.ino);
        Ok(())
    }

    /// Rename, in one step; a file, or an empty directory, in the way is replaced unless `may_replace` is false.
    ///
    /// # Errors
    /// ENOENT, EEXIST, EISDIR, ENOTDIR, ENOTEMPTY.
    pub fn rename(&mut self, from: (Ino, &OsStr), to: (Ino, &OsStr), may_replace: bool) -> Result<(), Errno> {
        let moved = self.find(from.0, from.1)?;
        let replaced = match self.find(to.0, to.1) {
            Ok(found) => Some(found),
            Err(Errno::NOENT) => None,
            Err(other) => return Err(other),
        };
        if let Some(replaced) = replaced {
            match (moved.is_dir, replaced.is_dir) {
                _ if !may_replace => return Err(Errno::EXIST),
                _ if moved.ino == replaced.ino => return Ok(()),
                (false, true) => return Err(Errno::ISDIR),
                (true, false) => return Err(Errno::NOTDIR),
                (true, true) if !self.names.is_empty(replaced.ino) => return Err(Errno::NOTEMPTY),
                _ => {}
            }
        }
        let number = self.number();
        let sets = vec![Set::new(from.0, from.1, None), Set::new(to.0, to.1, Some(moved.ino))];
        self.names.change(number, sets);
        if let Some(replaced) = replaced {
            self.unlinked(replaced.ino);
        }
        Ok(())
    }

    /// # Errors
    /// ESTALE, EISDIR.
    pub fn read(&self, ino: Ino, at: u64, bytes: u64) -> Result<Vec<u8>, Errno> {
        Ok(self.file(ino)?.seen().read(at, bytes))
    }

    /// Write, and say how many bytes fitted.
    ///
    /// # Errors
    /// ENOSPC when none did; EFBIG, ESTALE, EISDIR.
    pub fn write(&mut self, ino: Ino, at: u64, bytes: &[u8]) -> Result<usize, Errno> {
        at.checked_add(bytes.len() as u64).filter(|&end| end < i64::MAX as u64).ok_or(Errno::FBIG)?;
        let free_pages = self.free_bytes() / PAGE_BYTES;
        let number = self.number();
        let file = self.file_mut(ino)?;
        let before = file.seen().page_count();
        let mut fitting = bytes.len() as u64;
        while fitting > 0 && file.seen().pages_missing(at, fitting) > free_pages {
            // Back to the end of the page before: what the kernel does when pages run out in the middle.
            let end = (at + fitting - 1) / PAGE_BYTES * PAGE_BYTES;
            fitting = end.saturating_sub(at);
        }
        let fitting = fitting as usize;
        match bytes.get(..fitting) {
            Some([]) if !bytes.is_empty() => return Err(Errno::NOSPC),
            Some(now) => file.write(number, at, now),
            None => {}
        }
        let after = file.seen().page_count();
        self.count_pages(before, after);
        Ok(fitting)
    }

    /// Cut the file, or extend it with zeros.
    ///
    /// # Errors
    /// ESTALE, EISDIR, EFBIG.
    pub fn resize(&mut self, ino: Ino, bytes: u64) -> Result<(), Errno> {
        if bytes > i64::MAX as u64 / 2 {
            return Err(Errno::FBIG);
        }
        self.change_file(ino, |file, number| file.resize(number, bytes))
    }

    /// Punch a hole: the range reads as zeros and its whole pages are free again. The size stays.
    ///
    /// # Errors
    /// ESTALE, EISDIR.
    pub fn punch(&mut self, ino: Ino, at: u64, bytes: u64) -> Result<(), Errno> {
        self.change_file(ino, |file, number| {
            let size = file.seen().size();
            file.zero(number, at.min(size)..at.saturating_add(bytes).min(size));
        })
    }

    /// Permission bits.
    ///
    /// # Errors
    /// ESTALE.
    pub fn set_mode(&mut self, ino: Ino, mode: u32) -> Result<(), Errno> {
        self.nodes.get_mut(&ino).ok_or(Errno::STALE)?.mode = mode & 0o7777;
        Ok(())
    }

    /// A sync begins: it covers what was changed up to the number this gives.
    ///
    /// # Errors
    /// ESTALE.
    pub fn begin_sync(&mut self, ino: Ino) -> Result<u64, Errno> {
        if let Kind::File(file) = &mut self.nodes.get_mut(&ino).ok_or(Errno::STALE)?.kind {
            file.begin_sync();
        }
        Ok(self.changes)
    }

    /// The sync of a file or directory is done. When the device failed, what it covered counts as written and is not.
    ///
    /// # Errors
    /// ESTALE.
    pub fn end_sync(&mut self, ino: Ino, number: u64, is_failed: bool) -> Result<(), Errno> {
        match &mut self.nodes.get_mut(&ino).ok_or(Errno::STALE)?.kind {
            Kind::File(file) => file.end_sync(number, is_failed),
            Kind::Dir if is_failed => self.names.forget(ino, number),
            Kind::Dir => self.names.sync(ino, number),
        }
        if !is_failed && self.rule == NameRule::Journal {
            self.names.sync_all(number);
        }
        self.forget_ghosts();
        Ok(())
    }

    /// A power cut: afterwards this is what the machine finds when it starts again, all of it durable. A pure
    /// function of the state, the mode and the seed.
    pub fn cut(&mut self, mode: Mode, seed: u64) {
        let mut chance = Chance::new(seed);
        self.names.cut(mode, &mut chance);
        // The kernel's references stay counted: it gives them back when it likes.
        for node in self.nodes.values_mut() {
            if let Kind::File(file) = &mut node.kind {
                file.cut(mode, &mut chance);
            }
        }
        let reachable = self.reachable();
        self.nodes.retain(|ino, _| reachable.contains(ino));
        self.names.retain(|ino| reachable.contains(&ino));
        self.orphans.clear();
        self.ghosts.clear();
        self.used_pages = self.files().map(|file| file.seen().page_count()).sum();
    }

    /// The kernel took a reference.
    pub fn pin(&mut self, ino: Ino) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.pins += 1;
        }
    }

    /// The kernel gave `count` references back; of a file that a cut has taken this means nothing.
    pub fn unpin(&mut self, ino: Ino, count: u64) {
        if let Some(node) = self.nodes.get_mut(&ino) {
            node.pins = node.pins.saturating_sub(count);
            self.free_orphans();
        }
    }

    /// All it can hold; less than it holds means that nothing can be added.
    pub fn set_bytes_max(&mut self, bytes: u64) {
        self.bytes_max = bytes;
    }

    /// All it can hold.
    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }

    /// What can still be added.
    pub fn free_bytes(&self) -> u64 {
        self.bytes_max.saturating_sub(self.used_bytes())
    }

    /// What the files take.
    pub fn used_bytes(&self) -> u64 {
        self.used_pages * PAGE_BYTES
    }

    /// What a cut would take: bytes, and changes of names.
    pub fn unsynced(&self) -> (u64, u64) {
        (self.files().map(File::unsynced_bytes).sum(), self.names.unsynced())
    }

    fn dir(&self, ino: Ino) -> Result<&Node, Errno> {
        let node = self.nodes.get(&ino).ok_or(Errno::STALE)?;
        if matches!(node.kind, Kind::Dir) { Ok(node) } else { Err(Errno::NOTDIR) }
    }

    fn file(&self, ino: Ino) -> Result<&File, Errno> {
        match &self.nodes.get(&ino).ok_or(Errno::STALE)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Dir => Err(Errno::ISDIR),
        }
    }

    fn file_mut(&mut self, ino: Ino) -> Result<&mut File, Errno> {
        match &mut self.nodes.get_mut(&ino).ok_or(Errno::STALE)?.kind {
            Kind::File(file) => Ok(file),
            Kind::Dir => Err(Errno::ISDIR),
        }
    }

    fn files(&self) -> impl Iterator<Item = &File> {
        self.nodes.values().filter_map(|node| match &node.kind {
            Kind::File(file) => Some(file),
            Kind::Dir => None,
        })
    }

    fn change_file(&mut self, ino: Ino, change: impl FnOnce(&mut File, u64)) -> Result<(), Errno> {
        let number = self.number();
        let file = self.file_mut(ino)?;
        let before = file.seen().page_count();
        change(file, number);
        let after = file.seen().page_count();
        self.count_pages(before, after);
        Ok(())
    }

    fn count_pages(&mut self, before: u64, after: u64) {
        self.used_pages = (self.used_pages + after).saturating_sub(before);
    }

    fn number(&mut self) -> u64 {
        self.changes += 1;
        self.changes
    }

    /// There are no hard links, so a file without its name is seen only by who has it open.
    fn unlinked(&mut self, ino: Ino) {
        self.orphans.insert(ino);
        self.free_orphans();
        self.forget_ghosts();
    }

    /// The space of what no process can reach is free, though its bytes must stay for a cut.
    fn free_orphans(&mut self) {
        for ino in std::mem::take(&mut self.orphans) {
            match self.nodes.get(&ino) {
                Some(node) if node.pins > 0 => {
                    self.orphans.insert(ino);
                }
                Some(Node { kind: Kind::File(file), .. }) => {
                    self.used_pages = self.used_pages.saturating_sub(file.seen().page_count());
                    self.ghosts.insert(ino);
                }
                Some(_) => {
                    self.ghosts.insert(ino);
                }
                None => {}
            }
        }
    }

    /// Let go of what a cut cannot bring back either.
    fn forget_ghosts(&mut self) {
        if self.ghosts.is_empty() {
            return;
        }
        let referenced = self.names.referenced();
        let (kept, gone) = self.ghosts.iter().partition(|ino| referenced.contains(ino));
        self.ghosts = kept;
        let gone: BTreeSet<Ino> = gone;
        self.nodes.retain(|ino, _| !gone.contains(ino));
        self.names.retain(|ino| !gone.contains(&ino));
    }

    fn reachable(&self) -> BTreeSet<Ino> {
        let mut found = BTreeSet::from([ROOT]);
        let mut waiting = vec![ROOT];
        while let Some(dir) = waiting.pop() {
            for (_, ino) in self.names.list(dir) {
                if self.nodes.contains_key(&ino) && found.insert(ino) {
                    waiting.push(ino);
                }
            }
        }
        found
    }
}
