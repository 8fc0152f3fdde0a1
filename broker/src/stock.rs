//! Coming from stock NSQ, and the way home. What stock's files look like is in crate `stock`; here they become logs and
//! journals of ours, once, at the first start on the folder of a stock nsqd (`takeover`), or are written again from
//! ours (`export`). Both are also commands: `nsqd import`, `nsqd export`.

mod command;
mod error;
mod export;
mod found;
mod merge;
mod report;
mod stream;
mod takeover;
#[cfg(test)]
mod tests;
mod transfer;
mod writer;

use std::path::Path;
use std::sync::Arc;

use daemon::shutdown::Shutdown;
use storage::{Disk, LogOptions};

use crate::options::Options;
use crate::record::{Node, RECORD_OVERHEAD};

pub(crate) use command::run;
pub(crate) use error::StockError;
use takeover::TakenOver;

/// A start after one that ended between the import and its tidying up.
const COMPLETED: &str = "the import that an earlier start made is tidied up; import-report.txt in the legacy folder tells \
                         what it took";

/// What an import goes by.
pub(crate) struct Settings {
    /// Whose ids the messages get: those of stock mean nothing here.
    node: Node,
    /// The number of each topic's first message.
    first_seq: u64,
    log: LogOptions,
    /// Take along the files that stock gave up.
    with_bad: bool,
    message_bytes_max: u64,
    /// The time, for the name of the folder of old files.
    stamp: String,
    /// Told to stop: an import can take minutes.
    stop: Shutdown,
}

/// At every start, before anything else touches the folder, which must be locked: import what a stock nsqd left, and
/// say so. Nothing happens in a folder that is ours or empty.
///
/// # Errors
/// Nothing of stock's was changed then.
pub(crate) fn import_at_start(
    disk: &Arc<dyn Disk>,
    folder: &Path,
    options: &Options,
    shutdown: &Shutdown,
) -> Result<(), StockError> {
    let settings = Settings {
        node: Node::new(options.node_id),
        log: log_options(options.max_bytes_per_file, options.max_msg_size),
        message_bytes_max: options.max_msg_size as u64,
        stop: shutdown.clone(),
        ..command::settings_now()
    };
    match takeover::take_over(disk, folder, &settings)? {
        TakenOver::Nothing => {}
        TakenOver::Completed => tracing::info!("{COMPLETED}"),
        TakenOver::Imported(report) => {
            for line in report.warnings() {
                tracing::warn!("import: {line}");
            }
            tracing::info!("{}", report.summary());
        }
    }
    Ok(())
}

/// As the broker will open them.
fn log_options(segment_bytes: u64, message_bytes_max: usize) -> LogOptions {
    LogOptions { segment_bytes, cache_bytes: 0, record_bytes_max: message_bytes_max + RECORD_OVERHEAD }
}
