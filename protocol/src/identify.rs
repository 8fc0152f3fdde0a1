//! IDENTIFY: what a client says about itself and asks for, and what the broker grants.
//! Which features this broker has, and how a connection is upgraded, is the session's.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::error::{Code, Error};
use crate::json::{self, Field, Fields, WrongType};

/// What a broker lets clients ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IdentifyLimits {
    /// Longest heartbeat interval (`--max-heartbeat-interval`).
    pub heartbeat_max: Duration,
    /// Biggest output buffer in bytes (`--max-output-buffer-size`).
    pub output_buffer_bytes_max: u64,
    /// Shortest output buffer timeout (`--min-output-buffer-timeout`).
    pub output_buffer_timeout_min: Duration,
    /// Longest output buffer timeout (`--max-output-buffer-timeout`).
    pub output_buffer_timeout_max: Duration,
    /// Longest message timeout (`--max-msg-timeout`).
    pub msg_timeout_max: Duration,
    /// Highest deflate level; higher ones are cut to it (`--max-deflate-level`).
    pub deflate_level_max: u8,
}

impl Default for IdentifyLimits {
    /// nsqd's own defaults.
    fn default() -> Self {
        Self {
            heartbeat_max: Duration::from_secs(60),
            output_buffer_bytes_max: 65_536,
            output_buffer_timeout_min: Duration::from_millis(25),
            output_buffer_timeout_max: Duration::from_secs(30),
            msg_timeout_max: Duration::from_secs(900),
            deflate_level_max: 6,
        }
    }
}

/// What a client said in IDENTIFY, all of it within the limits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identify {
    /// The client's name for itself; `None` when it gave none. nsqd: shows that as an empty text.
    pub client_id: Option<String>,
    /// The host the client says it runs on.
    pub hostname: String,
    /// The client library and its version.
    pub user_agent: String,
    /// Whether the client understands the JSON answer. If not it gets a bare `OK` and no upgrade of any kind.
    pub feature_negotiation: bool,
    /// How often it wants heartbeats.
    pub heartbeat: Heartbeat,
    /// How many bytes of deliveries may be held back for it.
    pub output_buffer_size: BufferSize,
    /// How long deliveries may be held back for it. `Off` if the size is: nothing is held back then.
    pub output_buffer_timeout: BufferTimeout,
    /// It wants TLS.
    pub tls_v1: bool,
    /// It wants snappy compression.
    pub snappy: bool,
    /// It wants deflate compression. Both at once are refused only where the broker has both.
    pub deflate: bool,
    /// The level to deflate with: the one asked for or 6, at most the broker's.
    pub deflate_level: u8,
    /// 1 to 99: the percentage of messages it wants to see; 0: all.
    pub sample_rate: u8,
    /// How long it may hold a message; `None`: the broker's default.
    pub msg_timeout: Option<Duration>,
    /// The region it runs in, or empty.
    pub topology_region: String,
    /// The zone it runs in, or empty.
    pub topology_zone: String,
}

impl Identify {
    /// Reads the body of IDENTIFY as Go's JSON does: keys in any case, `null` and missing keys alike, others
    /// ignored.
    ///
    /// # Errors
    /// E_BAD_BODY for anything that is no object, a field of the wrong type, or one out of range.
    pub fn parse(body: &[u8], limits: &IdentifyLimits) -> Result<Self, Error> {
        let mut asked = Asked::default();
        let read = json::read(body, &mut asked);
        read.map_err(|WrongType| bad_body("failed to decode JSON body"))?;
        asked.within(limits)
    }
}

/// How often a client wants a sign of life.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Heartbeat {
    /// As the broker does by default.
    Default,
    /// Never, which forbids SUB and lifts the read deadline.
    Off,
    /// At this interval.
    Every(Duration),
}

impl Heartbeat {
    /// The interval, given the broker's default; `None`: never.
    pub fn interval(self, default: Duration) -> Option<Duration> {
        match self {
            Self::Default => Some(default),
            Self::Off => None,
            Self::Every(interval) => Some(interval),
        }
    }
}

/// How many bytes of deliveries may be held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferSize {
    /// As the broker does by default.
    Default,
    /// None: each delivery is sent at once.
    Off,
    /// This many.
    Bytes(u32),
}

