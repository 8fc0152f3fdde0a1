//! What the tests of the whole system stand on: daemons as child processes on loopback, a peer that speaks the wire,
//! a small HTTP client, and real clients in other languages. Everything panics with a sentence when the world is not
//! as a test says, so that tests read as lists of facts. It shares no code with the daemons: an error made in both an
//! encoder and its decoder would go unseen.

mod auth_server;
mod authority;
mod binaries;
mod clients;
mod cluster;
mod collector;
pub mod corpus;
mod dialogue;
mod http;
pub mod kube;
mod link;
mod lookupd;
mod nsqd;
mod peer;
mod process;
mod waiting;

pub use auth_server::AuthServer;
pub use authority::Authority;
pub use binaries::{
    nsq_bench as nsq_bench_binary, nsq_operator as nsq_operator_binary, nsqd as nsqd_binary,
    nsqlookupd as nsqlookupd_binary, root,
};
pub use clients::prepared;
pub use clients::{Client, client, diskqueue, go_client, python_client};
pub use cluster::Cluster;
pub use collector::{Collector, Span};
pub use dialogue::Dialogue;
pub use http::{Reply, request, request_bearing, request_traced, try_request};
pub use lookupd::Lookupd;
pub use nsqd::Nsqd;
pub use peer::{Frame, Message, Peer};
pub use process::{Process, Signal};
pub use waiting::{PATIENCE, eventually, eventually_every, eventually_within};
