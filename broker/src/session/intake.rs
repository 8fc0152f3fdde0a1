//! Reading large commands: a body beyond the first block is read only when the broker's memory has room for all
//! of it, and a publisher is not read from at all while memory is short.

use tokio::sync::OwnedSemaphorePermit;

use crate::memory::Memory;
use crate::shard::{READ_BUFFER_BYTES, Shard};

/// What is read at most from a client that has not sent much yet.
const FIRST_READ_BYTES: usize = 16 * 1024;

/// What a partial command may take without room of its own: with one more read, 32 KiB of a stranger. A thousand
/// strangers with half-sent bodies then hold 32 MiB, and what the budget gives to bodies.
const UNASKED_BYTES: usize = 16 * 1024;

/// A large command grows by this much at a time, as its bytes arrive, whatever size it announces.
const GROW_BYTES: usize = 64 * 1024;

/// Room a session has been given for the command it is reading, and how much it is read at a time.
#[derive(Debug)]
pub(super) struct Intake {
    room: Option<OwnedSemaphorePermit>,
    read_bytes: usize,
}

impl Default for Intake {
    fn default() -> Self {
        Self { room: None, read_bytes: FIRST_READ_BYTES }
    }
}

/// Is this part of a command too much to keep without room?
pub(super) fn is_large(rest: &[u8]) -> bool {
    rest.len() > UNASKED_BYTES
}

impl Intake {
    /// Is there nothing to wait for, and nothing to give back?
    pub(super) fn is_free(&self, memory: &Memory, rest: &[u8], is_publisher: bool) -> bool {
        !is_large(rest) && self.room.is_none() && !(is_publisher && memory.is_tight())
    }

    /// Wait until more of the partial command `rest` may be read; `is_publisher` has published before.
    pub(super) async fn admit(&mut self, memory: &Memory, rest: &[u8], is_publisher: bool) {
        if !is_large(rest) {
            self.room = None;
            if is_publisher && memory.is_tight() {
                memory.eased().await;
            }
            return;
        }
        if self.room.is_none() {
            self.room = memory.room_for(announced(rest)).await;
        }
    }

    /// Does it hold room others may be waiting for?
    pub(super) fn holds_room(&self) -> bool {
        self.room.is_some()
    }

    /// A read was dealt with: the room is kept only while a large command goes on. True: it is kept.
    pub(super) fn keep_for(&mut self, rest: &[u8]) -> bool {
        if !is_large(rest) {
            self.room = None;
        }
        self.room.is_some()
    }

    /// A buffer to read into: the partial command first, then room for more.
    pub(super) fn buffer(&self, shard: &Shard, rest: &mut Vec<u8>) -> Vec<u8> {
        if is_large(rest) {
            rest.reserve(GROW_BYTES);
            return std::mem::take(rest);
        }
        let mut buffer = if self.read_bytes < READ_BUFFER_BYTES {
            Vec::with_capacity(rest.len() + self.read_bytes)
        } else {
            shard.buffer()
        };
        buffer.append(rest);
        *rest = Vec::new();
        buffer
    }

    /// Commands of so many bytes were whole, and are done: who sends much in earnest is read more at a time.
    pub(super) fn earn(&mut self, used: usize) {
        if self.read_bytes < READ_BUFFER_BYTES && used >= self.read_bytes / 2 {
            self.read_bytes = (4 * used).next_power_of_two().min(READ_BUFFER_BYTES);
        }
    }
}

/// The length of the whole command: its line, and the body whose size comes next. What announces nothing sensible
/// is refused by the decoder, and counts as what is here.
fn announced(command: &[u8]) -> usize {
    let Some(line_end) = command.iter().position(|byte| *byte == b'\n') else { return command.len() };
    let size = command.get(line_end + 1..).and_then(|rest| rest.first_chunk::<4>());
    let size = size.and_then(|bytes| usize::try_from(i32::from_be_bytes(*bytes)).ok()).unwrap_or(0);
    (line_end + 5).saturating_add(size).max(command.len())
}

#[cfg(test)]
mod tests {
    use super::{FIRST_READ_BYTES, Intake, UNASKED_BYTES, announced};
    use crate::memory::Memory;

    #[tokio::test]
    async fn room_is_given_back_as_soon_as_the_large_command_is_complete() {
        let memory = Memory::new(64 << 20);
        let mut intake = Intake::default();
        intake.admit(&memory, &[b'x'; UNASKED_BYTES + 1], true).await;
        assert!(intake.keep_for(&[b'x'; UNASKED_BYTES + 1]), "more of it is to come");
        assert!(!intake.keep_for(b"") && !intake.holds_room());
    }

    #[test]
    fn who_sends_whole_commands_is_read_more_at_a_time() {
        let mut intake = Intake::default();
        intake.earn(100);
        assert_eq!(intake.read_bytes, FIRST_READ_BYTES, "small ones need no more");
        intake.earn(20_000);
        assert_eq!(intake.read_bytes, 128 * 1024);
        intake.earn(120_000);
        assert_eq!(intake.read_bytes, 256 * 1024);
    }

    #[test]
    fn a_command_announces_its_line_and_its_body() {
        assert_eq!(announced(b"PUB t\n\0\0\x10\0abc"), 6 + 4 + 4096);
        assert_eq!(announced(b"PUB t\n\xff\xff\xff\xffabc"), 13, "a negative size is no size");
        assert_eq!(announced(b"PUB without an end"), 18);
    }
}
