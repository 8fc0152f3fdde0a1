//! `/metrics` of nsqlookupd.

use daemon::metrics::{Exposition, Family, Kind, process};

use crate::state::State;

const PRODUCERS: Family = gauge(
    "nsqlookupd_producers",
    &["state"],
    "brokers that are registered: active, or inactive for want of pings",
);
const TOPICS: Family = gauge("nsqlookupd_topics", &[], "topics that are known, with and without a broker");
const CHANNELS: Family = gauge("nsqlookupd_channels", &[], "channels that are known");
const TOMBSTONES: Family =
    gauge("nsqlookupd_tombstones", &[], "tombstones that hide a broker from those who ask for a topic");
const LOOKUPS: Family = Family {
    name: "nsqlookupd_lookups",
    kind: Kind::Counter,
    labels: &["result"],
    help: "questions where a topic is: found, or not_found because nobody has it",
};

/// The page as it is now.
pub(crate) fn page(state: &State) -> Exposition {
    let mut page = Exposition::default();
    process::expose(&mut page, state.started_at().as_secs());
    let totals = state.registry().totals(state.now());
    let producers = page.family(&PRODUCERS);
    producers.add(&["active"], totals.active);
    producers.add(&["inactive"], totals.producers - totals.active);
    page.single(&TOPICS, totals.topics);
    page.single(&CHANNELS, totals.channels);
    page.single(&TOMBSTONES, totals.tombstones);
    let (found, missed) = state.lookups();
    let lookups = page.family(&LOOKUPS);
    lookups.add(&["found"], found);
    lookups.add(&["not_found"], missed);
    state.requests.expose(&mut page);
    page
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Family {
    Family { name, kind: Kind::Gauge, labels, help }
}
