//! The list of works: each a name, what it does, and the figures it is made with.

use anyhow::Result;

use super::options::Options;
use super::report::Sample;
use super::target::Target;
use super::{consume, idle, latency, publish};

/// A work an nsqd is given.
#[derive(Debug)]
pub(super) struct Workload {
    /// For the command line and the report.
    pub name: &'static str,
    /// One line for `--list-workloads`.
    pub about: &'static str,
    /// Flags nsqd is started with for it.
    pub flags: &'static [&'static str],
    /// Flags it is started with if it has them.
    pub flags_if_known: &'static [&'static str],
    /// It stops and starts nsqd.
    pub restarts: bool,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Publish(publish::Publish),
    Backlog { size: usize },
    Stream(consume::Stream),
    Latency { rate: u32 },
    Idle(idle::What),
}

/// 200 messages of 100 bytes, and 20 of 1 KiB: about 20 kB each, as clients that batch send them.
const SMALL: (usize, usize) = (200, 100);
const LARGE: (usize, usize) = (20, 1024);

/// All works, in the order of the report.
pub(super) const ALL: &[Workload] = &[
    publishing("pub-16", "PUB of 100 B on 16 connections, each waits for its OK", 16, 1, (1, 100), 1),
    publishing("pub-200", "PUB of 100 B on 200 connections, each waits for its OK", 200, 1, (1, 100), 1),
    publishing("pub-pipelined", "PUB of 100 B on 1 connection, 256 unanswered", 1, 256, (1, 100), 1),
    publishing(
        "pub-1000-topics",
        "PUB of 100 B on 16 connections, to 1,000 topics in turn",
        16,
        1,
        (1, 100),
        1000,
    ),
    publishing("mpub-100B", "MPUB of 200 x 100 B on 2 connections", 2, 1, SMALL, 1),
    publishing("mpub-1KiB", "MPUB of 20 x 1 KiB on 2 connections", 2, 1, LARGE, 1),
    Workload {
        flags: FSYNC,
        ..publishing("fsync-16", "PUB of 100 B on 16 connections, synced before OK", 16, 1, (1, 100), 1)
    },
    Workload {
        flags: FSYNC,
        ..publishing("fsync-64", "PUB of 100 B on 64 connections, synced before OK", 64, 1, (1, 100), 1)
    },
    work("backlog", "SUB and FIN of a backlog of 100 B messages just published", Kind::Backlog { size: 100 }),
    Workload {
        restarts: true,
        ..work("backlog-restart", "the same after a restart of nsqd", Kind::Backlog { size: 100 })
    },
    streaming("stream-pub", "PUB on 16 connections to one consumer that FINs", 16, (1, 100), 1),
    streaming("stream-mpub", "MPUB of 200 x 100 B to one consumer that FINs", 1, SMALL, 1),
    streaming("stream-4-channels", "MPUB of 200 x 100 B, 4 channels with a consumer each", 1, SMALL, 4),
    streaming("stream-8-channels", "MPUB of 200 x 100 B, 8 channels with a consumer each", 1, SMALL, 8),
    streaming("stream-1KiB", "MPUB of 20 x 1 KiB to one consumer that FINs", 1, LARGE, 1),
    work("latency", "publish to delivery at 1,000 messages per second", Kind::Latency { rate: 1000 }),
    work("idle-connections", "memory per connection that does nothing", Kind::Idle(idle::What::Connections)),
    Workload {
        flags_if_known: NO_PACE,
        ..work("idle-topics", "time to make a topic, memory per topic", Kind::Idle(idle::What::Topics))
    },
    Workload {
        flags_if_known: NO_PACE,
        ..work(
            "idle-channels",
            "time to make a channel, memory per channel",
            Kind::Idle(idle::What::Channels),
        )
    },
];

const FSYNC: &[&str] = &["--durability=fsync"];
/// Otherwise what is made beyond the first 1,000 is made at the pace that is allowed.
const NO_PACE: &[&str] = &["--max-creation-rate=0"];

const fn work(name: &'static str, about: &'static str, kind: Kind) -> Workload {
    Workload { name, about, flags: &[], flags_if_known: &[], restarts: false, kind }
}

const fn publishing(
    name: &'static str,
    about: &'static str,
    connections: usize,
    unanswered: usize,
    (batch, size): (usize, usize),
    topics: usize,
) -> Workload {
    let publish = publish::Publish { connections, unanswered, batch, size, topics };
    work(name, about, Kind::Publish(publish))
}

const fn streaming(
    name: &'static str,
    about: &'static str,
    publishers: usize,
    (batch, size): (usize, usize),
    channels: usize,
) -> Workload {
    work(name, about, Kind::Stream(consume::Stream { publishers, batch, size, channels }))
}

impl Workload {
    /// Do it, and measure.
    pub(super) async fn run(&self, options: &Options, target: &mut Target) -> Result<Sample> {
        match self.kind {
            Kind::Publish(publish) => publish.run(target, options.seconds).await,
            Kind::Backlog { size } => consume::backlog(target, options, size, self.restarts).await,
            Kind::Stream(stream) => stream.run(target, options.seconds).await,
            Kind::Latency { rate } => latency::run(target, options.seconds, rate).await,
            Kind::Idle(what) => idle::run(target, options.idle, what).await,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::ALL;

    #[test]
    fn no_two_works_have_one_name() {
        let names: BTreeSet<_> = ALL.iter().map(|workload| workload.name).collect();
        assert_eq!(names.len(), ALL.len());
    }
}
