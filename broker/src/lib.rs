//! nsqd. Start reading at `session.rs`, where a connection's commands come in, or at `topic.rs`, where its
//! messages go; `shard.rs` explains how connections share a thread. The rules of topics and channels are in
//! crate `queue`, the files in crate `storage`; this crate is the only one that knows both.

mod admission;
mod auth;
mod backlog;
mod blocking;
mod broker;
mod channel;
mod client;
mod clients;
mod clock;
mod context;
mod control;
mod creation;
mod durability;
mod encryption;
mod fence;
mod figures;
mod guards;
mod http;
mod journals;
mod latency;
mod listener;
mod lookup;
mod memory;
mod metrics;
mod options;
mod outbox;
mod receipt;
mod reclaim;
mod record;
mod serve;
mod session;
mod shard;
mod socket;
mod space;
mod stats;
mod statsd;
mod stock;
mod sync;
mod timers;
mod topic;
mod traces;
mod web;

pub use serve::main_with_args;