impl BufferSize {
    /// The size for the answer, given the broker's default. nsqd: `Off` is a buffer of one byte.
    pub fn bytes(self, default: u32) -> u32 {
        match self {
            Self::Default => default,
            Self::Off => 1,
            Self::Bytes(bytes) => bytes,
        }
    }
}

/// How long deliveries may be held back.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BufferTimeout {
    /// As the broker does by default.
    Default,
    /// No tick flushes the buffer.
    Off,
    /// At most this long.
    After(Duration),
}

impl BufferTimeout {
    /// The timeout, given the broker's default; zero when it is off, as the answer shows it.
    pub fn duration(self, default: Duration) -> Duration {
        match self {
            Self::Default => default,
            Self::Off => Duration::ZERO,
            Self::After(timeout) => timeout,
        }
    }
}

/// The answer to IDENTIFY, in the key order of nsqd. Clients read the numbers at these widths, so none is
/// negative.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Granted {
    /// Highest ready count. Some clients read 16 bits.
    pub max_rdy_count: u64,
    /// The broker's version; starts with the version of NSQ it stands in for.
    pub version: String,
    /// Longest message timeout, in milliseconds.
    #[serde(rename = "max_msg_timeout")]
    pub max_msg_timeout_ms: u64,
    /// This session's message timeout, in milliseconds.
    #[serde(rename = "msg_timeout")]
    pub msg_timeout_ms: u64,
    /// TLS follows.
    pub tls_v1: bool,
    /// Deflate follows.
    pub deflate: bool,
    /// At this level, if it does.
    pub deflate_level: u8,
    /// Highest deflate level.
    pub max_deflate_level: u8,
    /// Snappy follows.
    pub snappy: bool,
    /// As it was asked for.
    pub sample_rate: u8,
    /// AUTH is needed next.
    pub auth_required: bool,
    /// In bytes.
    pub output_buffer_size: u32,
    /// In milliseconds; 0 is off.
    pub output_buffer_timeout: u32,
    /// The broker's own region. Absent before NSQ 1.3.
    #[serde(default)]
    pub topology_region: String,
    /// The broker's own zone. Absent before NSQ 1.3.
    #[serde(default)]
    pub topology_zone: String,
}

/// The fields as they came, before ranges are looked at. Widths are Go's: an integer beyond them is a wrong
/// type.
#[derive(Default)]
struct Asked {
    client_id: Option<String>,
    hostname: String,
    user_agent: String,
    feature_negotiation: bool,
    heartbeat_interval: i64,
    output_buffer_size: i64,
    output_buffer_timeout: i64,
    tls_v1: bool,
    snappy: bool,
    deflate: bool,
    deflate_level: i64,
    sample_rate: i32,
    msg_timeout: i64,
    topology_region: String,
    topology_zone: String,
}

impl Fields for Asked {
    fn field(&mut self, key: &str) -> Option<Field<'_>> {
        Some(match key {
            "client_id" => Field::GivenText(&mut self.client_id),
            "hostname" => Field::Text(&mut self.hostname),
            "user_agent" => Field::Text(&mut self.user_agent),
            "feature_negotiation" => Field::Bool(&mut self.feature_negotiation),
            "heartbeat_interval" => Field::Int(&mut self.heartbeat_interval),
            "output_buffer_size" => Field::Int(&mut self.output_buffer_size),
            "output_buffer_timeout" => Field::Int(&mut self.output_buffer_timeout),
            "tls_v1" => Field::Bool(&mut self.tls_v1),
            "snappy" => Field::Bool(&mut self.snappy),
            "deflate" => Field::Bool(&mut self.deflate),
            "deflate_level" => Field::Int(&mut self.deflate_level),
            "sample_rate" => Field::Int32(&mut self.sample_rate),
            "msg_timeout" => Field::Int(&mut self.msg_timeout),
            "topology_region" => Field::Text(&mut self.topology_region),
            "topology_zone" => Field::Text(&mut self.topology_zone),
            _ => return None,
        })
    }
}

