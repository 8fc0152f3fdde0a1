//! The smallest cluster worth the name: one nsqlookupd and two nsqds that registered with it.

use crate::http::list;
use crate::lookupd::Lookupd;
use crate::nsqd::Nsqd;
use crate::waiting::eventually;

/// One nsqlookupd, two nsqds.
#[derive(Debug)]
pub struct Cluster {
    /// The one both know.
    pub lookupd: Lookupd,
    /// Two of them.
    pub nsqds: Vec<Nsqd>,
}

impl Cluster {
    /// Start all three; returns when both nsqds are in nsqlookupd's /nodes.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// Likewise, with these flags of the nsqds too.
    #[track_caller]
    pub fn with(flags: &[String]) -> Self {
        let lookupd = Lookupd::start();
        let lookup = format!("--lookupd-tcp-address={}", lookupd.tcp());
        let mut all: Vec<&str> = flags.iter().map(String::as_str).collect();
        all.push(&lookup);
        let nsqds: Vec<Nsqd> = (0..2).map(|_| Nsqd::with(&all)).collect();
        eventually("both nsqds are registered", || {
            let nodes = lookupd.get("/nodes").ok().json();
            list(&nodes, "producers").len() == nsqds.len()
        });
        Self { lookupd, nsqds }
    }
}
