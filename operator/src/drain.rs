//! Taking brokers away without losing a message: what is to be done next, given what is seen. Nothing is remembered but
//! the record in the cluster's status, so that an operator that dies after any step, or loses the record, goes on from
//! what the brokers themselves say. Requests and writes are made elsewhere, one step at a time.
//!
//! ```text
//! record in status -> drain (publishes are refused) -> wait for consumers -> certify (empty, on the broker's disk)
//!                  -> retire (leaves the lookupds)  -> one replica less
//! ```

#[cfg(test)]
mod tests;

use protocol::control::{DrainPhase, DrainReport, Waiting};

/// Without a message less for so long, a drain is said to be stuck. In seconds.
pub const STUCK_AFTER_S: u64 = 600;

/// A cluster, as far as its size is concerned.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Observed {
    /// `spec.brokers.replicas`.
    pub wanted: u32,
    /// By ordinal: as many as the StatefulSet has replicas.
    pub brokers: Vec<Broker>,
    /// What the status says of a drain under way.
    pub record: Option<Record>,
    /// Unix time in seconds.
    pub now_s: u64,
}

/// One broker that is there.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Broker {
    /// Its pod is ready.
    pub is_ready: bool,
    /// What it says of itself; `None`: it did not answer.
    pub report: Option<DrainReport>,
}

/// A drain under way, as the status keeps it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Record {
    /// The broker that leaves: always the last one.
    pub ordinal: u32,
    /// Which drain of that broker.
    pub epoch: u64,
    /// What it owed when that last became less.
    pub remaining: u64,
    /// When that was, in Unix seconds.
    pub progressed_s: u64,
}

/// What is to be done now. After it, look again.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step {
    /// As many brokers as wanted, all serving.
    Nothing,
    /// Write this to the status before anything else.
    Record(Option<Record>),
    /// Have the broker refuse publishes.
    Drain(Target),
    /// Have the broker write down that it owes nothing.
    Certify(Target),
    /// Have the broker leave the lookupds and its consumers.
    Retire(Target),
    /// Have the broker take publishes again.
    Undrain(Target),
    /// Give the StatefulSet so many replicas.
    Scale(u32),
    /// Consumers are at work: look again in a while.
    Wait,
    /// It does not go on by itself.
    Blocked(Obstacle),
}

/// Which broker is asked, in which of its drains.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Target {
    /// Its place in the cluster.
    pub ordinal: u32,
    /// Which drain of that broker.
    pub epoch: u64,
}

/// What keeps the broker that is to leave. Nothing is ever forced.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Obstacle {
    /// Its place in the cluster.
    pub ordinal: u32,
    /// Why it stays.
    pub why: Why,
}

/// Why a drain does not go on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// The broker does not answer.
    Unreachable,
    /// No other broker could take the publishes.
    NoOtherReady,
    /// Messages that nobody consumes.
    NoConsumer(Waiting),
    /// So many messages, consumers, and nothing became less for [`STUCK_AFTER_S`].
    NoProgress(u64),
    /// It was certified empty and holds so many: somebody went past the operator.
    NotEmpty(u64),
}

impl Obstacle {
    /// The reason of the condition `ScalingDown`, of a closed set.
    pub fn reason(&self) -> &'static str {
        match self.why {
            Why::Unreachable => "BrokerUnreachable",
            Why::NoOtherReady => "NoOtherBroker",
            Why::NoConsumer(_) => "NoConsumer",
            Why::NoProgress(_) => "NoProgress",
            Why::NotEmpty(_) => "NotEmpty",
        }
    }
}

impl std::fmt::Display for Obstacle {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let ordinal = self.ordinal;
        match &self.why {
            Why::Unreachable => {
                write!(
                    f,
                    "broker {ordinal} does not answer: whether it holds messages is not known; mend its pod"
                )
            }
            Why::NoOtherReady => {
                write!(
                    f,
                    "no broker but {ordinal} is ready: publishers would find none; mend the others first"
                )
            }
            Why::NoConsumer(Waiting { topic, channel: Some(channel), messages, .. }) => write!(
                f,
                "broker {ordinal} holds {messages} messages of topic {topic:?} for channel {channel:?}, which has no \
                 consumer: start one, or empty or delete the channel"
            ),
            Why::NoConsumer(Waiting { topic, messages, .. }) => write!(
                f,
                "broker {ordinal} holds {messages} messages of topic {topic:?}, which has no channel: create one and \
                 consume them, or empty or delete the topic"
            ),
            Why::NoProgress(remaining) => write!(
                f,
                "broker {ordinal} still holds {remaining} messages, and for {} minutes none was finished: look at \
                 its consumers",
                STUCK_AFTER_S / 60
            ),
            Why::NotEmpty(remaining) => write!(
                f,
                "broker {ordinal} was empty and holds {remaining} messages again: raise the replicas to have it serve"
            ),
        }
    }
}

