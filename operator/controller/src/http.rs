//! /livez, /readyz and /metrics of the operator itself.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use axum::routing::get;
use daemon::http::{Listener, plain, serve};
use daemon::metrics::{Exposition, Family, Kind};
use daemon::shutdown::Shutdown;
use tokio::sync::watch;
use tokio::task::JoinHandle;

use crate::context::Context;

/// What probes look at.
#[derive(Clone)]
pub struct Probes {
    /// With the figures.
    pub context: Arc<Context>,
    /// Kinds that were not listed yet.
    pub waiting: Arc<AtomicUsize>,
    /// Whether this process leads.
    pub leading: watch::Receiver<bool>,
}

/// Serves until shutdown.
///
/// # Errors
/// The address cannot be listened on.
pub async fn begin(address: &str, probes: Probes, shutdown: Shutdown) -> anyhow::Result<JoinHandle<()>> {
    let listener = Listener::bind(address, "http-address").await?;
    tracing::info!("HTTP: listening on {}", listener.name());
    let router = Router::new()
        .route("/livez", get(|| async { plain(StatusCode::OK, "OK".to_owned()) }))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .with_state(probes);
    Ok(tokio::spawn(async move {
        if let Err(error) = serve(listener, router, shutdown).await {
            tracing::error!(%error, "the HTTP port is closed");
        }
    }))
}

/// Ready also without leading: the other one leads.
async fn ready(State(probes): State<Probes>) -> Response {
    match probes.waiting.load(Ordering::Acquire) {
        0 if *probes.leading.borrow() => plain(StatusCode::OK, "OK: leads".to_owned()),
        0 => plain(StatusCode::OK, "OK: waits for the lease".to_owned()),
        kinds => {
            let text = format!("{kinds} kinds of objects were not listed yet");
            plain(StatusCode::SERVICE_UNAVAILABLE, text)
        }
    }
}

const LOOKS: Family = Family {
    name: "nsq_operator_reconcile",
    kind: Kind::Counter,
    labels: &["result"],
    help: "Looks at clusters, by how they ended.",
};
const SECONDS: Family = Family {
    name: "nsq_operator_reconcile_duration_seconds",
    kind: Kind::Histogram,
    labels: &[],
    help: "How long looks at clusters took.",
};
const WRITES: Family = Family {
    name: "nsq_operator_writes",
    kind: Kind::Counter,
    labels: &["what"],
    help: "Writes to the API server, leases and events aside.",
};
const UNDER_WAY: Family = Family {
    name: "nsq_operator_reconciles_in_progress",
    kind: Kind::Gauge,
    labels: &[],
    help: "Clusters that are being looked at now.",
};
const LEADS: Family = Family {
    name: "nsq_operator_leads",
    kind: Kind::Gauge,
    labels: &[],
    help: "1 while this process leads.",
};
const CLUSTERS: Family = Family {
    name: "nsq_operator_resources",
    kind: Kind::Gauge,
    labels: &["kind"],
    help: "Resources that are watched.",
};

async fn metrics(State(probes): State<Probes>, headers: HeaderMap) -> Response {
    let world = &probes.context.world;
    let mut page = Exposition::default();
    {
        let state = probes.context.metrics.state();
        let looks = page.family(&LOOKS);
        state.looks.iter().for_each(|(how, count)| looks.add(&[how], *count));
        let writes = page.family(&WRITES);
        state.writes.iter().for_each(|(what, count)| writes.add(&[what], *count));
        page.single(&SECONDS, state.took.snapshot());
        page.single(&UNDER_WAY, state.under_way);
        page.single(&LEADS, state.leads);
    }
    let kinds = page.family(&CLUSTERS);
    kinds.add(&["NsqCluster"], world.clusters.all().count());
    kinds.add(&["NsqTopic"], world.topics.all().count());
    kinds.add(&["NsqChannel"], world.channels.all().count());
    probes.context.tracer.expose(&mut page);
    page.answer(&headers)
}
