//! A history as a file, kept when something is wrong in it, so that `chaos check` can judge it again.
//!
//! ```text
//! "chaoshst" | u32 length | JSON: round, topics, channels | events of 48 bytes, little-endian
//! ```

use std::fs::File;
use std::io::{BufReader, BufWriter, Read, Write};
use std::path::Path;

use anyhow::{Context, Result, bail};
use serde_json::{Value, json};

use super::{Channel, EVENT_BYTES, Event, History, Op};

const MAGIC: &[u8; 8] = b"chaoshst";

/// Write `history` to a new file.
///
/// # Errors
/// The file cannot be written.
pub fn save(history: &History, path: &Path) -> Result<()> {
    let file = File::create(path).with_context(|| format!("could not create {}", path.display()))?;
    let mut out = BufWriter::new(file);
    let channel = |channel: &Channel| json!([channel.topic, channel.name, channel.is_single]);
    let channels: Vec<Value> = history.channels.iter().map(channel).collect();
    let head = json!({ "round": history.round, "topics": history.topics, "channels": channels }).to_string();
    out.write_all(MAGIC)?;
    out.write_all(&u32::try_from(head.len())?.to_le_bytes())?;
    out.write_all(head.as_bytes())?;
    for event in &history.events {
        out.write_all(&encode(event))?;
    }
    out.flush().with_context(|| format!("could not write {}", path.display()))
}

/// Read what [`save`] wrote.
///
/// # Errors
/// It cannot be read, or is no history.
pub fn load(path: &Path) -> Result<History> {
    let file = File::open(path).with_context(|| format!("could not open {}", path.display()))?;
    let mut from = BufReader::new(file);
    let mut magic = [0; 8];
    from.read_exact(&mut magic)?;
    if magic != *MAGIC {
        bail!("{} is no history: give the file `history` that a failed run kept", path.display());
    }
    let mut length = [0; 4];
    from.read_exact(&mut length)?;
    let mut head = Vec::new();
    from.by_ref().take(u32::from_le_bytes(length).into()).read_to_end(&mut head)?;
    let head: Value = serde_json::from_slice(&head)?;
    let mut history = History {
        round: field(&head, "round").as_u64().and_then(|round| u16::try_from(round).ok()).unwrap_or(0),
        topics: list(&head, "topics").iter().map(text).collect(),
        channels: list(&head, "channels").iter().map(channel).collect(),
        events: Vec::new(),
    };
    let mut bytes = [0; EVENT_BYTES];
    while from.read_exact(&mut bytes).is_ok() {
        history.events.push(decode(&bytes).context("an event of an unknown kind: kept by another version?")?);
    }
    Ok(history)
}

fn field<'a>(value: &'a Value, name: &str) -> &'a Value {
    value.get(name).unwrap_or(&Value::Null)
}

fn list<'a>(value: &'a Value, name: &str) -> &'a [Value] {
    field(value, name).as_array().map(Vec::as_slice).unwrap_or_default()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

fn channel(value: &Value) -> Channel {
    let part = |index: usize| value.get(index).unwrap_or(&Value::Null);
    let topic = part(0).as_u64().and_then(|topic| u8::try_from(topic).ok()).unwrap_or_default();
    Channel { topic, name: text(part(1)), is_single: part(2).as_bool().unwrap_or_default() }
}

fn encode(event: &Event) -> [u8; EVENT_BYTES] {
    let mut bytes = [0; EVENT_BYTES];
    let mut rest = bytes.as_mut_slice();
    let mut put = |part: &[u8]| {
        // Never short: the parts add up to the size.
        let _ = rest.write_all(part);
    };
    for word in [event.at, event.since, event.key, event.id, event.arg] {
        put(&word.to_le_bytes());
    }
    put(&event.conn.to_le_bytes());
    put(&[event.op as u8, event.channel]);
    put(&event.attempts.to_le_bytes());
    bytes
}

fn decode(mut bytes: &[u8]) -> Option<Event> {
    let mut word = || {
        let (word, rest) = bytes.split_first_chunk()?;
        bytes = rest;
        Some(u64::from_le_bytes(*word))
    };
    let [at, since, key, id, arg] = [word()?, word()?, word()?, word()?, word()?];
    let (conn, rest) = bytes.split_first_chunk()?;
    let (&[op, channel], rest) = rest.split_first_chunk()?;
    let attempts = u16::from_le_bytes(*rest.first_chunk()?);
    let op = *Op::ALL.get(usize::from(op))?;
    Some(Event { at, since, key, id, arg, conn: u32::from_le_bytes(*conn), op, channel, attempts })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_event_reads_back() {
        for (index, op) in Op::ALL.into_iter().enumerate() {
            assert_eq!(op as usize, index);
            let event = Event {
                at: 1,
                since: u64::MAX,
                key: 3,
                id: 4,
                arg: 5,
                conn: 6,
                op,
                channel: 7,
                attempts: 65_535,
            };
            assert_eq!(decode(&encode(&event)), Some(event));
        }
    }

    #[test]
    fn an_unknown_kind_is_not_guessed_at() {
        let mut bytes = encode(&Event::new(Op::Stop, 0));
        bytes[44] = 99;
        assert_eq!(decode(&bytes), None);
    }
}