/// What is to be done next.
pub fn next(seen: &Observed) -> Step {
    let running = u32::try_from(seen.brokers.len()).unwrap_or(u32::MAX);
    // More are wanted: nobody needs to be asked.
    if running < seen.wanted {
        return Step::Scale(seen.wanted);
    }
    let leaving = running.checked_sub(1).filter(|_| running > seen.wanted);
    // Whoever stays serves: the size was raised again, or a volume came back on which an earlier broker had retired.
    if let Some(step) = undrain(seen, leaving) {
        return step;
    }
    match (leaving, &seen.record) {
        (None, Some(_)) => Step::Record(None),
        (None, None) => Step::Nothing,
        (Some(ordinal), record) => leave(seen, ordinal, record.filter(|record| record.ordinal == ordinal)),
    }
}

fn undrain(seen: &Observed, leaving: Option<u32>) -> Option<Step> {
    let brokers = (0..).zip(&seen.brokers).filter(|(ordinal, _)| Some(*ordinal) != leaving);
    let reports = brokers.filter_map(|(ordinal, broker)| Some((ordinal, broker.report.as_ref()?)));
    let mut away = reports.filter(|(_, report)| report.phase != DrainPhase::Serving);
    away.next().map(|(ordinal, report)| Step::Undrain(Target { ordinal, epoch: report.epoch }))
}

/// The next step of the broker that is to leave.
fn leave(seen: &Observed, ordinal: u32, record: Option<Record>) -> Step {
    let broker = seen.brokers.last();
    let Some(report) = broker.and_then(|broker| broker.report.as_ref()) else {
        return blocked(ordinal, Why::Unreachable);
    };
    let others = seen.brokers.get(..ordinal as usize).unwrap_or_default();
    // Also in the middle of it: the others may have gone meanwhile, and this one can still be kept.
    if seen.wanted > 0 && !others.iter().any(|other| other.is_ready) {
        return blocked(ordinal, Why::NoOtherReady);
    }
    let fresh = |epoch| Record { ordinal, epoch, remaining: report.remaining, progressed_s: seen.now_s };
    let Some(record) = record else {
        // A drain that is under way without a record of it is ours: the record was lost.
        let epoch = if report.phase == DrainPhase::Serving { report.epoch + 1 } else { report.epoch.max(1) };
        return Step::Record(Some(fresh(epoch)));
    };
    let epoch = record.epoch;
    match report.phase {
        // It was undrained by hand, or the record is older than the broker: that epoch is spent.
        DrainPhase::Serving if report.epoch >= epoch => Step::Record(Some(fresh(report.epoch + 1))),
        DrainPhase::Serving => Step::Drain(Target { ordinal, epoch }),
        _ if report.epoch > epoch => Step::Record(Some(fresh(report.epoch))),
        _ if report.epoch < epoch => Step::Drain(Target { ordinal, epoch }),
        DrainPhase::Draining if report.remaining == 0 => Step::Certify(Target { ordinal, epoch }),
        DrainPhase::Draining => wait(seen, record, report),
        _ if report.remaining > 0 => blocked(ordinal, Why::NotEmpty(report.remaining)),
        DrainPhase::Certified => Step::Retire(Target { ordinal, epoch }),
        DrainPhase::Retired => Step::Scale(ordinal),
    }
}

/// Messages are left. Are they becoming less, and can they?
fn wait(seen: &Observed, record: Record, report: &DrainReport) -> Step {
    let (ordinal, remaining) = (record.ordinal, report.remaining);
    if remaining < record.remaining {
        return Step::Record(Some(Record { remaining, progressed_s: seen.now_s, ..record }));
    }
    // Consumers elsewhere may come back; this is told at once all the same, for somebody has to do something.
    if let Some(waiting) = report.waiting.iter().find(|waiting| waiting.consumers == 0) {
        return blocked(ordinal, Why::NoConsumer(waiting.clone()));
    }
    if seen.now_s.saturating_sub(record.progressed_s) >= STUCK_AFTER_S {
        return blocked(ordinal, Why::NoProgress(remaining));
    }
    Step::Wait
}

fn blocked(ordinal: u32, why: Why) -> Step {
    Step::Blocked(Obstacle { ordinal, why })
}
