//! FUSE in front of the device: requests become calls, answers become replies. Nothing is left in the kernel's caches,
//! so that after a cut nobody reads what the disk has forgotten. No rule about durability is here.

use std::ffi::OsStr;
use std::io;
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use fuser::{
    BsdFileFlags, FileAttr, FileHandle, FileType, Filesystem, FopenFlags, Generation, INodeNo, InitFlags,
    KernelConfig, LockOwner, OpenFlags, RenameFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyDirectory,
    ReplyEmpty, ReplyEntry, ReplyOpen, ReplyStatfs, ReplyWrite, Request, TimeOrNow, WriteFlags,
};
use rustix::io::Errno;

use crate::device::Device;
use crate::state::{Attributes, Ino};

/// The kernel splits larger writes, so a large one can be torn by a cut, as on a real disk.
const WRITE_BYTES_MAX: u32 = 1 << 20;
/// What the kernel may believe without asking again.
const NOTHING_CACHED: Duration = Duration::ZERO;
const BLOCK_BYTES: u32 = 4096;
const FALLOC_FL_KEEP_SIZE: i32 = 1;
const FALLOC_FL_PUNCH_HOLE: i32 = 2;

/// The device as the threads of FUSE and the owner of the mount share it.
#[derive(Debug)]
pub(crate) struct Shared {
    device: Mutex<Device>,
    timing: Mutex<Timing>,
    sync_failed: Condvar,
}

#[derive(Debug, Default)]
struct Timing {
    sync_delay: Duration,
    longest_sync: Duration,
    first_failed_sync: Option<Instant>,
}

impl Shared {
    pub(crate) fn new(device: Device) -> Self {
        Self { device: Mutex::new(device), timing: Mutex::default(), sync_failed: Condvar::new() }
    }

    pub(crate) fn device(&self) -> MutexGuard<'_, Device> {
        self.device.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn delay_syncs(&self, delay: Duration) {
        self.timing().sync_delay = delay;
    }

    pub(crate) fn longest_sync(&self) -> Duration {
        self.timing().longest_sync
    }

    /// When the first sync since [`Self::forget_failed_sync`] failed; waits for it up to `limit`.
    pub(crate) fn failed_sync(&self, limit: Duration) -> Option<Instant> {
        let is_waiting = |timing: &mut Timing| timing.first_failed_sync.is_none();
        let waited = self.sync_failed.wait_timeout_while(self.timing(), limit, is_waiting);
        waited.unwrap_or_else(PoisonError::into_inner).0.first_failed_sync
    }

    pub(crate) fn forget_failed_sync(&self) {
        self.timing().first_failed_sync = None;
    }

    fn timing(&self) -> MutexGuard<'_, Timing> {
        self.timing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn sync(&self, life: u64, ino: Ino) -> Result<(), Errno> {
        let started = Instant::now();
        let sync = self.device().begin_sync(life, ino)?;
        let delay = self.timing().sync_delay;
        if !delay.is_zero() {
            std::thread::sleep(delay);
        }
        let result = self.device().end_sync(sync);
        let mut timing = self.timing();
        timing.longest_sync = timing.longest_sync.max(started.elapsed());
        if result.is_err() && sync.is_failing() {
            timing.first_failed_sync.get_or_insert_with(Instant::now);
            self.sync_failed.notify_all();
        }
        result
    }
}

/// What FUSE calls.
#[derive(Debug)]
pub(crate) struct Shell(pub(crate) Arc<Shared>);

impl Shell {
    /// The kernel holds what it was given the attributes of until it says `forget`.
    fn give(&self, made: impl FnOnce(&mut Device) -> Result<Attributes, Errno>) -> Result<FileAttr, Errno> {
        let mut device = self.0.device();
        let attributes = made(&mut device)?;
        device.disk().pin(attributes.ino);
        Ok(attr(&attributes))
    }
}

impl Filesystem for Shell {
    fn init(&mut self, _req: &Request, config: &mut KernelConfig) -> io::Result<()> {
        // Larger or smaller than the kernel likes is no reason not to mount.
        config.set_max_write(WRITE_BYTES_MAX).ok();
        config.add_capabilities(InitFlags::FUSE_PARALLEL_DIROPS).ok();
        Ok(())
    }

