//! The rules of topics and channels as a value: events in, deliveries out.
//!
//! Messages are known by position only; their bytes stay in the topic's log, which this crate does not know. Every
//! event is a method of [`Topic`] or [`Channel`]; effects are asked for with [`Channel::dispatch`],
//! [`Channel::next_deadline`] and [`Channel::progress`]. No method blocks, logs or reads a clock: time is an
//! argument, and the same events with the same instants have the same effects.

mod backlog;
mod channel;
mod consumer;
mod deferred;
mod in_flight;
mod locality;
mod position;
mod progress;
mod ready_set;
mod restored;
mod time;
mod topic;
mod window;

#[cfg(test)]
mod model;
#[cfg(test)]
mod script;

pub use channel::dispatch::{Dispatched, Fetched, Outlet, Room};
pub use channel::outcome::{Deadlines, Expired, InFlightError, Left, SubscribeError};
pub use channel::{Channel, ChannelRules};
pub use consumer::{ConsumerCounts, ConsumerId, Subscription, Weight};
pub use locality::{Locality, LocalityCounts};
pub use position::Position;
pub use progress::{Pending, Progress, Saved};
pub use time::{Age, Instant, Now, WallTime};
pub use topic::{Removed, SavedTopic, Topic};
