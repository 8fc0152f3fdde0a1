//! The files of stock NSQ as values: names of files, the records of its queues, the places it has read and written
//! up to, its list of topics. Reading forgives what stock leaves after crashes; writing is exact.
//! No files and no clock: bytes come through [`Source`], and what becomes of them is the broker's business.

mod file_name;
mod message;
mod metadata;
mod place;
mod plan;
mod records;
mod roll;

pub use file_name::{FileName, QueueName};
pub use message::{HEAD_BYTES, LENGTH_BYTES, Message, encode_record, record_bytes};
pub use metadata::{ChannelEntry, Metadata, TopicEntry};
pub use place::Place;
pub use plan::{Note, Part, Plan, QueueFiles};
pub use records::{Damage, Records, Source};
pub use roll::Roll;
