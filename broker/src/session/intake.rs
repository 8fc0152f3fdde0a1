//! Reading large commands: a body beyond the first block is read only when the broker's memory has room for all
//! of it, and a publisher is not read from at all while memory is short.

use tokio::sync::OwnedSemaphorePermit;

use super::GROW_BYTES;
use crate::memory::Memory;

/// Room a session has been given for the command it is reading.
#[derive(Debug, Default)]
pub(super) struct Intake {
    room: Option<OwnedSemaphorePermit>,
}

impl Intake {
    /// Is there nothing to wait for, and nothing to give back?
    pub(super) fn is_free(&self, memory: &Memory, rest: &[u8], is_publisher: bool) -> bool {
        rest.len() <= GROW_BYTES && self.room.is_none() && !(is_publisher && memory.is_tight())
    }

    /// Wait until more of the partial command `rest` may be read; `is_publisher` has published before.
    pub(super) async fn admit(&mut self, memory: &Memory, rest: &[u8], is_publisher: bool) {
        if rest.len() <= GROW_BYTES {
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
        if rest.len() <= GROW_BYTES {
            self.room = None;
        }
        self.room.is_some()
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
    use super::{GROW_BYTES, Intake, announced};
    use crate::memory::Memory;

    #[tokio::test]
    async fn room_is_given_back_as_soon_as_the_large_command_is_complete() {
        let memory = Memory::new(64 << 20);
        let mut intake = Intake::default();
        intake.admit(&memory, &vec![b'x'; GROW_BYTES + 1], true).await;
        assert!(intake.keep_for(&vec![b'x'; GROW_BYTES + 1]), "more of it is to come");
        assert!(!intake.keep_for(b"") && !intake.holds_room());
    }

    #[test]
    fn a_command_announces_its_line_and_its_body() {
        assert_eq!(announced(b"PUB t\n\0\0\x10\0abc"), 6 + 4 + 4096);
        assert_eq!(announced(b"PUB t\n\xff\xff\xff\xffabc"), 13, "a negative size is no size");
        assert_eq!(announced(b"PUB without an end"), 18);
    }
}
