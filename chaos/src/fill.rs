//! A full disk: a small volume of its own is filled up while nsqd works on it. Publishes are refused,
//! consumers go on, and when there is space again so are publishers, without a restart.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use rustix::fs::statvfs;
use rustix::mount::{UnmountFlags, unmount};

use crate::chance::Chance;
use crate::diary::Clock;
use crate::fault::{Fault, Struck};
use crate::nsqd::Nsqd;
use crate::place;
use crate::probe::Probe;

/// R6.
const VOLUME_BYTES: u64 = 64 << 20;
/// Consumers free space while it is filled up, so it takes a while until nothing is left.
const FILL_LIMIT: Duration = Duration::from_secs(20);
/// G7: from the first free byte to the first OK.
const BACK_LIMIT: Duration = Duration::from_secs(1);
/// Nothing is left behind for longer than this when consumers are ready.
const DRAIN_LIMIT: Duration = Duration::from_secs(10);
const LOOK_EVERY: Duration = Duration::from_millis(10);
/// Messages that wait when the disk is full, and must be delivered all the same.
const WAITING: usize = 200;
const BALLAST: &str = "ballast";

/// Left by the ballast when publishes are to take the rest, down to what nsqd reserves for its own bookkeeping.
const LEFT_BYTES: u64 = 16 << 20;
/// nsqd has looked by then how much is left.
const NOTICED_AFTER: Duration = Duration::from_millis(1500);

/// What is filled up.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Volume {
    /// In memory.
    Tmpfs,
    /// An image in the run's folder, on a loop device.
    Ext4,
}

/// The disk is full.
#[derive(Debug)]
pub struct Fill {
    volume: Volume,
    place: Option<PathBuf>,
    probe: Option<Probe>,
    /// Publishing came back after this, fill by fill.
    back: Vec<Duration>,
    /// nsqd was killed on the full disk: there is space again only after its start.
    is_late: bool,
}

impl Fill {
    /// On this kind of volume.
    pub fn new(volume: Volume) -> Self {
        Self { volume, place: None, probe: None, back: Vec::new(), is_late: false }
    }

    /// How long publishing took to come back, at most.
    pub fn back_max(&self) -> Duration {
        self.back.iter().max().copied().unwrap_or_default()
    }

    /// Save what is on the volume, after a failure. Gives where.
    ///
    /// # Errors
    /// It cannot be copied.
    pub fn keep(&self) -> Result<PathBuf> {
        self.free()?;
        place::keep(self.place()?)
    }

    fn place(&self) -> Result<&Path> {
        self.place.as_deref().context("the volume is not mounted")
    }

    /// Take the volume to its last byte, again and again, until a publish is refused.
    fn fill(&self, probe: &Probe) -> Result<()> {
        let mut ballast = self.ballast()?;
        // Consumers free space meanwhile.
        refused(probe, b"is there space?", || take_all(&mut ballast, self.place()?, 0))
    }

    /// Take the most of it, and let publishes do the rest.
    fn fill_by_publishing(&self, probe: &Probe) -> Result<()> {
        take_all(&mut self.ballast()?, self.place()?, LEFT_BYTES)?;
        std::thread::sleep(NOTICED_AFTER);
        refused(probe, &[b'p'; 100_000], || Ok(()))
    }

    fn ballast(&self) -> Result<File> {
        Ok(OpenOptions::new().create(true).append(true).open(self.place()?.join(BALLAST))?)
    }

    fn free(&self) -> Result<()> {
        match std::fs::remove_file(self.place()?.join(BALLAST)) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(error).context("removing the ballast")
            }
            _ => Ok(()),
        }
    }

    /// Free the space, and wait until publishes are answered with OK.
    fn free_and_publish(&mut self, probe: &Probe, nsqd: &Nsqd) -> Result<()> {
        let began = Instant::now();
        self.free()?;
        while !probe.publish(b"is there space again?")? {
            if began.elapsed() > BACK_LIMIT {
                let limit = BACK_LIMIT.as_secs();
                bail!(
                    "publishes are still refused {limit} s after there was space again\n{}",
                    nsqd.log_tail()
                );
            }
            std::thread::sleep(LOOK_EVERY);
        }
        self.back.push(began.elapsed());
        Ok(())
    }
}

