//! What clients can cause as often as they like must not fill the log: a line that names a `client` is written at most
//! ten times a second from each place in the code, and what was left out is counted and told.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};

use tracing::callsite::Identifier;
use tracing::{Level, Metadata};

/// The field that says who caused a line.
const CLIENT: &str = "client";

/// Lines of one place in one second.
const LINES_MAX: u32 = 10;

/// What was logged of late, by place.
#[derive(Default)]
pub(super) struct Flood {
    places: Mutex<HashMap<Identifier, Place>>,
}

/// Whether to log a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Yes, behind a word about what was left out before.
    Log { left_out: Vec<LeftOut> },
    /// No: there were enough of its kind in this second.
    LeaveOut,
}

/// Lines that were not written.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LeftOut {
    pub(super) count: u64,
    pub(super) level: &'static str,
    /// Of one of them.
    pub(super) message: String,
}

struct Place {
    second: i64,
    lines: u32,
    left: Option<LeftOut>,
}

impl Flood {
    /// Look at a line of `level` that says `message`, in this `second`. Debug lines are always written: who asks for
    /// them wants all.
    pub(super) fn look(
        &self,
        metadata: &'static Metadata<'static>,
        level: &'static str,
        message: &str,
        second: i64,
    ) -> Verdict {
        let is_limited = *metadata.level() <= Level::INFO && metadata.fields().field(CLIENT).is_some();
        let mut places = self.places.lock().unwrap_or_else(PoisonError::into_inner);
        if is_limited {
            let new = || Place { second, lines: 0, left: None };
            let place = places.entry(metadata.callsite()).or_insert_with(new);
            if place.second == second && place.lines >= LINES_MAX {
                let left = place.left.get_or_insert_with(|| LeftOut {
                    count: 0,
                    level,
                    message: message.to_owned(),
                });
                left.count += 1;
                return Verdict::LeaveOut;
            }
            if place.second != second {
                (place.second, place.lines) = (second, 0);
            }
            place.lines += 1;
            // Its own word comes first.
            if let Some(left) = place.left.take() {
                return Verdict::Log { left_out: vec![left] };
            }
        }
        let over = places.values_mut().filter(|place| place.second != second);
        Verdict::Log { left_out: over.filter_map(|place| place.left.take()).collect() }
    }
}
