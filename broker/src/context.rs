//! What every topic and channel of one broker shares: the clock, the limits, the way to the timers and to
//! the journal writer, and the health that `/ping` shows.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use daemon::shutdown::Shutdown;
use tokio::runtime::Handle;
use tokio::sync::mpsc::UnboundedSender;

use crate::channel::Channel;
use crate::clock::Clock;
use crate::durability::Durability;
use crate::fence::Fence;
use crate::figures::Figures;
use crate::latency::Quantiles;
use crate::memory::Memory;
use crate::record::Node;
use crate::space::Space;
use crate::timers::Timers;
use crate::topic::Topic;
use crate::traces::Traces;

/// Limits on topics and channels, from the options.
#[derive(Debug, Clone)]
pub(crate) struct Rules {
    /// Consumers a channel may have on this broker; 0 means any number.
    pub channel_consumers_max: usize,
    /// How long a message may be in flight when its client does not say.
    pub msg_timeout: Duration,
    /// The furthest TOUCH can move a deadline from the delivery.
    pub msg_timeout_max: Duration,
    /// Messages an ephemeral topic or channel holds before it drops new ones.
    pub ephemeral_depth_max: u64,
    /// Channels of a topic; 0 means any number.
    pub channels_max: usize,
    /// Messages a depth counts as held in memory before `backend_depth` rises.
    pub mem_queue_size: u64,
    /// The level of topics that have none of their own.
    pub durability: Durability,
    /// Which quantiles of the time from publish to FIN are measured, if any.
    pub e2e: Option<Quantiles>,
}

/// Shared by all topics and channels.
#[derive(Debug)]
pub(crate) struct Context {
    /// The only clock.
    pub clock: Clock,
    /// Who numbers the messages.
    pub node: Node,
    /// Limits from the options.
    pub rules: Rules,
    /// How each topic's log is kept.
    pub log: storage::LogOptions,
    /// Wakes channels at their deadlines.
    pub timers: Timers,
    /// Where `/ping` looks.
    pub health: Health,
    /// Refuses publishes when the broker is on its way out.
    pub fence: Fence,
    /// Room on the disk.
    pub space: Space,
    /// Room in memory.
    pub memory: Memory,
    /// What is counted.
    pub figures: Figures,
    /// What is traced.
    pub traces: Traces,
    /// Ends the process when the disk can no longer be trusted.
    pub shutdown: Shutdown,
    /// The disk failed: nothing more is promised.
    pub has_failed: AtomicBool,
    /// Where syncs are waited for; without it, whoever asks for one waits itself.
    pub control: Option<Handle>,
    /// Topics with writes that are not synced yet.
    pub(crate) unsynced: UnboundedSender<Arc<Topic>>,
    /// Channels with more to deliver than one turn may take.
    pub(crate) unserved: UnboundedSender<Arc<Channel>>,
    /// Topics whose channels have progress that is not in their journal yet.
    pub unsaved: UnboundedSender<Arc<Topic>>,
}

/// The last error of the disk, until a write succeeds again.
#[derive(Debug, Default)]
pub(crate) struct Health(Mutex<Option<Illness>>);

#[derive(Debug)]
struct Illness {
    why: String,
    /// Space is what is missing: it is over when there is some again.
    is_full: bool,
    /// Nothing ends it but a restart.
    is_final: bool,
}

impl Health {
    /// A write failed for this reason.
    pub(crate) fn failed(&self, why: String) {
        self.set(Illness { why, is_full: false, is_final: false });
    }

    /// The disk cannot be trusted any more.
    fn lost(&self, why: String) {
        self.set(Illness { why, is_full: false, is_final: true });
    }

    fn set(&self, illness: Illness) {
        let mut known = self.lock();
        if known.as_ref().is_none_or(|known| !known.is_final) {
            *known = Some(illness);
        }
    }

    /// There is no space, or too little of it.
    pub(crate) fn filled(&self, why: String) {
        let mut illness = self.lock();
        if illness.as_ref().is_none_or(|illness| illness.is_full) {
            if illness.is_none() {
                tracing::error!("{why}");
            }
            *illness = Some(Illness { why, is_full: true, is_final: false });
        }
    }

    /// There is space.
    pub(crate) fn emptied(&self) {
        let mut illness = self.lock();
        if illness.take_if(|illness| illness.is_full).is_some() {
            tracing::info!("there is space on the disk again: publishing resumes");
        }
    }

    /// A publish was written.
    pub(crate) fn recovered(&self) {
        self.lock().take_if(|illness| !illness.is_final);
    }

    /// A journal was written. Too little space is not over by that: it may use what publishes must leave.
    pub(crate) fn journaled(&self) {
        self.lock().take_if(|illness| !illness.is_full && !illness.is_final);
    }

    /// Why the broker is not healthy, if it is not.
    pub(crate) fn error(&self) -> Option<String> {
        self.lock().as_ref().map(|illness| illness.why.clone())
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Option<Illness>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// nsqd: `OK`, or `NOK - ` and the error.
    pub(crate) fn text(&self) -> String {
        self.error().map_or_else(|| "OK".to_owned(), |why| format!("NOK - {why}"))
    }
}

impl Context {
    /// The disk refused. A full disk may have room again later, and file descriptors come back: go on and say so.
    /// Anything else is not to be trusted.
    pub(crate) fn refused(&self, error: &storage::StorageError) {
        if error.is_passing() {
            let why = error.to_string();
            if error.is_full() { self.health.filled(why) } else { self.health.failed(why) }
        } else {
            self.fail_stop(error);
        }
    }

    /// The disk failed in a way that makes what follows unsafe: refuse, say so, and end the process. A
    /// restart reads what the disk really holds.
    pub(crate) fn fail_stop(&self, error: &storage::StorageError) {
        // Who sees that it failed finds the reason.
        self.health.lost(error.to_string());
        self.has_failed.store(true, Ordering::Release);
        self.shutdown.fail(format!("{error}; nsqd stops, a restart recovers what is on disk"));
    }

    /// Did the disk fail, so that nothing written from now on can be relied on?
    pub(crate) fn has_failed(&self) -> bool {
        self.has_failed.load(Ordering::Acquire)
    }
}
