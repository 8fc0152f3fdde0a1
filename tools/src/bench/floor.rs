//! The floor: a server that does what no broker can go without, and nothing else. It reads from its sockets, writes
//! what came to a file in one go, answers OK, and syncs the file now and then on another thread. What it takes of a
//! machine's time is the kernel's; how far an nsqd is above it is the nsqd's. `nsq_bench` starts itself as one.

use std::cell::RefCell;
use std::fs::File;
use std::future::{Future as _, poll_fn};
use std::io::Write as _;
use std::path::Path;
use std::pin::pin;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result};
use protocol::{MAGIC_V2, OK, encode_response};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpListener;
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::runtime::{Builder, LocalOptions};
use tokio::sync::Notify;
use tokio::task::spawn_local;

/// Makes `nsq_bench` such a server; what follows is the folder for its file.
pub(super) const FLAG: &str = "--serve-floor";

/// What a read has room for: all that a socket holds.
const READ_BYTES: usize = 512 * 1024;

/// As long as nsqd leaves a write without a sync at `--durability=buffered`.
const SYNC_EVERY: Duration = Duration::from_millis(50);

/// Serve until killed. The log lines are those that an nsqd's start is known by.
pub(super) fn serve(folder: &Path) -> Result<()> {
    let file = File::create(folder.join("floor")).context("the floor's file")?;
    let file = Arc::new(file);
    let is_dirty = Arc::new(AtomicBool::new(false));
    sync_at_times(Arc::clone(&file), Arc::clone(&is_dirty));
    let floor = Rc::new(Floor { file, is_dirty, turn: RefCell::default(), is_due: Notify::new() });
    let runtime = Builder::new_current_thread().enable_io().build_local(LocalOptions::default())?;
    runtime.block_on(async {
        let listener = TcpListener::bind("127.0.0.1:0").await.context("the floor's port")?;
        let address = listener.local_addr()?;
        writeln!(std::io::stderr(), "TCP: listening on {address}\n HTTP: listening on -")?;
        spawn_local(commit(Rc::clone(&floor)));
        loop {
            let (stream, _) = listener.accept().await?;
            stream.set_nodelay(true)?;
            let (reader, writer) = stream.into_split();
            spawn_local(read(Rc::clone(&floor), reader, Rc::new(writer)));
        }
    })
}

fn sync_at_times(file: Arc<File>, is_dirty: Arc<AtomicBool>) {
    std::thread::spawn(move || {
        loop {
            std::thread::sleep(SYNC_EVERY);
            if is_dirty.swap(false, Ordering::Relaxed) && file.sync_data().is_err() {
                return;
            }
        }
    });
}

/// What all connections share, on one thread.
struct Floor {
    file: Arc<File>,
    is_dirty: Arc<AtomicBool>,
    turn: RefCell<Turn>,
    is_due: Notify,
}

/// What came since the last write.
#[derive(Default)]
struct Turn {
    bytes: Vec<u8>,
    answers: Vec<(Rc<OwnedWriteHalf>, usize)>,
}

/// Bytes of all connections go straight to what is written next.
async fn read(floor: Rc<Floor>, mut reader: OwnedReadHalf, writer: Rc<OwnedWriteHalf>) {
    let mut commands = Commands::new();
    loop {
        let count = poll_fn(|context| {
            let bytes = &mut floor.turn.borrow_mut().bytes;
            bytes.reserve(READ_BYTES);
            pin!(reader.read_buf(bytes)).poll(context)
        });
        let Ok(count @ 1..) = count.await else { return };
        let mut turn = floor.turn.borrow_mut();
        let new = turn.bytes.len().saturating_sub(count);
        let whole = commands.count(turn.bytes.get(new..).unwrap_or_default());
        turn.answers.push((Rc::clone(&writer), whole));
        floor.is_due.notify_one();
    }
}

/// Runs after the readers that one wake-up made ready: one write for all of them, then their answers.
async fn commit(floor: Rc<Floor>) {
    let (mut turn, mut offset, mut oks) = (Turn::default(), 0, Vec::new());
    loop {
        floor.is_due.notified().await;
        std::mem::swap(&mut *floor.turn.borrow_mut(), &mut turn);
        if std::os::unix::fs::FileExt::write_all_at(&*floor.file, &turn.bytes, offset).is_err() {
            // Without answers the generator says that nothing came.
            return;
        }
        offset += turn.bytes.len() as u64;
        turn.bytes.clear();
        floor.is_dirty.store(true, Ordering::Relaxed);
        for (writer, count) in turn.answers.drain(..) {
            oks.clear();
            for _ in 0..count {
                encode_response(&mut oks, OK);
            }
            answer(&writer, &oks).await;
        }
    }
}

async fn answer(writer: &OwnedWriteHalf, mut oks: &[u8]) {
    while !oks.is_empty() {
        match writer.try_write(oks) {
            Ok(count) => oks = oks.get(count..).unwrap_or_default(),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                if writer.writable().await.is_err() {
                    return;
                }
            }
            Err(_) => return,
        }
    }
}

/// Counts PUBs and MPUBs, however they are cut: a line, a length of 4 bytes, so many bytes.
struct Commands {
    /// Of a line and a length that are not whole.
    head: Vec<u8>,
    /// Bytes to pass over.
    left: usize,
    /// They are a body, not the magic.
    is_body: bool,
}

impl Commands {
    fn new() -> Self {
        Self { head: Vec::new(), left: MAGIC_V2.len(), is_body: false }
    }

    /// How many commands end in these bytes.
    fn count(&mut self, mut bytes: &[u8]) -> usize {
        let mut whole = 0;
        while !bytes.is_empty() {
            if self.left > 0 {
                let passed = self.left.min(bytes.len());
                bytes = bytes.get(passed..).unwrap_or_default();
                self.left -= passed;
                whole += usize::from(self.is_body && self.left == 0);
                continue;
            }
            // A head is some 15 bytes; it need not be looked for in a megabyte of body.
            let fresh = bytes.get(..64).unwrap_or(bytes);
            let known = self.head.len();
            self.head.extend_from_slice(fresh);
            let Some((taken, length)) = length(&self.head) else {
                bytes = bytes.get(fresh.len()..).unwrap_or_default();
                continue;
            };
            self.head.clear();
            bytes = bytes.get(taken.saturating_sub(known)..).unwrap_or_default();
            (self.left, self.is_body) = (length, true);
        }
        whole
    }
}

/// Bytes of the line with the length behind it, and that length.
fn length(head: &[u8]) -> Option<(usize, usize)> {
    let line = head.iter().position(|byte| *byte == b'\n')? + 1;
    let length = head.get(line..)?.first_chunk::<4>()?;
    Some((line + 4, usize::try_from(u32::from_be_bytes(*length)).ok()?))
}

#[cfg(test)]
mod tests {
    use super::super::bodies::Script;
    use super::*;

    #[test]
    fn commands_are_counted_however_they_are_cut() {
        for cut in [1, 2, 3, 7, 64, 1000, 100_000] {
            let mut bytes = MAGIC_V2.to_vec();
            bytes.extend_from_slice(Script::new(3, 0, 1, 20, 5).take(5));
            bytes.extend_from_slice(Script::new(1, 0, 20, 100, 2).take(2));
            let mut commands = Commands::new();
            let whole: usize = bytes.chunks(cut).map(|part| commands.count(part)).sum();
            assert_eq!(whole, 7, "in pieces of {cut}");
        }
    }
}