impl Asked {
    /// Checks the ranges in nsqd's order: the first field that is out of range gives the error.
    fn within(self, limits: &IdentifyLimits) -> Result<Identify, Error> {
        let heartbeat = heartbeat(self.heartbeat_interval, limits)?;
        let output_buffer_timeout = buffer_timeout(self.output_buffer_timeout, limits)?;
        let output_buffer_size = buffer_size(self.output_buffer_size, limits)?;
        let sample_rate = sample_rate(self.sample_rate)?;
        let msg_timeout = msg_timeout(self.msg_timeout, limits)?;
        let is_unbuffered = output_buffer_size == BufferSize::Off;
        Ok(Identify {
            heartbeat,
            output_buffer_size,
            output_buffer_timeout: if is_unbuffered { BufferTimeout::Off } else { output_buffer_timeout },
            deflate_level: self.deflate_level(limits),
            sample_rate,
            msg_timeout,
            client_id: self.client_id,
            hostname: self.hostname,
            user_agent: self.user_agent,
            feature_negotiation: self.feature_negotiation,
            tls_v1: self.tls_v1,
            snappy: self.snappy,
            deflate: self.deflate,
            topology_region: self.topology_region,
            topology_zone: self.topology_zone,
        })
    }

    fn deflate_level(&self, limits: &IdentifyLimits) -> u8 {
        let asked = if self.deflate { u8::try_from(self.deflate_level.min(9)).unwrap_or(0) } else { 0 };
        let level = if asked > 0 { asked } else { DEFLATE_LEVEL_DEFAULT };
        level.min(limits.deflate_level_max)
    }
}

const DEFLATE_LEVEL_DEFAULT: u8 = 6;
const SAMPLE_RATE_MAX: u8 = 99;
const OUTPUT_BUFFER_BYTES_MIN: u64 = 64;

/// Shortest interval and timeout that a client may ask for, short of none.
const SECOND: Duration = Duration::from_secs(1);

fn heartbeat(asked: i64, limits: &IdentifyLimits) -> Result<Heartbeat, Error> {
    match asked {
        -1 => Ok(Heartbeat::Off),
        0 => Ok(Heartbeat::Default),
        ms => milliseconds(ms, SECOND, limits.heartbeat_max)
            .map(Heartbeat::Every)
            .ok_or_else(|| out_of_range("heartbeat interval", ms)),
    }
}

fn buffer_timeout(asked: i64, limits: &IdentifyLimits) -> Result<BufferTimeout, Error> {
    match asked {
        -1 => Ok(BufferTimeout::Off),
        0 => Ok(BufferTimeout::Default),
        ms => milliseconds(ms, limits.output_buffer_timeout_min, limits.output_buffer_timeout_max)
            .map(BufferTimeout::After)
            .ok_or_else(|| out_of_range("output buffer timeout", ms)),
    }
}

fn buffer_size(asked: i64, limits: &IdentifyLimits) -> Result<BufferSize, Error> {
    match asked {
        -1 => Ok(BufferSize::Off),
        0 => Ok(BufferSize::Default),
        bytes => u32::try_from(bytes)
            .ok()
            .filter(|n| (OUTPUT_BUFFER_BYTES_MIN..=limits.output_buffer_bytes_max).contains(&u64::from(*n)))
            .map(BufferSize::Bytes)
            .ok_or_else(|| out_of_range("output buffer size", bytes)),
    }
}

fn sample_rate(asked: i32) -> Result<u8, Error> {
    let rate = u8::try_from(asked).ok().filter(|rate| *rate <= SAMPLE_RATE_MAX);
    rate.ok_or_else(|| out_of_range("sample rate", asked.into()))
}

fn msg_timeout(asked: i64, limits: &IdentifyLimits) -> Result<Option<Duration>, Error> {
    if asked == 0 {
        return Ok(None);
    }
    let timeout = milliseconds(asked, SECOND, limits.msg_timeout_max);
    timeout.map(Some).ok_or_else(|| out_of_range("msg timeout", asked))
}

fn milliseconds(ms: i64, min: Duration, max: Duration) -> Option<Duration> {
    let duration = Duration::from_millis(u64::try_from(ms).ok()?);
    (min..=max).contains(&duration).then_some(duration)
}

fn out_of_range(field: &str, value: i64) -> Error {
    bad_body(&format!("{field} ({value}) is invalid"))
}

fn bad_body(text: &str) -> Error {
    Error::new(Code::BadBody, format!("IDENTIFY {text}"))
}

#[cfg(test)]
mod tests;
