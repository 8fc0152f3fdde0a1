//! The list of works: each a name, what it does, and the figures it is made with.

use anyhow::Result;

use super::consume::Between;
use super::layers::Layer;
use super::options::Options;
use super::report::Sample;
use super::target::Target;
use super::{consume, idle, latency, publish};

/// A work an nsqd is given.
#[derive(Debug, Clone, Copy)]
pub(super) struct Workload {
    /// For the command line and the report.
    pub name: &'static str,
    /// Which point it is of a series that grows.
    pub at: Option<u64>,
    /// One line for `--list-workloads`.
    pub about: &'static str,
    /// Flags nsqd is started with for it.
    pub flags: &'static [&'static str],
    /// Flags it is started with if it has them.
    pub flags_if_known: &'static [&'static str],
    /// What its connections ask for.
    pub layer: Layer,
    /// It stops and starts nsqd.
    pub restarts: bool,
    kind: Kind,
}

#[derive(Debug, Clone, Copy)]
enum Kind {
    Publish(publish::Publish),
    Backlog { size: usize, between: Between },
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
    publishing("mpub-100B", "MPUB of 200 x 100 B on 2 connections, 4 unanswered each", 2, 4, SMALL, 1),
    publishing("mpub-1KiB", "MPUB of 20 x 1 KiB on 2 connections, 4 unanswered each", 2, 4, LARGE, 1),
    publishing(
        "mpub-100B-sync",
        "MPUB of 200 x 100 B on 2 connections, each waits for its OK",
        2,
        1,
        SMALL,
        1,
    ),
    publishing(
        "mpub-1KiB-sync",
        "MPUB of 20 x 1 KiB on 2 connections, each waits for its OK",
        2,
        1,
        LARGE,
        1,
    ),
    Workload { layer: Layer::Tls, ..publishing("mpub-100B-tls", "mpub-100B with TLS", 2, 4, SMALL, 1) },
    Workload {
        layer: Layer::Snappy,
        ..publishing("mpub-100B-snappy", "mpub-100B with snappy", 2, 4, SMALL, 1)
    },
    Workload {
        layer: Layer::Deflate,
        ..publishing("mpub-100B-deflate", "mpub-100B with deflate at level 6", 2, 4, SMALL, 1)
    },
    Workload {
        flags: FSYNC,
        ..publishing("fsync-16", "PUB of 100 B on 16 connections, synced before OK", 16, 1, (1, 100), 1)
    },
    Workload {
        flags: FSYNC,
        ..publishing("fsync-64", "PUB of 100 B on 64 connections, synced before OK", 64, 1, (1, 100), 1)
    },
    work(
        "backlog",
        "SUB and FIN of a backlog of 100 B messages just published: from memory and the page cache",
        Kind::Backlog { size: 100, between: Between::Nothing },
    ),
    Workload {
        restarts: true,
        ..work(
            "backlog-restart",
            "the same after a restart of nsqd: from the page cache",
            Kind::Backlog { size: 100, between: Between::Restart },
        )
    },
    Workload {
        restarts: true,
        ..work(
            "backlog-disk",
            "the same after a restart with nothing of it in the page cache: from the disk",
            Kind::Backlog { size: 100, between: Between::RestartWithoutCache },
        )
    },
    streaming(
        "stream-pub",
        "PUB on 16 connections, each waits for its OK; 1 consumer FINs",
        (16, 1),
        (1, 100),
        1,
    ),
    streaming("stream-mpub", "MPUB of 200 x 100 B, 4 unanswered; 1 consumer FINs", AHEAD, SMALL, 1),
    streaming(
        "stream-4-channels",
        "the same to 4 channels with a consumer each, per delivery",
        AHEAD,
        SMALL,
        4,
    ),
    streaming(
        "stream-8-channels",
        "the same to 8 channels with a consumer each, per delivery",
        AHEAD,
        SMALL,
        8,
    ),
    streaming("stream-1KiB", "MPUB of 20 x 1 KiB, 4 unanswered; 1 consumer FINs", AHEAD, LARGE, 1),
    Workload {
        layer: Layer::Tls,
        ..streaming("stream-mpub-tls", "stream-mpub with TLS, publisher and consumer", AHEAD, SMALL, 1)
    },
    Workload {
        layer: Layer::Snappy,
        ..streaming("stream-mpub-snappy", "stream-mpub with snappy, publisher and consumer", AHEAD, SMALL, 1)
    },
    Workload {
        layer: Layer::Deflate,
        ..streaming(
            "stream-mpub-deflate",
            "stream-mpub with deflate, publisher and consumer",
            AHEAD,
            SMALL,
            1,
        )
    },
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

/// One publisher with 4 commands unanswered.
const AHEAD: (usize, usize) = (1, 4);

/// What stock nsqd has, and ours takes for `--durability=fsync`: a sync for each message, of a queue that is on disk.
const FSYNC: &[&str] = &["--sync-every=1", "--mem-queue-size=0"];
/// Otherwise what is made beyond the first 1,000 is made at the pace that is allowed.
const NO_PACE: &[&str] = &["--max-creation-rate=0"];

const fn work(name: &'static str, about: &'static str, kind: Kind) -> Workload {
    Workload {
        name,
        at: None,
        about,
        flags: &[],
        flags_if_known: &[],
        layer: Layer::Plain,
        restarts: false,
        kind,
    }
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
    (publishers, unanswered): (usize, usize),
    (batch, size): (usize, usize),
    channels: usize,
) -> Workload {
    work(name, about, Kind::Stream(consume::Stream { publishers, unanswered, batch, size, channels }))
}

/// A point of a series: PUB with so many connections and commands unanswered, of so many bytes, to so many topics.
pub(super) fn growing_publish(
    name: &'static str,
    at: u64,
    (connections, unanswered): (u64, usize),
    size: u64,
    topics: u64,
) -> Workload {
    let whole = |number: u64| usize::try_from(number).unwrap_or(usize::MAX);
    let batch = (1, whole(size));
    Workload { at: Some(at), ..publishing(name, "", whole(connections), unanswered, batch, whole(topics)) }
}

/// A point of a series: `stream-mpub` to `channels`.
pub(super) fn growing_stream(name: &'static str, channels: u64) -> Workload {
    let count = usize::try_from(channels).unwrap_or(usize::MAX);
    Workload { at: Some(channels), ..streaming(name, "", AHEAD, SMALL, count) }
}

/// A point of a series: `backlog` of so many messages.
pub(super) fn growing_backlog(name: &'static str, messages: u64) -> Workload {
    let backlog = Kind::Backlog { size: 100, between: Between::Nothing };
    Workload { at: Some(messages), ..work(name, "", backlog) }
}

impl Workload {
    /// Can it be done with a server that only takes what is published, and never looks at a layer or a level?
    pub(super) fn has_floor(&self) -> bool {
        matches!(self.kind, Kind::Publish(_)) && self.layer == Layer::Plain && self.flags.is_empty()
    }

    /// Do it, and measure.
    pub(super) async fn run(&self, options: &Options, target: &mut Target) -> Result<Sample> {
        match self.kind {
            Kind::Publish(publish) => publish.run(target, options.seconds).await,
            Kind::Backlog { size, between } => {
                consume::backlog(target, self.at.unwrap_or(options.backlog), size, between).await
            }
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
