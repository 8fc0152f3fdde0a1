//! A file system for tests that does at a power cut what real ones may do: it forgets, tears and reorders what was not
//! synced. `state` and `device` are values; `mounted` puts one at a path through FUSE. Who uses it to test what lives
//! elsewhere.

mod command;
mod device;
mod mounted;
mod namespace;
mod shell;
mod state;

pub use command::Command;
pub use device::{Device, Stats, Sync, SyncFault};
pub use mounted::{Mounted, Options, availability};
pub use namespace::enter_private_mounts;
pub use rustix::io::Errno;
pub use state::{Attributes, Disk, Ino, Mode, NameRule, ROOT};
