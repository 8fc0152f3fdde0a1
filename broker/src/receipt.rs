//! The promise given for an appended message: kept when its batch is with the kernel, or synced if its topic says
//! so; broken when that failed. One allocation per batch, not per message.

use std::sync::{Arc, Mutex, OnceLock, PoisonError};

use daemon::traces::Span;
use tokio::sync::oneshot;

use crate::outbox::Outbox;

/// Why an append did not become part of the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum PublishError {
    /// The topic is being deleted, or the broker stops.
    Exiting,
    /// The disk refused; the text says how.
    Refused(String),
}

impl std::fmt::Display for PublishError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Exiting => f.write_str("exiting"),
            Self::Refused(why) => f.write_str(why),
        }
    }
}

/// All that was appended to a topic between two commits: it is kept or lost together.
#[derive(Debug, Default)]
pub(crate) struct Batch {
    outcome: OnceLock<Result<(), PublishError>>,
    /// Who is told when the outcome is there. Empty for what is settled within the tick that appended it.
    waiters: Mutex<Vec<Waiter>>,
}

/// A publisher's share in a batch.
#[derive(Debug, Clone)]
pub(crate) struct Receipt(Arc<Batch>);

#[derive(Debug)]
enum Waiter {
    Session(Arc<Outbox>),
    Task(oneshot::Sender<()>),
    /// What lasts until then.
    Span(Span),
}

impl Batch {
    /// A share for one publisher.
    pub(crate) fn receipt(self: &Arc<Self>) -> Receipt {
        Receipt(Arc::clone(self))
    }

    /// The commit is over; only the first outcome counts.
    pub(crate) fn settle(&self, outcome: Result<(), PublishError>) {
        let _already_settled = self.outcome.set(outcome);
        let failure = self.outcome.get().and_then(|outcome| outcome.as_ref().err());
        let waiters = std::mem::take(&mut *self.waiters.lock().unwrap_or_else(PoisonError::into_inner));
        for waiter in waiters {
            match waiter {
                Waiter::Session(outbox) => outbox.enlist(),
                Waiter::Task(task) => drop(task.send(())),
                Waiter::Span(span) => end(span, failure),
            }
        }
    }

    /// Tell `waiter` when the outcome is there. False: it is there already.
    fn wait(&self, waiter: Waiter) -> bool {
        let mut waiters = self.waiters.lock().unwrap_or_else(PoisonError::into_inner);
        // Settling sets the outcome before it takes this lock: either it is seen here, or the waiter is seen there.
        if self.outcome.get().is_some() {
            return false;
        }
        waiters.push(waiter);
        true
    }
}

fn end(mut span: Span, failure: Option<&PublishError>) {
    if let Some(why) = failure {
        span.fail(why);
    }
}

impl Receipt {
    /// A receipt for nothing: what an ephemeral topic gives for a message it drops.
    pub(crate) fn kept() -> Self {
        let batch = Arc::new(Batch::default());
        batch.settle(Ok(()));
        batch.receipt()
    }

    /// How the commit ended, if it has.
    pub(crate) fn outcome(&self) -> Option<&Result<(), PublishError>> {
        self.0.outcome.get()
    }

    /// Have the session of `outbox` flushed when the outcome is there.
    pub(crate) fn wake(&self, outbox: &Arc<Outbox>) {
        if !self.0.wait(Waiter::Session(Arc::clone(outbox))) {
            outbox.enlist();
        }
    }

    /// Have `span` end with the commit.
    pub(crate) fn trace(&self, span: Span) {
        // One that is over already ends here.
        self.0.wait(Waiter::Span(span));
    }

    /// How the commit ends.
    pub(crate) async fn settled(&self) -> Result<(), PublishError> {
        let (sender, receiver) = oneshot::channel();
        if self.0.wait(Waiter::Task(sender)) && receiver.await.is_err() {
            return Err(PublishError::Exiting);
        }
        self.outcome().cloned().unwrap_or(Err(PublishError::Exiting))
    }

    /// Do both wait for the same commit?
    pub(crate) fn is_same_batch(&self, other: &Self) -> bool {
        Arc::ptr_eq(&self.0, &other.0)
    }
}
