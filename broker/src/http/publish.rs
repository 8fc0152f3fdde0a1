//! `/pub` and `/mpub`. The order of checks is nsqd's: size, body, topic, which is made here, then `defer`.

use std::sync::Arc;
use std::time::{Duration, Instant};

use axum::body::Body;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::Response;
use bytes::{Buf as _, Bytes};
use daemon::http::{Args, error, ok_text};
use daemon::traces::{Span, traceparent};
use http_body_util::BodyExt as _;
use protocol::TopicName;
use queue::WallTime;
use tokio::sync::OwnedSemaphorePermit;

use super::{Api, bad_request, too_many, topic_name};
use crate::topic::Topic;

/// The count of a binary `/mpub`, and the length before each of its messages.
const LENGTH_BYTES: usize = 4;

pub(super) async fn publish(
    State(api): State<Api>,
    headers: HeaderMap,
    args: Args,
    body: Body,
) -> Result<Response, Response> {
    let mut span = begin(&api, &headers, &args);
    let answer = publish_one(&api, &headers, &args, body, span.as_mut()).await;
    end(span, answer)
}

async fn publish_one(
    api: &Api,
    headers: &HeaderMap,
    args: &Args,
    body: Body,
    span: Option<&mut Span>,
) -> Result<Response, Response> {
    refuse_if_draining(api)?;
    let (body, _room) = read_body(api, headers, body, api.broker.options.max_msg_size, "MSG_TOO_BIG").await?;
    if body.is_empty() {
        return Err(bad_request("MSG_EMPTY"));
    }
    let topic = open_topic(api, args).await?;
    let due = due(api, args)?;
    store(&topic, &[body], due, span).await
}

pub(super) async fn multi_publish(
    State(api): State<Api>,
    headers: HeaderMap,
    args: Args,
    body: Body,
) -> Result<Response, Response> {
    let mut span = begin(&api, &headers, &args);
    let answer = publish_many(&api, &headers, &args, body, span.as_mut()).await;
    end(span, answer)
}

async fn publish_many(
    api: &Api,
    headers: &HeaderMap,
    args: &Args,
    body: Body,
    span: Option<&mut Span>,
) -> Result<Response, Response> {
    refuse_if_draining(api)?;
    let options = &api.broker.options;
    if announced(headers).is_some_and(|bytes| bytes > options.max_body_size as u64) {
        return Err(too_big("BODY_TOO_BIG"));
    }
    let topic = open_topic(api, args).await?;
    let due = due(api, args)?;
    let (body, _room) = read_body(api, headers, body, options.max_body_size, "BODY_TOO_BIG").await?;
    let messages = if is_binary(args) {
        split_binary(body, options.max_msg_size, options.max_body_size)?
    } else {
        split_lines(&body, options.max_msg_size)?
    };
    store(&topic, &messages, due, span).await
}

/// What is published under a name that no topic can have is in no trace.
fn begin(api: &Api, headers: &HeaderMap, args: &Args) -> Option<Span> {
    let traces = &api.broker.context.traces;
    if !traces.is_on() {
        return None;
    }
    let topic = TopicName::new(args.optional("topic")?).ok()?;
    traces.publish(topic.as_str(), traceparent(headers))
}

fn end(span: Option<Span>, answer: Result<Response, Response>) -> Result<Response, Response> {
    if let (Some(mut span), Err(refusal)) = (span, &answer) {
        span.fail(format_args!("answered {}", refusal.status()));
    }
    answer
}

/// Append, commit and hand out, all on this thread: HTTP publishers are not on a shard.
async fn store(
    topic: &Arc<Topic>,
    messages: &[Bytes],
    due: Option<WallTime>,
    span: Option<&mut Span>,
) -> Result<Response, Response> {
    if messages.is_empty() {
        return Ok(ok_text());
    }
    let exiting = || error(StatusCode::SERVICE_UNAVAILABLE, "EXITING");
    let now = topic.context.clock.now();
    let appended = topic.append(messages.iter().map(|message| &**message), due, now, span);
    // The fence may have been raised while the body came.
    let refused = |_| if topic.context.fence.is_up() { draining() } else { exiting() };
    let receipt = appended.map_err(refused)?;
    topic.commit(now);
    receipt.settled().await.map(|()| ok_text()).map_err(|_| exiting())
}

