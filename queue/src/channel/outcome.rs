//! What a channel answers to its events, and why it refuses some.

use std::fmt;

use crate::consumer::ConsumerId;
use crate::time::{Instant, WallTime};

/// Why a subscription was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SubscribeError {
    /// The channel has as many consumers as it may: this many.
    LimitReached(usize),
    /// This id is subscribed already; the shell must choose another.
    Duplicate(ConsumerId),
}

/// Why FIN, REQ or TOUCH failed. The session goes on. Displayed in Go nsqd's words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum InFlightError {
    /// Never delivered, finished, timed out, or the channel was emptied.
    NotInFlight,
    /// Delivered to another consumer.
    NotOwner,
}

/// What a consumer left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Left {
    /// Messages it had in flight; they are ready again.
    pub requeued: u64,
    /// Nobody else is subscribed: an ephemeral channel is to be deleted.
    pub is_last: bool,
}

/// What an `expire` did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Expired {
    /// Messages in flight for too long; they are ready again.
    pub timed_out: u64,
    /// Deferred messages whose time has come. Those far away until now, whose records must be read first, are not
    /// counted: the next dispatch finds out how many they are.
    pub due: u64,
}

/// When to call `expire` next, on each of the two clocks. May be early, is never late.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Deadlines {
    /// The first timeout of a message in flight.
    pub in_flight: Option<Instant>,
    /// The first due time of a deferred message.
    pub deferred: Option<WallTime>,
}

impl fmt::Display for SubscribeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::LimitReached(limit) => write!(f, "the channel has all the {limit} consumers it may have"),
            Self::Duplicate(id) => write!(f, "consumer {} is subscribed already", id.0),
        }
    }
}

impl std::error::Error for SubscribeError {}

impl fmt::Display for InFlightError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotInFlight => "ID not in flight",
            Self::NotOwner => "client does not own message",
        })
    }
}

impl std::error::Error for InFlightError {}
