//! Leading: the requests that the rules of `operator::lease` ask for, on a Lease of the operator's own namespace.
//! Whoever loses the lease ends its process; nothing here decides who leads.

use std::time::{Duration, Instant};

use daemon::shutdown::Shutdown;
use jiff::Timestamp;
use k8s_openapi::api::coordination::v1::{Lease, LeaseSpec};
use k8s_openapi::apimachinery::pkg::apis::meta::v1::{MicroTime, ObjectMeta};
use kube::Api;
use kube::api::PostParams;
use operator::lease::{self, Action, Claim, Elector, Event, Record, Timing};
use tokio::sync::watch;

/// For a request whose answer decides nothing yet.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);

/// Leads whenever it can, until `finished` says that the work of a stopped process is done.
pub struct Campaign {
    /// Where the Lease is.
    pub api: Api<Lease>,
    /// The Lease's name.
    pub name: String,
    /// This process, as no other is called.
    pub me: String,
    /// Becomes true when this process leads.
    pub leads: watch::Sender<bool>,
    /// Triggered when the work has ended and the lease may be given back.
    pub finished: Shutdown,
}

impl Campaign {
    /// Runs until the lease is given back (`Ok`) or lost.
    ///
    /// # Errors
    /// The lease was lost: nothing may be written any more, and the process must end.
    pub async fn run(self) -> Result<(), Lost> {
        let began = Instant::now();
        let mut elector = Elector::new(self.me.clone(), Timing::default());
        let mut action = elector.step(began.elapsed(), Event::Due);
        loop {
            let event = match &action {
                Action::Exit if self.finished.is_triggered() => return Ok(()),
                Action::Exit => return Err(Lost),
                action => self.within(began, &elector, action).await,
            };
            action = elector.step(began.elapsed(), event);
            self.tell(elector.leads(began.elapsed()));
        }
    }

    /// The outcome of `action`, `Failed` if it does not come before the leader's deadline, `Stop` if it is time to go.
    async fn within(&self, began: Instant, elector: &Elector, action: &Action) -> Event {
        let deadline = elector.deadline().map_or(Duration::MAX, |at| at.saturating_sub(began.elapsed()));
        // Giving the lease back is the one request that is made after the end of all work.
        let stop = async {
            match self.finished.is_triggered() {
                true => std::future::pending().await,
                false => self.finished.wait().await,
            }
        };
        tokio::select! {
            biased;
            () = stop => Event::Stop,
            event = self.perform(action) => event,
            () = tokio::time::sleep(deadline) => Event::Failed,
        }
    }

    async fn perform(&self, action: &Action) -> Event {
        let answer = match action {
            Action::Wait(length) => {
                tokio::time::sleep(length.mul_f64(1.0 + 0.2 * crate::chance())).await;
                return Event::Due;
            }
            Action::Exit => return Event::Stop,
            Action::Read => tokio::time::timeout(ANSWER_WITHIN, self.read()).await,
            Action::Create(claim) => tokio::time::timeout(ANSWER_WITHIN, self.create(claim)).await,
            Action::Replace { version, claim } => {
                tokio::time::timeout(ANSWER_WITHIN, self.replace(version, claim)).await
            }
        };
        match answer {
            Ok(Ok(event)) => event,
            Ok(Err(kube::Error::Api(status))) if status.code == 409 => Event::Conflict,
            Ok(Err(error)) => {
                tracing::warn!(lease = self.name, error = crate::told(&error), "cannot ask for the lease");
                Event::Failed
            }
            Err(_late) => {
                tracing::warn!(lease = self.name, within = ?ANSWER_WITHIN, "no answer about the lease");
                Event::Failed
            }
        }
    }

    async fn read(&self) -> kube::Result<Event> {
        Ok(Event::Read(self.api.get_opt(&self.name).await?.as_ref().map(seen)))
    }

    async fn create(&self, claim: &Claim) -> kube::Result<Event> {
        let written = self.api.create(&PostParams::default(), &self.lease(None, claim)).await?;
        Ok(Event::Written(seen(&written)))
    }

    async fn replace(&self, version: &str, claim: &Claim) -> kube::Result<Event> {
        let lease = self.lease(Some(version.to_owned()), claim);
        let written = self.api.replace(&self.name, &PostParams::default(), &lease).await?;
        Ok(Event::Written(seen(&written)))
    }

    fn lease(&self, resource_version: Option<String>, claim: &Claim) -> Lease {
        let metadata =
            ObjectMeta { name: Some(self.name.clone()), resource_version, ..ObjectMeta::default() };
        let now = Some(MicroTime(Timestamp::now()));
        let spec = LeaseSpec {
            holder_identity: Some(claim.holder.clone()),
            lease_duration_seconds: i32::try_from(claim.duration.as_secs()).ok(),
            lease_transitions: i32::try_from(claim.transitions).ok(),
            renew_time: now,
            ..LeaseSpec::default()
        };
        Lease { metadata, spec: Some(spec) }
    }

    fn tell(&self, leads: bool) {
        let changed = self.leads.send_if_modified(|told| std::mem::replace(told, leads) != leads);
        if changed && leads {
            tracing::info!(lease = self.name, me = self.me, "leads");
        }
    }
}

fn seen(lease: &Lease) -> lease::Lease {
    let spec = lease.spec.clone().unwrap_or_default();
    let number =
        |number: Option<i32>| number.and_then(|number| u32::try_from(number).ok()).unwrap_or_default();
    let record = Record {
        holder: spec.holder_identity.unwrap_or_default(),
        duration: Duration::from_secs(number(spec.lease_duration_seconds).into()),
        transitions: number(spec.lease_transitions),
        renewed: spec.renew_time.map(|time| time.0.to_string()).unwrap_or_default(),
    };
    lease::Lease { version: lease.metadata.resource_version.clone().unwrap_or_default(), record }
}

/// Somebody else leads now, or might.
#[derive(Debug)]
pub struct Lost;

impl std::fmt::Display for Lost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("lost the lease: another operator leads, or may; this one must not write any more")
    }
}

impl std::error::Error for Lost {}
