//! Spans of what a topology makes. Each topic is made by a task of its own, so they are begun below a place in a trace and
//! not below a span.

use std::fmt::Display;
use std::sync::atomic::{AtomicUsize, Ordering};

use daemon::traces::{Kind, Scope, Span};

/// Of one topology. A trace of more of them shows nothing more.
const SPANS_MAX: usize = 100;

/// Below what topics and channels are made; by default nobody looks.
#[derive(Debug, Default)]
pub(in crate::control) struct Made {
    scope: Scope,
    begun: AtomicUsize,
}

impl Made {
    /// Below this span.
    pub(in crate::control) fn below(span: &Span) -> Self {
        Self { scope: span.scope(), begun: AtomicUsize::new(0) }
    }

    /// A topic is being made.
    pub(super) fn topic(&self, topic: &str) -> Span {
        let mut span = self.begin(|| format!("create topic {topic}"));
        span.set("messaging.system", "nsq");
        span.set("messaging.destination.name", topic);
        span
    }

    /// A channel is being made.
    pub(super) fn channel(&self, topic: &str, channel: &str) -> Span {
        let mut span = self.begin(|| format!("create channel {topic} {channel}"));
        span.set("messaging.system", "nsq");
        span.set("messaging.destination.name", topic);
        span.set("messaging.destination.subscription.name", channel);
        span
    }

    fn begin(&self, name: impl FnOnce() -> String) -> Span {
        if self.begun.fetch_add(1, Ordering::Relaxed) >= SPANS_MAX {
            return Span::default();
        }
        self.scope.begin(Kind::Internal, name)
    }
}

/// It is made, or not.
pub(super) fn ended<T, E: Display>(mut span: Span, outcome: Result<T, E>) -> Result<T, E> {
    if let Err(why) = &outcome {
        span.fail(why);
    }
    outcome
}