    fn lookup(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEntry) {
        match self.give(|device| device.serve(None, |disk| disk.find(parent.0, name))) {
            Ok(attr) => reply.entry(&NOTHING_CACHED, &attr, Generation(0)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn forget(&self, _req: &Request, ino: INodeNo, nlookup: u64) {
        self.0.device().disk().unpin(ino.0, nlookup);
    }

    fn getattr(&self, _req: &Request, ino: INodeNo, fh: Option<FileHandle>, reply: ReplyAttr) {
        let found = self.0.device().serve(fh.map(|fh| fh.0), |disk| disk.attributes(ino.0));
        reply_attr(found, reply);
    }

    fn setattr(
        &self,
        _req: &Request,
        ino: INodeNo,
        mode: Option<u32>,
        _uid: Option<u32>,
        _gid: Option<u32>,
        size: Option<u64>,
        _atime: Option<TimeOrNow>,
        _mtime: Option<TimeOrNow>,
        _ctime: Option<SystemTime>,
        fh: Option<FileHandle>,
        _crtime: Option<SystemTime>,
        _chgtime: Option<SystemTime>,
        _bkuptime: Option<SystemTime>,
        _flags: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let changed = self.0.device().serve(fh.map(|fh| fh.0), |disk| {
            if let Some(mode) = mode {
                disk.set_mode(ino.0, mode)?;
            }
            if let Some(size) = size {
                disk.resize(ino.0, size)?;
            }
            disk.attributes(ino.0)
        });
        reply_attr(changed, reply);
    }

    fn mkdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, mode: u32, umask: u32, reply: ReplyEntry) {
        match self.give(|device| device.serve(None, |disk| disk.create(parent.0, name, true, mode & !umask)))
        {
            Ok(attr) => reply.entry(&NOTHING_CACHED, &attr, Generation(0)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn create(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        mode: u32,
        umask: u32,
        _flags: i32,
        reply: ReplyCreate,
    ) {
        let made =
            self.give(|device| device.serve(None, |disk| disk.create(parent.0, name, false, mode & !umask)));
        let life = FileHandle(self.0.device().life());
        match made {
            Ok(attr) => {
                reply.created(&NOTHING_CACHED, &attr, Generation(0), life, FopenFlags::FOPEN_DIRECT_IO)
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn unlink(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(self.0.device().serve(None, |disk| disk.remove(parent.0, name, false)), reply);
    }

    fn rmdir(&self, _req: &Request, parent: INodeNo, name: &OsStr, reply: ReplyEmpty) {
        reply_empty(self.0.device().serve(None, |disk| disk.remove(parent.0, name, true)), reply);
    }

    fn rename(
        &self,
        _req: &Request,
        parent: INodeNo,
        name: &OsStr,
        newparent: INodeNo,
        newname: &OsStr,
        flags: RenameFlags,
        reply: ReplyEmpty,
    ) {
        let may_replace = match flags {
            flags if flags.is_empty() => true,
            RenameFlags::RENAME_NOREPLACE => false,
            _ => return reply.error(fuser::Errno::EINVAL),
        };
        let renamed = self
            .0
            .device()
            .serve(None, |disk| disk.rename((parent.0, name), (newparent.0, newname), may_replace));
        reply_empty(renamed, reply);
    }

    fn open(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply_opened(&self.0, ino, FopenFlags::FOPEN_DIRECT_IO, reply);
    }

    fn read(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        size: u32,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyData,
    ) {
        let read = self.0.device().serve(Some(fh.0), |disk| disk.read(ino.0, offset, size.into()));
        match read {
            Ok(bytes) => reply.data(&bytes),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn write(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        data: &[u8],
        _write_flags: WriteFlags,
        _flags: OpenFlags,
        _lock_owner: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let written = self.0.device().write(fh.0, ino.0, offset, data);
        match written {
            Ok(bytes) => reply.written(u32::try_from(bytes).unwrap_or(u32::MAX)),
            Err(error) => reply.error(errno(error)),
        }
    }

    fn flush(&self, _req: &Request, _ino: INodeNo, _fh: FileHandle, _owner: LockOwner, reply: ReplyEmpty) {
        // close(2) syncs nothing.
        reply.ok();
    }

    fn fsync(&self, _req: &Request, ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply_empty(self.0.sync(fh.0, ino.0), reply);
    }

    fn opendir(&self, _req: &Request, ino: INodeNo, _flags: OpenFlags, reply: ReplyOpen) {
        reply_opened(&self.0, ino, FopenFlags::empty(), reply);
    }

    fn readdir(&self, _req: &Request, ino: INodeNo, fh: FileHandle, offset: u64, mut reply: ReplyDirectory) {
        let listed = self.0.device().serve(Some(fh.0), |disk| disk.list(ino.0));
        let mut entries = match listed {
            Ok(entries) => entries,
            Err(error) => return reply.error(errno(error)),
        };
        // Entries are placed by their number, which no removal in the middle of a listing shifts.
        entries.sort_by_key(|&(_, entry, _)| entry);
        for (name, entry, is_dir) in entries.into_iter().filter(|&(_, entry, _)| entry > offset) {
            if reply.add(INodeNo(entry), entry, kind(is_dir), name) {
                break;
            }
        }
        reply.ok();
    }

    fn fsyncdir(&self, _req: &Request, ino: INodeNo, fh: FileHandle, _datasync: bool, reply: ReplyEmpty) {
        reply_empty(self.0.sync(fh.0, ino.0), reply);
    }

    fn statfs(&self, _req: &Request, _ino: INodeNo, reply: ReplyStatfs) {
        let sizes = self.0.device().serve(None, |disk| Ok((disk.bytes_max(), disk.free_bytes())));
        match sizes {
            Ok((all, free)) => {
                let blocks = |bytes: u64| bytes / u64::from(BLOCK_BYTES);
                reply.statfs(blocks(all), blocks(free), blocks(free), 1 << 20, 1 << 20, BLOCK_BYTES, 255, 0);
            }
            Err(error) => reply.error(errno(error)),
        }
    }

    fn fallocate(
        &self,
        _req: &Request,
        ino: INodeNo,
        fh: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        if mode != FALLOC_FL_KEEP_SIZE | FALLOC_FL_PUNCH_HOLE {
            return reply.error(fuser::Errno::EOPNOTSUPP);
        }
        reply_empty(self.0.device().serve(Some(fh.0), |disk| disk.punch(ino.0, offset, length)), reply);
    }
}

fn attr(attributes: &Attributes) -> FileAttr {
    FileAttr {
        ino: INodeNo(attributes.ino),
        size: attributes.bytes,
        blocks: attributes.allocated_bytes / 512,
        // Times are not kept: nothing that must survive a cut may hang on them.
        atime: UNIX_EPOCH,
        mtime: UNIX_EPOCH,
        ctime: UNIX_EPOCH,
        crtime: UNIX_EPOCH,
        kind: kind(attributes.is_dir),
        perm: u16::try_from(attributes.mode & 0o7777).unwrap_or_default(),
        nlink: if attributes.is_dir { 2 } else { 1 },
        uid: attributes.owner.0,
        gid: attributes.owner.1,
        rdev: 0,
        blksize: BLOCK_BYTES,
        flags: 0,
    }
}

fn kind(is_dir: bool) -> FileType {
    if is_dir { FileType::Directory } else { FileType::RegularFile }
}

fn errno(error: Errno) -> fuser::Errno {
    fuser::Errno::from_i32(error.raw_os_error())
}

fn reply_attr(result: Result<Attributes, Errno>, reply: ReplyAttr) {
    match result {
        Ok(attributes) => reply.attr(&NOTHING_CACHED, &attr(&attributes)),
        Err(error) => reply.error(errno(error)),
    }
}

fn reply_empty(result: Result<(), Errno>, reply: ReplyEmpty) {
    match result {
        Ok(()) => reply.ok(),
        Err(error) => reply.error(errno(error)),
    }
}

fn reply_opened(shared: &Shared, ino: INodeNo, flags: FopenFlags, reply: ReplyOpen) {
    let mut device = shared.device();
    let life = FileHandle(device.life());
    match device.serve(None, |disk| disk.attributes(ino.0)) {
        Ok(_) => reply.opened(life, flags),
        Err(error) => reply.error(errno(error)),
    }
}
