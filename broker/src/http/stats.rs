//! `/stats`: the arguments, and which of the two forms is asked for.

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::Response;
use daemon::http::{Args, json, text};

use super::Api;
use crate::stats::{Asked, gather, text as as_text};

pub(super) async fn stats(State(api): State<Api>, args: Args) -> Response {
    let asked = Asked {
        topic: args.optional("topic").filter(|name| !name.is_empty()),
        channel: args.optional("channel").filter(|name| !name.is_empty()),
        with_clients: is_on(args.optional("include_clients")),
        with_memory: is_on(args.optional("include_mem")),
    };
    let stats = gather(&api.broker, &asked);
    if args.optional("format") == Some("json") {
        return json(&stats);
    }
    let mut answer = text(as_text::render(&stats, api.broker.context.clock));
    *answer.status_mut() = StatusCode::OK;
    answer
}

/// nsqd: true, 1, false and 0 are understood; anything else counts as true.
fn is_on(value: Option<&str>) -> bool {
    !matches!(value, Some("false" | "0"))
}
