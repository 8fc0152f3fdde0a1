//! Numbers for traces and spans, and the choice of what is sampled. Numbers only have to differ, not to be secret: they
//! are a counter, scattered, begun at a random place.

use std::hash::{BuildHasher as _, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use super::TraceContext;

/// 2^64 divided by the golden ratio: the step by which a counter visits all numbers, far apart.
const STEP: u64 = 0x9e37_79b9_7f4a_7c15;

#[derive(Debug)]
pub(super) struct Chance {
    /// Of 2^63; a trace is sampled if the lower part of its number is below.
    threshold: u64,
    high: u64,
    next: AtomicU64,
}

impl Chance {
    pub(super) fn new(ratio: f64) -> Self {
        let random = || RandomState::new().hash_one(0_u8);
        // The edge as of OpenTelemetry's samplers, so that all choose the same traces.
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 2^63")]
        let threshold = (ratio.clamp(0.0, 1.0) * (1_u64 << 63) as f64) as u64;
        Self { threshold, high: random(), next: AtomicU64::new(random()) }
    }

    /// Of a new span; none if nothing can be sampled that has no parent.
    pub(super) fn context(&self, parent: Option<TraceContext>) -> Option<TraceContext> {
        match parent {
            Some(parent) => Some(TraceContext { span: self.number(), ..parent }),
            // Most of what begins without a parent is a message over TCP, which should cost nothing then.
            None if self.threshold == 0 => None,
            None => {
                let (low, span) = (self.number(), self.number());
                let trace = u128::from(scattered(self.high ^ low)) << 64 | u128::from(low);
                Some(TraceContext { trace, span, is_sampled: low >> 1 < self.threshold })
            }
        }
    }

    /// Not 0, which stands for none.
    fn number(&self) -> u64 {
        scattered(self.next.fetch_add(STEP, Ordering::Relaxed)).max(1)
    }
}

/// Every bit of the result hangs on every bit of `x`; no two of them have the same.
fn scattered(x: u64) -> u64 {
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    let x = (x ^ (x >> 32)).wrapping_mul(0xd6e8_feb8_6659_fd93);
    x ^ (x >> 32)
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn the_ratio_is_kept_and_numbers_differ() {
        for (ratio, least, most) in [(0.0, 0, 0), (0.25, 2000, 3000), (1.0, 10_000, 10_000)] {
            let chance = Chance::new(ratio);
            let contexts: Vec<_> = (0..10_000).filter_map(|_| chance.context(None)).collect();
            let sampled = contexts.iter().filter(|context| context.is_sampled).count();
            assert!((least..=most).contains(&sampled), "{sampled} of 10,000 at {ratio}");
            let traces: HashSet<u128> = contexts.iter().map(|context| context.trace).collect();
            let spans: HashSet<u64> = contexts.iter().map(|context| context.span).collect();
            assert_eq!((traces.len(), spans.len()), (contexts.len(), contexts.len()));
        }
    }

    #[test]
    fn below_a_parent_only_the_parent_decides() {
        for (ratio, is_sampled) in [(0.0, true), (1.0, false)] {
            let parent = TraceContext { trace: 7, span: 9, is_sampled };
            let child = Chance::new(ratio).context(Some(parent)).unwrap();
            assert_eq!((child.trace, child.is_sampled), (7, is_sampled));
            assert_ne!(child.span, 9);
        }
    }
}
