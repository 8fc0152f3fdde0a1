//! `/config/:option`: every option can be read by its key; the log level and the nsqlookupds can be changed while
//! nsqd runs. Changes are not kept over a restart, as with stock.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use daemon::http::{empty, error, json, text};
use daemon::options::Shown;
use serde_json::Value;

use super::publish::read_body;
use super::{Api, bad_request};
use crate::options::Options;
use crate::statsd;

/// The options that can be changed.
const LOG_LEVEL: &str = "log_level";
const LOOKUPDS: &str = "nsqlookupd_tcp_addresses";

pub(super) async fn read(State(api): State<Api>, Path(key): Path<String>) -> Response {
    match value(&api, &key) {
        // nsqd: what is empty has no type of content.
        Some(Shown::Text(value)) if value.is_empty() => empty(),
        Some(Shown::Text(value)) => text(value),
        Some(Shown::Json(value)) => json(&value),
        None => bad_request("INVALID_OPTION"),
    }
}

/// nsqd: the answer is the new value.
pub(super) async fn change(
    State(api): State<Api>,
    Path(key): Path<String>,
    headers: HeaderMap,
    body: Body,
) -> Result<Response, Response> {
    let (body, _room) =
        read_body(&api, &headers, body, api.broker.options.max_msg_size, "INVALID_VALUE").await?;
    if body.is_empty() {
        return Err(error(StatusCode::PAYLOAD_TOO_LARGE, "INVALID_VALUE"));
    }
    let wrong = || bad_request("INVALID_VALUE");
    match key.as_str() {
        LOG_LEVEL => {
            let level = std::str::from_utf8(&body).map_err(|_| wrong())?;
            daemon::telemetry::set_level(level).map_err(|_| wrong())?;
        }
        LOOKUPDS => {
            api.broker.lookups.follow(serde_json::from_slice(&body).map_err(|_| wrong())?);
        }
        _ => return Err(bad_request("INVALID_OPTION")),
    }
    Ok(read(State(api), Path(key)).await)
}

fn value(api: &Api, key: &str) -> Option<Shown> {
    let options = &api.broker.options;
    match key {
        LOG_LEVEL => Some(Shown::json(daemon::telemetry::level_number())),
        LOOKUPDS => Some(Shown::json(api.broker.lookups.addresses())),
        // Defaults that depend on the machine.
        "id" => Some(Shown::json(options.node_id)),
        "broadcast_address" => Some(Shown::Text(options.broadcast_address.clone())),
        "broadcast_tcp_port" => Some(Shown::json(api.addresses.told(options).0)),
        "broadcast_http_port" => Some(Shown::json(api.addresses.told(options).1)),
        // nsqd: with what stands for %s.
        "statsd_prefix" => {
            let port = api.addresses.told(options).1;
            Some(Shown::Text(statsd::prefix(&options.statsd.prefix, &options.broadcast_address, port)))
        }
        "max_defer_timeout" => Some(Shown::nanos(options.max_defer_timeout)),
        "tls_required" => Some(Shown::json(tls_required(options))),
        "tls_min_version" => Some(Shown::json(tls_version(&options.tls.min_version))),
        "e2e_processing_latency_percentiles" => {
            Some(Shown::json(quantiles(options.values.list("e2e-processing-latency-percentile"))))
        }
        _ => options.values.shown(key),
    }
}

/// Numbers as Go writes them: `1`, not `1.0`.
fn quantiles(texts: &[String]) -> Vec<Value> {
    let number = |text: &String| {
        let number: f64 = text.parse().ok()?;
        Some(if number == 1.0 { Value::from(1) } else { Value::from(number) })
    };
    texts.iter().filter_map(number).collect()
}

/// nsqd: shows these two as the numbers it knows them by.
fn tls_required(options: &Options) -> u64 {
    let has_policy = !options.tls.client_auth_policy.is_empty();
    match options.tls.required.as_str() {
        "tcp-https" => 1,
        "true" => 2,
        _ if has_policy => 2,
        _ => 0,
    }
}

/// The number of a version in TLS itself.
fn tls_version(name: &str) -> u64 {
    if name == "tls1.3" { 0x0304 } else { 0x0303 }
}
