//! `/config/:option`: every option can be read by its key; the log level and the nsqlookupds can be changed while
//! nsqd runs. Changes are not kept over a restart, as with stock.

use axum::body::Body;
use axum::extract::{Path, State};
use axum::http::{HeaderMap, StatusCode};
use axum::response::Response;
use daemon::http::{error, text};
use daemon::options::{Kind, Opt, Values};

use super::publish::read_body;
use super::{Api, bad_request};
use crate::options::TABLE;

/// The options that can be changed.
const LOG_LEVEL: &str = "log_level";
const LOOKUPDS: &str = "nsqlookupd_tcp_addresses";

pub(super) async fn read(State(api): State<Api>, Path(key): Path<String>) -> Response {
    match value(&api, &key) {
        Some(value) => text(value),
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
    let body = read_body(&headers, body, api.broker.options.max_msg_size, "INVALID_VALUE").await?;
    if body.is_empty() {
        return Err(error(StatusCode::PAYLOAD_TOO_LARGE, "INVALID_VALUE"));
    }
    let wrong = || bad_request("INVALID_VALUE");
    match key.as_str() {
        LOG_LEVEL => {
            let level = std::str::from_utf8(&body).map_err(|_| wrong())?;
            daemon::telemetry::set_level(level).map_err(|_| wrong())?;
            api.broker.set_log_level(level);
        }
        LOOKUPDS => {
            api.broker.lookups.follow(serde_json::from_slice(&body).map_err(|_| wrong())?);
        }
        _ => return Err(bad_request("INVALID_OPTION")),
    }
    Ok(read(State(api), Path(key)).await)
}

fn value(api: &Api, key: &str) -> Option<String> {
    match key {
        LOG_LEVEL => Some(level_number(&api.broker.log_level()).to_string()),
        LOOKUPDS => Some(json(&api.broker.lookups.addresses())),
        _ => {
            TABLE.iter().find(|row| key_of(row) == key).map(|row| row_value(row, &api.broker.options.values))
        }
    }
}

/// nsqd: the flag with underscores, but for two that are named otherwise.
fn key_of(row: &Opt) -> String {
    match row.name {
        "node-id" => "id".to_owned(),
        "lookupd-tcp-address" => LOOKUPDS.to_owned(),
        name => name.replace('-', "_"),
    }
}

/// nsqd: texts as they are, everything else as JSON; durations in nanoseconds.
fn row_value(row: &Opt, values: &Values) -> String {
    match row.kind {
        Kind::Text | Kind::Choice(_) => values.text(row.name).to_owned(),
        Kind::Int => values.int(row.name).to_string(),
        Kind::Bool => values.is_on(row.name).to_string(),
        Kind::Duration => values.duration(row.name).as_nanos().to_string(),
        Kind::List => json(&values.list(row.name)),
    }
}

fn json(value: &impl serde::Serialize) -> String {
    serde_json::to_string(value).unwrap_or_default()
}

/// nsqd: debug 1, info 2, warn 3, error 4, fatal 5.
fn level_number(level: &str) -> u8 {
    match level.to_ascii_lowercase().as_str() {
        "debug" => 1,
        "warn" => 3,
        "error" => 4,
        "fatal" => 5,
        _ => 2,
    }
}
