//! A crashfs at a path, and what its owner can do to it. The threads of FUSE run in this process: when it is killed, every
//! operation on the path fails, and in a private mount namespace the path is free again.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use fuser::{BackgroundSession, Config, MountOption};
use rustix::io::Errno;
use rustix::mount::UnmountFlags;

use crate::command::Command;
use crate::device::{Device, Stats, SyncFault};
use crate::namespace;
use crate::shell::{Shared, Shell};
use crate::state::{Disk, Mode, NameRule};

/// As many operations as may wait at once, slow syncs among them.
const THREADS: usize = 4;

/// How a crashfs is made.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// All it can hold, in memory.
    pub bytes_max: u64,
    /// How long each sync takes. What is written meanwhile is not covered by it.
    pub sync_delay: Duration,
    /// What makes a name durable.
    pub names: NameRule,
}

impl Default for Options {
    fn default() -> Self {
        Self { bytes_max: 2 << 30, sync_delay: Duration::ZERO, names: NameRule::Strict }
    }
}

/// A crashfs that is mounted until this is dropped. Empty at first.
#[derive(Debug)]
pub struct Mounted {
    path: PathBuf,
    shared: Arc<Shared>,
    session: Option<BackgroundSession>,
}

impl Mounted {
    /// Mount it on an existing directory.
    ///
    /// # Errors
    /// Why it cannot be, with what to install or allow; see also [`availability`].
    pub fn start(path: &Path, options: Options) -> io::Result<Self> {
        let owner = (rustix::process::getuid().as_raw(), rustix::process::getgid().as_raw());
        let shared = Arc::new(Shared::new(Device::new(Disk::new(options.bytes_max, owner, options.names))));
        shared.delay_syncs(options.sync_delay);
        let mut config = Config::default();
        config.mount_options = vec![MountOption::FSName("crashfs".to_owned()), MountOption::NoAtime];
        config.n_threads = Some(THREADS);
        let session = fuser::spawn_mount(Shell(Arc::clone(&shared)), path, &config).map_err(|error| {
            let place = path.display();
            io::Error::new(error.kind(), format!("cannot mount a crashfs on {place}: {error}; {NEEDS}"))
        })?;
        Ok(Self { path: path.to_path_buf(), shared, session: Some(session) })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Cut the power: every operation fails with EIO until [`Self::heal`]. What was open stays dead after it.
    pub fn cut(&self, mode: Mode, seed: u64) {
        self.shared.device().cut(mode, seed);
    }

    /// Power again, with what the cut has left and without faults. End the processes of the last life first.
    pub fn heal(&self) {
        self.shared.device().heal();
        self.shared.forget_failed_sync();
    }

    /// Make syncs fail, as Linux does it: what they covered counts as written, can be read, and is gone at a cut.
    pub fn fail_sync(&self, fault: SyncFault) {
        self.shared.forget_failed_sync();
        self.shared.device().fail_sync(fault);
    }

    /// When the first sync failed since [`Self::fail_sync`], just before the process was told; waits for it up to `limit`.
    pub fn failed_sync(&self, limit: Duration) -> Option<Instant> {
        self.shared.failed_sync(limit)
    }

    /// Make the n-th write from now fail, once; 1 is the next.
    pub fn fail_write(&self, nth: u64, errno: Errno) {
        self.shared.device().fail_write(nth, errno);
    }

    /// How long each sync takes from now on.
    pub fn delay_syncs(&self, delay: Duration) {
        self.shared.delay_syncs(delay);
    }

    /// The longest sync so far, as the process felt it without the way through the kernel.
    pub fn longest_sync(&self) -> Duration {
        self.shared.longest_sync()
    }

    /// All it can hold from now on; ENOSPC beyond.
    pub fn set_space(&self, bytes: u64) {
        self.shared.device().disk().set_bytes_max(bytes);
    }

    /// The counters.
    pub fn stats(&self) -> Stats {
        self.shared.device().stats()
    }

    /// Do what a line of text asks for, and answer with a line.
    pub fn obey(&self, command: Command) -> String {
        match command {
            Command::Cut(mode, seed) => self.cut(mode, seed),
            Command::Heal => self.heal(),
            Command::FailSync(fault) => self.fail_sync(fault),
            Command::FailWrite(errno, nth) => self.fail_write(nth, errno),
            Command::DelaySync(delay) => self.delay_syncs(delay),
            Command::Space(bytes) => self.set_space(bytes),
            Command::Stats => return format!("ok {:?}", self.stats()),
        }
        "ok".to_owned()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        // Whoever still has files open there gets errors, and the path is free at once.
        self.shared.device().cut(Mode::None, 0);
        let detached = rustix::mount::unmount(&self.path, UnmountFlags::DETACH);
        match self.session.take() {
            Some(session) if detached.is_err() => drop(session.umount_and_join()),
            // Its threads end with the last file that is open there, which need not be soon.
            session => drop(session),
        }
    }
}

const NEEDS: &str = "it needs /dev/fuse (the kernel module fuse; in a container `--device /dev/fuse`) and the right to \
                     mount: root, a user namespace (`unshare --user --map-root-user --mount`), or fusermount3 from \
                     Debian's package fuse3";

/// Whether a crashfs can be mounted by a program that calls [`crate::enter_private_mounts`] first.
///
/// # Errors
/// What is missing, in one sentence for whoever reads why a test was skipped.
pub fn availability() -> Result<(), String> {
    let device = std::fs::OpenOptions::new().read(true).write(true).open("/dev/fuse");
    device.map_err(|error| format!("/dev/fuse cannot be opened: {error}; {NEEDS}"))?;
    namespace::flags().map(|_| ())
}
