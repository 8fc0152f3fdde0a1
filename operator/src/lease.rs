//! Who of several operators may write: the rules of a `coordination.k8s.io` Lease, as a state machine. Answers of the
//! API server go in, the next request comes out, time is an argument. A lease counts as expired when its record was
//! not seen to change for its duration, so clocks of different machines are never compared. Requests are elsewhere.

use std::time::Duration;

/// How long a lease lasts and how often it is asked for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timing {
    /// For how long others leave an unchanged lease alone.
    pub duration: Duration,
    /// For how long the leader goes on without a renewal that was answered. Less than `duration`.
    pub renew_deadline: Duration,
    /// Between two requests; whoever waits adds its own jitter.
    pub retry: Duration,
}

impl Default for Timing {
    fn default() -> Self {
        let seconds = Duration::from_secs;
        Self { duration: seconds(15), renew_deadline: seconds(10), retry: seconds(2) }
    }
}

/// What the spec of a Lease says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// Empty: nobody, it was given back.
    pub holder: String,
    /// As its holder wrote it.
    pub duration: Duration,
    /// How often it went from one holder to another.
    pub transitions: u32,
    /// The holder's time of its last renewal. Compared for being the same, never read as a time.
    pub renewed: String,
}

/// A Lease as the API server gave it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Lease {
    /// Its resourceVersion, without which no write is made.
    pub version: String,
    /// Its spec.
    pub record: Record,
}

/// What happened to the last [`Action`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Event {
    /// The wait is over; also the first event.
    Due,
    /// The Lease was read; `None` if there is none.
    Read(Option<Lease>),
    /// The write was stored, as this.
    Written(Lease),
    /// The write was refused with 409: somebody else wrote first.
    Conflict,
    /// No answer, or another error: nobody knows whether a write was stored.
    Failed,
    /// This process is to end, and nothing of its work goes on.
    Stop,
}

/// What a Lease is to say from now on; who writes it adds the times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// Empty to give it back.
    pub holder: String,
    /// For `leaseDurationSeconds`.
    pub duration: Duration,
    /// For `leaseTransitions`.
    pub transitions: u32,
}

/// What to do next; its outcome is the next [`Event`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Action {
    /// GET.
    Read,
    /// POST; fails with a conflict if there is one by now.
    Create(Claim),
    /// PUT with this resourceVersion.
    Replace {
        /// Of the Lease that it was decided on.
        version: String,
        /// What it is to say.
        claim: Claim,
    },
    /// Nothing for this long.
    Wait(Duration),
    /// End the process: it may not lead any more, or was told to stop.
    Exit,
}

/// One candidate, and perhaps the leader.
#[derive(Debug)]
pub struct Elector {
    me: String,
    timing: Timing,
    seen: Option<Seen>,
    /// When the write that is under way was sent.
    sent: Duration,
    /// When the last write that was stored was sent, while leading.
    renewed: Option<Duration>,
    stopping: bool,
}

impl Elector {
    /// `me` must belong to this process alone (a pod's name and something random): a lease that it finds in its own
    /// name is taken for a write of its own whose answer was lost.
    pub fn new(me: impl Into<String>, timing: Timing) -> Self {
        let sent = Duration::ZERO;
        Self { me: me.into(), timing, seen: None, sent, renewed: None, stopping: false }
    }

    /// When this process must be told [`Event::Failed`] at the latest, whatever it waits for: then it stops leading.
    /// `None` while it does not lead.
    pub fn deadline(&self) -> Option<Duration> {
        self.renewed.map(|at| at + self.timing.renew_deadline)
    }

    /// Whether it may write at `now`, counted from any fixed moment by a clock that never goes back.
    pub fn leads(&self, now: Duration) -> bool {
        !self.stopping && self.deadline().is_some_and(|deadline| now < deadline)
    }

    /// What follows from `event`, seen at `now`.
    pub fn step(&mut self, now: Duration, event: Event) -> Action {
        if event == Event::Stop {
            return self.stop();
        }
        if self.stopping || self.deadline().is_some_and(|deadline| now >= deadline) {
            return self.exit();
        }
        match event {
            Event::Due => self.due(now),
            Event::Read(None) => self.vacant(now),
            Event::Read(Some(lease)) => self.read(now, lease),
            Event::Written(lease) => self.written(now, lease),
            Event::Conflict => Action::Read,
            Event::Failed => self.failed(),
            Event::Stop => self.stop(),
        }
    }

    fn due(&mut self, now: Duration) -> Action {
        match self.seen.clone() {
            Some(seen) if self.renewed.is_some() => self.take(now, &seen.lease),
            _ => Action::Read,
        }
    }

    fn vacant(&mut self, now: Duration) -> Action {
        // Somebody deleted the lease of a leader. Another candidate may have created it anew since.
        if self.renewed.is_some() {
            return self.exit();
        }
        self.seen = None;
        self.sent = now;
        Action::Create(self.claim(0))
    }

    fn read(&mut self, now: Duration, lease: Lease) -> Action {
        let mine = lease.record.holder == self.me;
        if self.renewed.is_some() && !mine {
            return self.exit();
        }
        let seen = self.see(now, lease);
        if mine || seen.lease.record.holder.is_empty() || seen.expired(now, self.timing.duration) {
            return self.take(now, &seen.lease);
        }
        Action::Wait(self.timing.retry)
    }

    fn written(&mut self, now: Duration, lease: Lease) -> Action {
        self.see(now, lease);
        // Counted from the sending: others may have seen the change at any time since.
        self.renewed = Some(self.sent);
        Action::Wait(self.timing.retry)
    }

    fn failed(&mut self) -> Action {
        // The version is no longer known, because the write may have been stored.
        if self.renewed.is_some() { Action::Read } else { Action::Wait(self.timing.retry) }
    }

    fn stop(&mut self) -> Action {
        let leading = self.renewed.take().is_some();
        if self.stopping || !leading {
            return self.exit();
        }
        self.stopping = true;
        let Some(seen) = &self.seen else { return Action::Exit };
        let claim = Claim { holder: String::new(), ..self.claim(seen.lease.record.transitions) };
        Action::Replace { version: seen.lease.version.clone(), claim }
    }

    fn exit(&mut self) -> Action {
        self.stopping = true;
        self.renewed = None;
        Action::Exit
    }

    fn take(&mut self, now: Duration, lease: &Lease) -> Action {
        let changes_hands = u32::from(lease.record.holder != self.me);
        let claim = self.claim(lease.record.transitions.saturating_add(changes_hands));
        self.sent = now;
        Action::Replace { version: lease.version.clone(), claim }
    }

    fn claim(&self, transitions: u32) -> Claim {
        Claim { holder: self.me.clone(), duration: self.timing.duration, transitions }
    }

    fn see(&mut self, now: Duration, lease: Lease) -> Seen {
        let since = match &self.seen {
            Some(seen) if seen.lease.record == lease.record => seen.since,
            _ => now,
        };
        let seen = Seen { lease, since };
        self.seen = Some(seen.clone());
        seen
    }
}

#[derive(Debug, Clone)]
struct Seen {
    lease: Lease,
    /// Since when its record is as it is, as far as this process saw.
    since: Duration,
}

impl Seen {
    /// With the longer of both durations, so that operators with different settings are safe from each other.
    fn expired(&self, now: Duration, least: Duration) -> bool {
        now.saturating_sub(self.since) >= self.lease.record.duration.max(least)
    }
}

#[cfg(test)]
mod tests;
