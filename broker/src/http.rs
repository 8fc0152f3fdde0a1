//! The HTTP API of nsqd: the route table, `/ping` and `/info`. Handlers are in `http/`, by concern.

mod config;
mod gate;
mod manage;
mod probes;
mod publish;
mod stats;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware::from_fn_with_state;
use axum::response::Response;
use axum::routing::{get, post, put};
use daemon::access::Kind;
use daemon::http::{debug, error, json, plain, pong};
use protocol::{ChannelName, TopicName};
use serde::Serialize;

use crate::broker::{Broker, OpenError};
use crate::options::Options;

/// What handlers are given.
#[derive(Debug, Clone)]
pub(crate) struct Api {
    broker: Arc<Broker>,
    addresses: Addresses,
}

/// Where the broker really listens.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Addresses {
    /// For clients, unless it is a unix socket.
    pub tcp: Option<SocketAddr>,
    /// For HTTP, if it is on.
    pub http: Option<SocketAddr>,
}

impl Addresses {
    /// The ports for TCP and HTTP that others are told: those to broadcast, where they are set, or the real ones.
    pub(crate) fn told(self, options: &Options) -> (u16, u16) {
        let or_real = |broadcast: u16, real: Option<SocketAddr>| match broadcast {
            0 => real.map_or(0, |address| address.port()),
            broadcast => broadcast,
        };
        (or_real(options.broadcast_tcp_port, self.tcp), or_real(options.broadcast_http_port, self.http))
    }
}

/// All routes. Each stands with those of its kind, which says who may use it: a route without a kind cannot be added.
pub(crate) fn router(broker: Arc<Broker>, addresses: Addresses) -> Router {
    let requests = broker.requests.clone();
    let api = Api { broker, addresses };
    let kept =
        |kind, routes: Router<Api>| routes.route_layer(from_fn_with_state((api.clone(), kind), gate::keep));
    let routes = Router::new()
        .merge(kept(Kind::Probe, probing()))
        .merge(kept(Kind::Read, reading()))
        .merge(kept(Kind::Publish, publishing()))
        .merge(kept(Kind::Change, changing()))
        .merge(kept(Kind::Debug, debugging()))
        // Bodies have limits of their own, with NSQ's codes.
        .layer(DefaultBodyLimit::disable())
        .with_state(api.clone());
    daemon::http::finish(routes, &requests)
}

fn probing() -> Router<Api> {
    Router::new()
        .route("/ping", get(ping))
        .route("/livez", get(probes::alive))
        .route("/readyz", get(probes::ready))
        .route("/startupz", get(probes::started))
}

fn reading() -> Router<Api> {
    Router::new()
        .route("/info", get(info))
        .route("/stats", get(stats::stats))
        .route("/metrics", get(probes::scrape))
}

fn publishing() -> Router<Api> {
    Router::new().route("/pub", post(publish::publish)).route("/mpub", post(publish::multi_publish))
}

fn changing() -> Router<Api> {
    Router::new()
        .route("/topic/create", post(manage::create_topic))
        .route("/topic/delete", post(manage::delete_topic))
        .route("/topic/empty", post(manage::empty_topic))
        .route("/topic/pause", post(manage::pause_topic))
        .route("/topic/unpause", post(manage::unpause_topic))
        .route("/channel/create", post(manage::create_channel))
        .route("/channel/delete", post(manage::delete_channel))
        .route("/channel/empty", post(manage::empty_channel))
        .route("/channel/pause", post(manage::pause_channel))
        .route("/channel/unpause", post(manage::unpause_channel))
        // It shows where other daemons are, and who says who may what.
        .route("/config/{option}", get(config::read))
}

fn debugging() -> Router<Api> {
    Router::new()
        .route("/config/{option}", put(config::change))
        .route("/debug/pprof/", get(debug::index))
        .merge(debug::profiles())
        .merge(debug::knobs())
}

/// nsqd: 500 and the reason while the disk refuses writes.
async fn ping(State(api): State<Api>) -> Response {
    match api.broker.context.health.error() {
        None => pong(),
        Some(_) => plain(StatusCode::INTERNAL_SERVER_ERROR, api.broker.context.health.text()),
    }
}

/// Durations in nanoseconds; the ports are those really listened on, -1 where there is none.
#[derive(Debug, Serialize)]
struct Info<'a> {
    version: &'a str,
    broadcast_address: &'a str,
    hostname: String,
    http_port: i32,
    tcp_port: i32,
    start_time: u64,
    max_heartbeat_interval: u64,
    max_output_buffer_size: u64,
    max_output_buffer_timeout: u64,
    max_deflate_level: u8,
    topology_zone: &'a str,
    topology_region: &'a str,
}

async fn info(State(api): State<Api>) -> Response {
    let options = &api.broker.options;
    let nanos = |duration: std::time::Duration| u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
    json(&Info {
        version: daemon::version::VERSION,
        broadcast_address: &options.broadcast_address,
        hostname: daemon::host::hostname(),
        http_port: api.addresses.http.map_or(-1, |address| i32::from(address.port())),
        tcp_port: api.addresses.tcp.map_or(-1, |address| i32::from(address.port())),
        start_time: api.broker.context.clock.start_seconds(),
        max_heartbeat_interval: nanos(options.max_heartbeat_interval),
        max_output_buffer_size: options.max_output_buffer_size,
        max_output_buffer_timeout: nanos(options.max_output_buffer_timeout),
        max_deflate_level: options.max_deflate_level,
        topology_zone: &options.topology_zone,
        topology_region: &options.topology_region,
    })
}

/// What could not be made because of a limit. None: for another reason.
fn too_many(error: &OpenError) -> Option<Response> {
    match error {
        OpenError::TooMany(limit) => Some(daemon::http::error(StatusCode::SERVICE_UNAVAILABLE, limit.code())),
        OpenError::Storage(_) | OpenError::Exiting => None,
    }
}

fn bad_request(code: &str) -> Response {
    error(StatusCode::BAD_REQUEST, code)
}

fn not_found(code: &str) -> Response {
    error(StatusCode::NOT_FOUND, code)
}

/// nsqd: publish and topic endpoints say INVALID_TOPIC where channel endpoints say INVALID_ARG_TOPIC.
fn topic_name(name: &str, code: &str) -> Result<TopicName, Response> {
    TopicName::new(name).map_err(|_| bad_request(code))
}

fn channel_name(name: &str) -> Result<ChannelName, Response> {
    ChannelName::new(name).map_err(|_| bad_request("INVALID_ARG_CHANNEL"))
}