/// Before a topic is made for it.
fn refuse_if_draining(api: &Api) -> Result<(), Response> {
    if api.broker.context.fence.is_up() { Err(draining()) } else { Ok(()) }
}

/// This broker will not take it later either; behind the same address there may be others that do.
fn draining() -> Response {
    let mut response = error(StatusCode::SERVICE_UNAVAILABLE, "DRAINING");
    response.headers_mut().insert(header::RETRY_AFTER, header::HeaderValue::from_static("5"));
    response
}

async fn open_topic(api: &Api, args: &Args) -> Result<Arc<Topic>, Response> {
    let name = topic_name(args.required("topic")?, "INVALID_TOPIC")?;
    let exiting = || error(StatusCode::SERVICE_UNAVAILABLE, "EXITING");
    api.broker.open_topic(&name).await.map_err(|error| too_many(&error).unwrap_or_else(exiting))
}

/// `defer` is milliseconds, 0 to the longest DPUB may ask for.
fn due(api: &Api, args: &Args) -> Result<Option<WallTime>, Response> {
    let Some(defer) = args.optional("defer") else { return Ok(None) };
    let delay = defer.parse().ok().map(Duration::from_millis);
    let delay = delay
        .filter(|delay| *delay <= api.broker.options.max_defer_timeout)
        .ok_or_else(|| bad_request("INVALID_DEFER"))?;
    let wall = api.broker.context.clock.wall_ns();
    let due = wall.saturating_add(i64::try_from(delay.as_nanos()).unwrap_or(i64::MAX));
    Ok((!delay.is_zero()).then_some(WallTime(due)))
}

/// What a body may be without asking for room in memory.
const SMALL_BODY_BYTES: usize = 64 * 1024;

/// A body must grow by [`PACE_BYTES`] in each of these, or be whole: as commands over TCP must.
const PACE_WITHIN: Duration = Duration::from_secs(10);
const PACE_BYTES: usize = 10 * 1024;

/// Read a body. nsqd: one that announces too much is refused unread, and one that turns out too long is refused then.
/// What is more than a small body waits until memory has room for all of it; the room is held as long as what comes
/// beside the body.
pub(super) async fn read_body(
    api: &Api,
    headers: &HeaderMap,
    mut body: Body,
    max: usize,
    code: &str,
) -> Result<(Bytes, Option<OwnedSemaphorePermit>), Response> {
    if announced(headers).is_some_and(|bytes| bytes > max as u64) {
        return Err(too_big(code));
    }
    // One that does not announce its length may come to the most there can be.
    let whole = announced(headers).and_then(|bytes| usize::try_from(bytes).ok()).unwrap_or(max);
    let (mut parts, mut length, mut room) = (Vec::new(), 0, None);
    let (mut since, mut length_then) = (Instant::now(), 0);
    while let Some(part) = next_part(&mut body).await? {
        length += part.len();
        if length > max {
            return Err(too_big(code));
        }
        parts.push(part);
        if since.elapsed() >= PACE_WITHIN {
            if length - length_then < PACE_BYTES {
                return Err(too_slow());
            }
            (since, length_then) = (Instant::now(), length);
        }
        // Room is for who has begun to send, not for who announces: nothing would be left for others.
        if room.is_none() && length > SMALL_BODY_BYTES {
            room = api.broker.context.memory.room_for(whole).await;
            (since, length_then) = (Instant::now(), length);
        }
    }
    Ok((joined(parts), room))
}

async fn next_part(body: &mut Body) -> Result<Option<Bytes>, Response> {
    loop {
        let frame = tokio::time::timeout(PACE_WITHIN, body.frame()).await.map_err(|_| too_slow())?;
        match frame {
            None => return Ok(None),
            Some(Err(_)) => return Err(error(StatusCode::INTERNAL_SERVER_ERROR, "INTERNAL_ERROR")),
            // Trailers say nothing to us.
            Some(Ok(frame)) => match frame.into_data() {
                Ok(part) => return Ok(Some(part)),
                Err(_trailers) => {}
            },
        }
    }
}

