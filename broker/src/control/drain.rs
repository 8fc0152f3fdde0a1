//! A broker on its way out: fenced against publishes, emptied by its consumers, certified empty, retired. Where it stands
//! is on disk before anybody is told, so that a restart goes on there. Which step may follow which is `next`, and pure.

use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use protocol::control::{DrainPhase, DrainReport, Waiting};
use serde::{Deserialize, Serialize};
use storage::{Disk, Kept, KeptFile, StorageError};

use super::Refusal;
use crate::broker::Broker;
use crate::fence::Fence;
use crate::topic::Topic;

const FILE: &str = "drain";
const MAGIC: &[u8; 8] = b"NSQBEwdh";

/// Places a report names.
const WAITING_MAX: usize = 20;

/// How long lookupds may take to forget a broker that retires.
const FORGOTTEN_WITHIN: Duration = Duration::from_secs(2);

/// Where the broker stands, and the file that says so.
#[derive(Debug)]
pub(crate) struct Drain {
    file: KeptFile,
    mark: Mutex<Mark>,
    /// Held while a step is made.
    turn: tokio::sync::Mutex<()>,
}

/// What the file says.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Mark {
    phase: DrainPhase,
    epoch: u64,
}

/// A step somebody asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Order {
    Drain,
    Undrain,
    Certify,
    Retire,
}

impl Drain {
    /// As the last run left it.
    ///
    /// # Errors
    /// The file is of a later version or not ours, or the disk failed.
    pub(super) fn open(disk: Arc<dyn Disk>, folder: &Path, fence: &Fence) -> Result<Self, StorageError> {
        let file = KeptFile::new(disk, folder.join(FILE), MAGIC);
        let mark = match file.read()? {
            Kept::Missing => Mark::default(),
            Kept::Content(bytes) => {
                serde_json::from_slice(&bytes).unwrap_or_else(|_| unreadable(file.path()))
            }
            Kept::Damaged => unreadable(file.path()),
        };
        if mark.phase != DrainPhase::Serving {
            tracing::warn!(phase = ?mark.phase, epoch = mark.epoch, "publishes are refused: this broker is on its way out");
        }
        fence.set(mark.phase != DrainPhase::Serving);
        Ok(Self { file, mark: Mutex::new(mark), turn: tokio::sync::Mutex::default() })
    }

    /// Has it left its lookupds?
    pub(crate) fn is_retired(&self) -> bool {
        self.mark().phase == DrainPhase::Retired
    }

    /// Why clients should go elsewhere, if so.
    pub(crate) fn problem(&self) -> Option<String> {
        let Mark { phase, epoch } = self.mark();
        let told = match phase {
            DrainPhase::Serving => return None,
            DrainPhase::Draining => "draining: publishes are refused, consumers go on",
            DrainPhase::Certified => "drained: nothing is left here, and publishes are refused",
            DrainPhase::Retired => "retired: it has left its lookupds, and publishes are refused",
        };
        Some(format!("{told} (drain {epoch})"))
    }

    fn mark(&self) -> Mark {
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, mark: Mark) -> Result<(), StorageError> {
        let bytes = serde_json::to_vec(&mark).unwrap_or_default();
        crate::blocking::wait(|| self.file.write(&bytes))?;
        *self.mark.lock().unwrap_or_else(PoisonError::into_inner) = mark;
        tracing::info!(phase = ?mark.phase, epoch = mark.epoch, "drain");
        Ok(())
    }
}

/// A broker that may have been certified empty must not take messages again because its file is damaged.
fn unreadable(path: &Path) -> Mark {
    tracing::error!(
        file = %path.display(),
        "cannot read how far this broker is on its way out: the file is damaged. Publishes are refused until it is \
         drained or undrained anew; no message is touched"
    );
    Mark { phase: DrainPhase::Draining, epoch: 0 }
}

