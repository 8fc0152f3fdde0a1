//! Waiting for a disk from wherever one is: a worker of the control runtime hands its other tasks on first.

use tokio::runtime::{Handle, RuntimeFlavor};

/// Do something that blocks for as long as the device takes.
pub(crate) fn wait<T>(work: impl FnOnce() -> T) -> T {
    match Handle::try_current().map(|runtime| runtime.runtime_flavor()) {
        Ok(RuntimeFlavor::MultiThread) => tokio::task::block_in_place(work),
        // A shard, or no runtime at all: there is nobody to hand tasks to.
        _ => work(),
    }
}
