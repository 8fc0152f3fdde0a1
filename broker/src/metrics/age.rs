//! How old the next message of a backlog is: its record tells when it was published.

use storage::Read;

use crate::record;
use crate::topic::Topic;

/// Enough for the record at hand; a longer one is read whole all the same.
const READ_BYTES: usize = 4096;

/// Seconds since the publish of the message at `offset` of the log; none if it cannot be read. May read from disk.
pub(super) fn of_message_at(topic: &Topic, offset: u64) -> Option<f64> {
    let chunk = match topic.cached(offset) {
        Some(chunk) => chunk,
        None => topic.disk_reader(offset)?.read(READ_BYTES).ok()?,
    };
    let Read::Record(found) = chunk.record_at(offset) else { return None };
    let published = record::read(found.payload)?.timestamp_ns;
    Some(topic.context.clock.wall_ns().saturating_sub(published).max(0) as f64 / 1e9)
}