/// Make a step, or say why not.
pub(super) async fn step(broker: &Arc<Broker>, order: Order, epoch: u64) -> Result<DrainReport, Refusal> {
    let drain = &broker.control_state.drain;
    let _turn = drain.turn.lock().await;
    let before = drain.mark();
    let after = next(before, order, epoch).map_err(Refusal::Conflict)?;
    let fence = &broker.context.fence;
    if after.phase == DrainPhase::Certified && before.phase != after.phase {
        // The fence is up, so from here on it can only become emptier.
        empty_for_good(broker)?;
    }
    if after != before {
        // What is told to be refused is refused before it is told.
        fence.set(after.phase != DrainPhase::Serving || fence.is_up());
        let stored = drain.set(after);
        fence.set(drain.mark().phase != DrainPhase::Serving);
        stored.map_err(|error| Refusal::Disk(error.to_string()))?;
    }
    let is_moved = (before.phase == DrainPhase::Retired) != (after.phase == DrainPhase::Retired);
    if is_moved {
        broker.changes.note_all();
    }
    if after.phase == DrainPhase::Retired {
        broker.lookups.know_within(broker.changes.count(), FORGOTTEN_WITHIN).await;
        close_consumers(broker);
    }
    Ok(report(broker))
}

/// The mark after `order`.
fn next(now: Mark, order: Order, epoch: u64) -> Result<Mark, String> {
    use DrainPhase::{Certified, Draining, Retired, Serving};
    let Mark { phase, epoch: known } = now;
    if epoch < known {
        return Err(format!("drain {epoch} is over: the last one here is {known}"));
    }
    let to = |phase| Ok(Mark { phase, epoch });
    match (order, phase) {
        (Order::Drain, _) if epoch == 0 => Err("an epoch is 1 or more".to_owned()),
        (Order::Drain, Serving) if epoch == known => {
            Err(format!("drain {epoch} was cancelled here: a new one needs a higher epoch"))
        }
        (Order::Drain, _) if epoch > known => to(Draining),
        (Order::Undrain, Draining | Certified | Retired) => to(Serving),
        (Order::Drain, _) | (Order::Undrain, Serving) => Ok(now),
        (Order::Certify | Order::Retire, _) if epoch > known => {
            Err(format!("drain {epoch} was never begun here: the last one is {known}"))
        }
        (Order::Certify, Serving) => Err("it is not draining: ask for /control/drain first".to_owned()),
        (Order::Certify, Draining) => to(Certified),
        (Order::Certify, Certified | Retired) => Ok(now),
        (Order::Retire, Certified | Retired) => to(Retired),
        (Order::Retire, Serving | Draining) => {
            Err("it is not certified to be empty: ask for /control/certify first".to_owned())
        }
    }
}

/// Where it stands, and what is still owed.
pub(super) fn report(broker: &Broker) -> DrainReport {
    let Mark { phase, epoch } = broker.control_state.drain.mark();
    let mut waiting: Vec<Waiting> = broker.topics().iter().flat_map(|topic| waiting_in(topic)).collect();
    let remaining = waiting.iter().map(|place| place.messages).sum();
    waiting.sort_by_key(|place| std::cmp::Reverse(place.messages));
    waiting.truncate(WAITING_MAX);
    DrainReport { phase, epoch, remaining, waiting }
}

/// What a topic's channels owe, or the topic if it has none. What a paused topic holds back each channel owes.
pub(super) fn waiting_in(topic: &Topic) -> Vec<Waiting> {
    let held = topic.counts().depth;
    let channels = topic.channels();
    let of = |channel, messages, consumers| Waiting {
        topic: topic.name.as_str().to_owned(),
        channel,
        messages,
        consumers,
    };
    let mut waiting: Vec<_> = channels
        .iter()
        .map(|channel| {
            let state = channel.lock();
            let queue = &state.queue;
            let owed = held + queue.depth() + queue.in_flight_count() + queue.deferred_count();
            of(Some(channel.name.as_str().to_owned()), owed, queue.consumer_count() as u64)
        })
        .collect();
    if channels.is_empty() {
        waiting.push(of(None, held, 0));
    }
    waiting.retain(|place| place.messages > 0);
    waiting
}

