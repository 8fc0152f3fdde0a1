//! nsq-operator at work: it watches an API server, applies what the rules of the crate `operator` say, and talks to
//! brokers. Everything here is an edge; what is decided is decided by values in, values out, over there.

pub mod agenda;
pub mod brokers;
pub mod leader;

use std::error::Error as _;
use std::hash::{BuildHasher as _, RandomState};

/// A number in 0..1 that nobody foresees, to spread what would come at once.
pub(crate) fn chance() -> f64 {
    // The keys of a RandomState are random; 53 bits fill a float.
    (RandomState::new().hash_one(0u8) >> 11) as f64 / (1u64 << 53) as f64
}

/// An error with its causes.
pub(crate) fn told(error: &kube::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        let inner_text = inner.to_string();
        if !text.contains(&inner_text) {
            text.push_str(": ");
            text.push_str(&inner_text);
        }
        cause = inner.source();
    }
    text
}
