//! `/metrics` of nsqd: a page made from a picture of the broker, so that counting costs the message path an addition
//! at most. What is said of topics and channels, and the limit on how many of them are shown, is in `metrics/topics`.

mod age;
mod topics;

use daemon::metrics::{Exposition, Family, Kind, process};

use crate::broker::Broker;

const HEALTHY: Family = gauge("nsq_healthy", "1, or 0 while the disk refuses writes, as /ping tells");
const CONNECTIONS: Family = gauge_by(
    "nsq_connections",
    &["kind"],
    "client connections by what they do: consumer, producer, both or idle",
);
const OPENED: Family = counter("nsq_connections_opened", "client connections that were accepted");
const REFUSED: Family = counter("nsq_connections_refused", "client connections there was no place for");
const COMMANDS: Family = counter_by("nsq_commands", &["command"], "commands of clients by name");
const ERRORS: Family = counter_by("nsq_client_errors", &["code"], "errors that clients were sent, by code");
const SYNC: Family = histogram("nsq_storage_fsync_seconds", "time that syncs of files to the disk took");
const WRITE: Family = histogram("nsq_storage_write_seconds", "time that writes of batches of messages took");
const CORRUPT: Family =
    counter("nsq_storage_corrupt_records", "messages given up because their records are damaged or missing");
const RECOVERED: Family =
    gauge("nsq_storage_recovered_messages", "messages found on disk at the start, finished ones among them");
const VOLUME_FREE: Family =
    gauge("nsq_volume_free_bytes", "room on the file system of the data, as it was a moment ago");
const VOLUME_SIZE: Family = gauge("nsq_volume_size_bytes", "size of that file system");
const MEMORY: Family = gauge_by(
    "nsq_memory_queue_bytes",
    &["kind"],
    "memory that messages take: cache (can be read again), ephemeral, unsent (what clients have not taken)",
);
const MEMORY_LIMIT: Family = gauge("nsq_memory_limit_bytes", "what --memory-limit comes to");
const PRESSED: Family =
    counter("nsq_backpressure_seconds", "time in which publishers had to wait because memory was short");
const PEER: Family =
    gauge_by("nsq_lookupd_peer_up", &["lookupd"], "1 if this nsqlookupd has our registrations, else 0");
const DROPPED: Family = gauge(
    "nsq_metrics_series_dropped",
    "series that were added up as __other__ because of --metrics-max-series",
);

/// The page as it is now. Files are looked at: not for a thread that serves others.
pub(crate) fn page(broker: &Broker) -> Exposition {
    let mut page = Exposition::default();
    process::expose(&mut page, broker.context.clock.start_seconds());
    page.single(&HEALTHY, broker.context.health.error().is_none());
    expose_clients(&mut page, broker);
    expose_storage(&mut page, broker);
    let peers = page.family(&PEER);
    for (address, is_up) in broker.lookups.peers() {
        peers.add(&[&address], is_up);
    }
    broker.requests.expose(&mut page);
    broker.context.traces.expose(&mut page);
    let dropped = topics::expose(&mut page, broker);
    page.single(&DROPPED, dropped);
    page
}

fn expose_clients(page: &mut Exposition, broker: &Broker) {
    let kinds = page.family(&CONNECTIONS);
    for (kind, count) in broker.clients.kinds() {
        kinds.add(&[kind], count);
    }
    page.single(&OPENED, broker.connections_opened());
    page.single(&REFUSED, broker.admission.refused());
    let commands = page.family(&COMMANDS);
    for (name, count) in broker.context.figures.commands() {
        commands.add(&[name], count);
    }
    let errors = page.family(&ERRORS);
    for (code, count) in broker.context.figures.errors() {
        errors.add(&[code], count);
    }
}

fn expose_storage(page: &mut Exposition, broker: &Broker) {
    let context = &broker.context;
    page.single(&SYNC, context.figures.syncs.snapshot());
    page.single(&WRITE, context.figures.writes.snapshot());
    page.single(&CORRUPT, context.figures.corrupt.total());
    page.single(&RECOVERED, context.figures.recovered.total());
    let (free, size) = context.space.volume();
    page.single(&VOLUME_FREE, free);
    page.single(&VOLUME_SIZE, size);
    let held = context.memory.held();
    let memory = page.family(&MEMORY);
    memory.add(&["cache"], held.caches);
    memory.add(&["ephemeral"], held.ephemeral);
    memory.add(&["unsent"], held.unsent);
    page.single(&MEMORY_LIMIT, context.memory.limit());
    page.single(&PRESSED, context.figures.pressed_ns.total() as f64 / 1e9);
}

const fn gauge(name: &'static str, help: &'static str) -> Family {
    gauge_by(name, &[], help)
}

const fn gauge_by(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels, help }
}

const fn counter(name: &'static str, help: &'static str) -> Family {
    counter_by(name, &[], help)
}

const fn counter_by(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Counter, labels, help }
}

const fn histogram(name: &'static str, help: &'static str) -> Family {
    Family { name, kind: Kind::Histogram, labels: &[], help }
}
