//! When a round is over: /stats says that nothing is left anywhere, and names no channel that should not be.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use anyhow::Result;
use serde_json::Value;

use crate::http;

/// G16, and the longest delay and timeout of the load.
const LIMIT: Duration = Duration::from_secs(35);
const LOOK_EVERY: Duration = Duration::from_millis(30);

/// What /stats says.
#[derive(Debug, Default, PartialEq, Eq)]
struct Picture {
    /// Depths, in flight and deferred, added up.
    owed: i64,
    /// `topic/channel`.
    channels: BTreeSet<String>,
    /// Counts that are not zero, as texts.
    left: Vec<String>,
    negative: bool,
}

/// Wait until all channels are empty. Gives what is wrong if they do not become so, if one of `required` is missing, or if
/// there is one that is not `allowed`.
///
/// # Errors
/// /stats cannot be had.
pub fn until_empty(
    http: SocketAddr,
    required: &BTreeSet<String>,
    allowed: &BTreeSet<String>,
) -> Result<Option<String>> {
    let limit = Instant::now() + LIMIT;
    let mut empty_looks = 0;
    loop {
        let picture = look(http)?;
        if picture.negative {
            return Ok(Some(format!("negative counts: {}", picture.left.join(", "))));
        }
        empty_looks = if picture.owed == 0 { empty_looks + 1 } else { 0 };
        // Twice: a message on its way from one count to another is in none of them for a moment.
        if empty_looks >= 2 {
            let missing = required.difference(&picture.channels);
            let strange: Vec<&String> = missing.chain(picture.channels.difference(allowed)).collect();
            let is_right = strange.is_empty();
            return Ok((!is_right).then(|| format!("channels missing, or there though deleted: {strange:?}")));
        }
        if Instant::now() >= limit {
            let left = picture.left.join(", ");
            return Ok(Some(format!("after {} s there is still {left}", LIMIT.as_secs())));
        }
        std::thread::sleep(LOOK_EVERY);
    }
}

fn look(http: SocketAddr) -> Result<Picture> {
    let stats = http::get_json(http, "/stats?format=json&include_clients=false&include_mem=false")?;
    let mut picture = Picture::default();
    for topic in list(&stats, "topics") {
        let topic_name = text(topic, "topic_name");
        picture.count(&topic_name, "depth", topic);
        for channel in list(topic, "channels") {
            let name = format!("{topic_name}/{}", text(channel, "channel_name"));
            for field in ["depth", "in_flight_count", "deferred_count"] {
                picture.count(&name, field, channel);
            }
            picture.channels.insert(name);
        }
    }
    Ok(picture)
}

impl Picture {
    fn count(&mut self, name: &str, field: &str, of: &Value) {
        let count = of.get(field).and_then(Value::as_i64).unwrap_or(i64::MIN);
        self.negative |= count < 0;
        self.owed = self.owed.saturating_add(count);
        if count != 0 {
            self.left.push(format!("{name} {field} {count}"));
        }
    }
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    value.get(name).and_then(Value::as_array).map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value, name: &str) -> String {
    value.get(name).and_then(Value::as_str).unwrap_or_default().to_owned()
}