impl Fault for Fill {
    fn name(&self) -> &'static str {
        match self.volume {
            Volume::Tmpfs => "fill",
            Volume::Ext4 => "fill --volume ext4",
        }
    }

    fn prepare(&mut self, folder: &Path) -> Result<PathBuf> {
        let place = place::to_mount_on()?;
        let mut mount = Command::new("mount");
        match self.volume {
            Volume::Tmpfs => {
                mount.args(["-t", "tmpfs", "-o", &format!("size={VOLUME_BYTES},mode=0700"), "tmpfs"])
            }
            Volume::Ext4 => {
                let image = folder.join("volume.ext4");
                File::create(&image)?.set_len(VOLUME_BYTES)?;
                place::run(Command::new("mkfs.ext4").args(["-q", "-F", "-m", "0"]).arg(&image))?;
                mount.args(["-t", "ext4", "-o", "loop"]).arg(image)
            }
        };
        place::run(mount.arg(&place))?;
        self.place = Some(place.clone());
        Ok(place.join("data"))
    }

    fn flags(&self) -> Vec<String> {
        // Small segments, so that what is finished gives its space back.
        vec!["--max-bytes-per-file=2000000".to_owned()]
    }

    fn strike(&mut self, nsqd: &mut Nsqd, clock: Clock, chance: &mut Chance) -> Result<Struck> {
        let probe = Probe::start(nsqd.tcp(), nsqd.http(), clock)?;
        for _ in 0..WAITING {
            if !probe.publish(&[b'w'; 1000])? {
                bail!("a publish was refused before the disk was full\n{}", nsqd.log_tail());
            }
        }
        let is_killed = chance.happens(333);
        // With no byte left, FINs could be nowhere but in nsqd's memory: a kill then proves nothing.
        if is_killed {
            self.fill_by_publishing(&probe)?
        } else {
            self.fill(&probe)?
        }
        let delivered = probe.drain(DRAIN_LIMIT)?;
        if delivered < WAITING {
            bail!(
                "of {WAITING} messages {delivered} were delivered while the disk was full\n{}",
                nsqd.log_tail()
            );
        }
        if is_killed {
            self.is_late = chance.happens(500);
            self.probe = Some(probe);
            let at = clock.now();
            nsqd.kill();
            return Ok(Struck::Crashed { at });
        }
        self.free_and_publish(&probe, nsqd)?;
        self.probe = Some(probe);
        Ok(Struck::Alive)
    }

    fn heal(&mut self) -> Result<()> {
        if self.is_late { Ok(()) } else { self.free() }
    }

    fn after(&mut self, nsqd: &mut Nsqd) -> Result<()> {
        let Some(probe) = self.probe.take() else { return Ok(()) };
        if std::mem::take(&mut self.is_late) {
            self.free_and_publish(&probe, nsqd)?;
        }
        probe.end()
    }
}

impl Drop for Fill {
    fn drop(&mut self) {
        if let Some(place) = &self.place {
            // The namespace would take it along anyway.
            let _ = unmount(place, UnmountFlags::DETACH);
        }
    }
}

/// Publish until that is refused several times: a segment that was passed meanwhile may have given some space back.
fn refused(probe: &Probe, body: &[u8], mut prepare: impl FnMut() -> Result<()>) -> Result<()> {
    let limit = Instant::now() + FILL_LIMIT;
    let mut refused = 0;
    while Instant::now() < limit {
        prepare()?;
        refused = if probe.publish(body)? { 0 } else { refused + 1 };
        if refused == 5 {
            return Ok(());
        }
        std::thread::sleep(LOOK_EVERY);
    }
    bail!("publishes are still answered with OK after {} s on a full disk", FILL_LIMIT.as_secs())
}

/// Write until only `left` bytes are free, or the volume says that it is full.
fn take_all(ballast: &mut File, place: &Path, left: u64) -> Result<()> {
    let block = vec![0xff; 1 << 20];
    loop {
        let space = statvfs(place)?;
        let free = (space.f_bavail * space.f_frsize).saturating_sub(left);
        let bytes = block.len().min(usize::try_from(free).unwrap_or(usize::MAX));
        if bytes == 0 || ballast.write(block.get(..bytes).unwrap_or_default()).is_err() {
            return Ok(());
        }
    }
}