/// Nothing is owed, nothing is on its way in, and what was finished stays finished after a power cut.
fn empty_for_good(broker: &Arc<Broker>) -> Result<(), Refusal> {
    let topics = broker.topics();
    for topic in &topics {
        topic.commit(broker.context.clock.now());
        if !topic.is_settled() {
            return Err(Refusal::Conflict(format!(
                "publishes to {} that came before the drain are still being written: ask again",
                topic.name
            )));
        }
    }
    let report = report(broker);
    if let Some(place) = report.waiting.first() {
        let channel = place.channel.as_ref().map_or_else(String::new, |channel| format!("/{channel}"));
        return Err(Refusal::Conflict(format!(
            "{} messages are left, {} of them in {}{channel}, which has {} consumers",
            report.remaining, place.messages, place.topic, place.consumers
        )));
    }
    crate::blocking::wait(|| topics.iter().try_for_each(synced))
}

fn synced(topic: &Arc<Topic>) -> Result<(), Refusal> {
    let told = |why: String| Refusal::Disk(format!("{}: {why}", topic.name));
    if !topic.save_progress() {
        return Err(told("what was finished cannot be written down".to_owned()));
    }
    topic.sync().map_err(|error| told(error.to_string()))
}

fn close_consumers(broker: &Broker) {
    for topic in broker.topics() {
        for channel in topic.channels().iter() {
            channel.close_consumers();
        }
    }
}

#[cfg(test)]
mod tests {
    use DrainPhase::{Certified, Draining, Retired, Serving};

    use super::*;

    #[test]
    fn steps_follow_each_other_and_late_repeats_change_nothing() {
        use Order::{Certify, Drain, Retire, Undrain};
        for (phase, known, order, epoch, expected) in [
            (Serving, 0, Drain, 1, Some((Draining, 1))),
            (Serving, 0, Drain, 0, None),
            (Draining, 3, Drain, 3, Some((Draining, 3))),
            (Draining, 3, Drain, 4, Some((Draining, 4))),
            (Draining, 3, Drain, 2, None),
            (Certified, 3, Drain, 3, Some((Certified, 3))),
            (Certified, 3, Drain, 4, Some((Draining, 4))),
            (Retired, 3, Drain, 4, Some((Draining, 4))),
            (Serving, 3, Drain, 3, None),
            (Serving, 3, Drain, 4, Some((Draining, 4))),
            (Serving, 3, Undrain, 3, Some((Serving, 3))),
            (Draining, 3, Undrain, 3, Some((Serving, 3))),
            (Draining, 3, Undrain, 2, None),
            (Certified, 3, Undrain, 3, Some((Serving, 3))),
            (Retired, 3, Undrain, 5, Some((Serving, 5))),
            (Serving, 3, Certify, 3, None),
            (Draining, 3, Certify, 3, Some((Certified, 3))),
            (Draining, 3, Certify, 4, None),
            (Certified, 3, Certify, 3, Some((Certified, 3))),
            (Retired, 3, Certify, 3, Some((Retired, 3))),
            (Draining, 3, Retire, 3, None),
            (Certified, 3, Retire, 2, None),
            (Certified, 3, Retire, 3, Some((Retired, 3))),
            (Retired, 3, Retire, 3, Some((Retired, 3))),
            // A damaged file: epoch 0, and any drain or undrain goes on from there.
            (Draining, 0, Drain, 1, Some((Draining, 1))),
            (Draining, 0, Undrain, 0, Some((Serving, 0))),
        ] {
            let found = next(Mark { phase, epoch: known }, order, epoch).ok();
            let expected = expected.map(|(phase, epoch)| Mark { phase, epoch });
            assert_eq!(found, expected, "{phase:?} {known}: {order:?} {epoch}");
        }
    }
}