/// Most bodies come in one part, which is not copied.
fn joined(mut parts: Vec<Bytes>) -> Bytes {
    if parts.len() > 1 { parts.concat().into() } else { parts.pop().unwrap_or_default() }
}

fn too_slow() -> Response {
    error(StatusCode::REQUEST_TIMEOUT, "BODY_TIMEOUT")
}

fn announced(headers: &HeaderMap) -> Option<u64> {
    headers.get(header::CONTENT_LENGTH)?.to_str().ok()?.parse().ok()
}

fn too_big(code: &str) -> Response {
    error(StatusCode::PAYLOAD_TOO_LARGE, code)
}

/// nsqd: false and 0 mean text; anything else, nonsense included, means binary.
fn is_binary(args: &Args) -> bool {
    args.optional("binary").is_some_and(|value| !matches!(value, "false" | "0"))
}

/// nsqd: empty lines are skipped, a lone carriage return is a message.
fn split_lines(body: &Bytes, max: usize) -> Result<Vec<Bytes>, Response> {
    let lines = body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
    lines
        .map(|line| if line.len() > max { Err(too_big("MSG_TOO_BIG")) } else { Ok(body.slice_ref(line)) })
        .collect()
}

/// `[u32 count]([u32 length][bytes])*`; nsqd: junk behind the last message is ignored, and every error is 413.
fn split_binary(mut body: Bytes, max: usize, body_max: usize) -> Result<Vec<Bytes>, Response> {
    let count = body.try_get_i32().map_err(|_| too_big("BAD_BODY"))?;
    let count_max = body_max.saturating_sub(LENGTH_BYTES) / (LENGTH_BYTES + 1);
    let count = usize::try_from(count).ok().filter(|count| (1..=count_max).contains(count));
    // The count is only believed as far as there are bytes for it.
    let mut messages = Vec::new();
    for _ in 0..count.ok_or_else(|| too_big("BAD_BODY"))? {
        let length = body.try_get_i32().map_err(|_| too_big("BAD_MESSAGE"))?;
        let length = usize::try_from(length).ok().filter(|length| (1..=max).contains(length));
        let length = length.filter(|length| *length <= body.len()).ok_or_else(|| too_big("BAD_MESSAGE"))?;
        messages.push(body.split_to(length));
    }
    Ok(messages)
}

#[cfg(test)]
mod tests {
    use bytes::BytesMut;

    use super::*;

    fn binary(parts: &[&[u8]]) -> Bytes {
        let mut body = BytesMut::new();
        body.extend_from_slice(&u32::try_from(parts.len()).unwrap().to_be_bytes());
        for part in parts {
            body.extend_from_slice(&u32::try_from(part.len()).unwrap().to_be_bytes());
            body.extend_from_slice(part);
        }
        body.freeze()
    }

    #[test]
    fn lines_become_messages_and_empty_ones_are_skipped() {
        let body = Bytes::from_static(b"a\n\nbb\n\r\n");
        assert_eq!(split_lines(&body, 2).unwrap(), ["a", "bb", "\r"]);
        assert_eq!(split_lines(&body, 1).unwrap_err().status(), 413);
    }

    #[test]
    fn a_binary_body_is_split_by_its_lengths_and_junk_behind_it_is_ignored() {
        let mut body = BytesMut::from(&binary(&[b"a", b"bb"])[..]);
        body.extend_from_slice(b"junk");
        assert_eq!(split_binary(body.freeze(), 2, 100).unwrap(), ["a", "bb"]);
    }

    #[test]
    fn a_binary_body_with_a_wrong_count_or_length_is_refused() {
        for body in [
            &b""[..],
            b"\0\0\0\0",
            b"\xff\xff\xff\xff",
            b"\x7f\xff\xff\xff",
            b"\0\0\0\x01\0\0\0\0",
            b"\0\0\0\x01\0\0\0\x09abc",
        ] {
            assert_eq!(
                split_binary(Bytes::from_static(body), 10, 100).unwrap_err().status(),
                413,
                "{body:?}"
            );
        }
    }
}
