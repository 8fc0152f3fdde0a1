//! nsq-operator at work: it watches an API server, applies what the rules of the crate `operator` say, and talks to
//! brokers. Everything here is an edge; what is decided is decided by values in, values out, over there.

pub mod agenda;
pub mod apply;
pub mod brokers;
pub mod context;
pub mod declare;
pub mod http;
pub mod leader;
pub mod look;
pub mod metrics;
pub mod observe;
pub mod run;
pub mod secret;
pub mod tell;
pub mod topics;
pub mod traced;
pub mod watches;

use std::error::Error as _;
use std::hash::{BuildHasher as _, RandomState};

/// The version of the operator, as its images are tagged.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

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
