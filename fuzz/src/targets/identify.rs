//! The bodies of IDENTIFY, for nsqd and for nsqlookupd: JSON of strangers, read as Go reads it.

use protocol::lookup::PeerInfo;
use protocol::{Heartbeat, Identify, IdentifyLimits};

use super::{Shape, Target, texts};

pub(super) const TARGET: Target = Target { name: "identify", run, seeds, words: WORDS };

const WORDS: &[&[u8]] = &[
    b"{\"client_id\":\"a\"}",
    b"\"heartbeat_interval\":",
    b"\"output_buffer_size\":",
    b"\"output_buffer_timeout\":",
    b"\"sample_rate\":",
    b"\"msg_timeout\":",
    b"\"deflate_level\":",
    b"\"feature_negotiation\":true",
    b"\"TLS_v1\":",
    b"\"broadcast_address\":\"b\"",
    b"\"tcp_port\":",
    b"null",
    b"true",
    b"[",
    b"]",
    b"{",
    b"}",
    b",",
    b":",
    b"\"",
    b"\\u0000",
    b"\\ud800",
    b"1e400",
    b"-1",
];

fn seeds() -> Vec<Vec<u8>> {
    let files = [harness::corpus::read("tests/corpus/wire"), harness::corpus::read("tests/corpus/lookupd")];
    let inputs = files.iter().flatten().flat_map(|file| &file.cases).map(harness::corpus::Case::input);
    let bodies = inputs.filter_map(|input| {
        let body = input.strip_prefix(b"IDENTIFY\n")?.get(4..)?;
        (body.len() <= 4096).then(|| body.to_vec())
    });
    bodies.chain(texts(&["{}", "null"])).collect()
}

fn run(input: &[u8]) -> Shape {
    let mut shape = Shape::default();
    // Which words are there is as good a guide as any: the outcomes alone are too few.
    for (index, word) in WORDS.iter().enumerate() {
        if input.windows(word.len()).any(|window| window == *word) {
            shape.add_amount(1 << index);
        }
    }
    let limits = IdentifyLimits::default();
    match Identify::parse(input, &limits) {
        Ok(identify) => judge(&identify, &limits, &mut shape),
        Err(error) => {
            assert!(error.is_fatal() && error.text.len() < 200, "an error of IDENTIFY is short and fatal");
            shape.add_error(&error.to_string());
        }
    }
    match PeerInfo::parse(input) {
        Ok(info) => {
            let is_whole =
                !info.broadcast_address.is_empty() && info.tcp_port > 0 && !info.version.is_empty();
            assert!(is_whole, "a broker nobody could reach");
            shape.add("broker");
        }
        Err(error) => shape.add_error(&error.to_string()),
    }
    shape
}

/// Everything is within the limits.
fn judge(identify: &Identify, limits: &IdentifyLimits, shape: &mut Shape) {
    if let Heartbeat::Every(interval) = identify.heartbeat {
        assert!(interval <= limits.heartbeat_max, "a heartbeat beyond the limit");
        shape.add("heartbeat");
    }
    let bytes = identify.output_buffer_size.bytes(16_384);
    assert!(u64::from(bytes) <= limits.output_buffer_bytes_max, "a buffer beyond the limit");
    assert!(identify.sample_rate <= 99, "a sample rate beyond 99");
    assert!((1..=limits.deflate_level_max).contains(&identify.deflate_level), "a deflate level of nobody");
    assert!(
        identify.msg_timeout.is_none_or(|timeout| timeout <= limits.msg_timeout_max),
        "a timeout too long"
    );
    for (is_set, name) in [
        (identify.client_id.is_some(), "client_id"),
        (identify.feature_negotiation, "features"),
        (identify.snappy, "snappy"),
        (identify.deflate, "deflate"),
        (identify.tls_v1, "tls"),
        (identify.sample_rate > 0, "sampled"),
        (identify.msg_timeout.is_some(), "timeout"),
        (!identify.topology_zone.is_empty(), "zone"),
    ] {
        if is_set {
            shape.add(name);
        }
    }
}
