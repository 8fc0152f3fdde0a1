//! Tables of IDENTIFY: what clients send, what is refused and in which order, and the bytes of the answer.

use super::*;

fn parse(body: &str) -> Result<Identify, String> {
    Identify::parse(body.as_bytes(), &IdentifyLimits::default()).map_err(|error| error.to_string())
}

fn accepted(body: &str) -> Identify {
    parse(body).unwrap_or_else(|error| panic!("{body}: {error}"))
}

#[test]
fn empty_object_asks_for_nothing() {
    let nothing = Identify {
        client_id: None,
        hostname: String::new(),
        user_agent: String::new(),
        feature_negotiation: false,
        heartbeat: Heartbeat::Default,
        output_buffer_size: BufferSize::Default,
        output_buffer_timeout: BufferTimeout::Default,
        tls_v1: false,
        snappy: false,
        deflate: false,
        deflate_level: 6,
        sample_rate: 0,
        msg_timeout: None,
        topology_region: String::new(),
        topology_zone: String::new(),
    };
    assert_eq!(accepted("{}"), nothing);
    assert_eq!(accepted("null"), nothing);
    assert_eq!(accepted(r#"{"short_id":"a","long_id":{"b":[1,null]},"x":1.5e300}"#), nothing);
}

#[test]
fn null_is_like_a_missing_field() {
    let fields = [
        "client_id",
        "hostname",
        "user_agent",
        "feature_negotiation",
        "heartbeat_interval",
        "output_buffer_size",
        "output_buffer_timeout",
        "tls_v1",
        "snappy",
        "deflate",
        "deflate_level",
        "sample_rate",
        "msg_timeout",
        "topology_region",
        "topology_zone",
    ];
    for field in fields {
        assert_eq!(accepted(&format!(r#"{{"{field}":null}}"#)), accepted("{}"), "{field}");
    }
}

#[test]
fn everything_a_client_can_ask_for_is_read() {
    let identify = accepted(
        r#"{"client_id":"me","hostname":"me.example","user_agent":"go-nsq/1.1.0","feature_negotiation":true,
        "heartbeat_interval":1000,"output_buffer_size":64,"output_buffer_timeout":25,"tls_v1":true,
        "snappy":true,"deflate":true,"deflate_level":3,"sample_rate":99,"msg_timeout":900000,
        "topology_region":"r","topology_zone":"z"}"#,
    );
    let expected = Identify {
        client_id: Some("me".into()),
        hostname: "me.example".into(),
        user_agent: "go-nsq/1.1.0".into(),
        feature_negotiation: true,
        heartbeat: Heartbeat::Every(Duration::from_secs(1)),
        output_buffer_size: BufferSize::Bytes(64),
        output_buffer_timeout: BufferTimeout::After(Duration::from_millis(25)),
        tls_v1: true,
        snappy: true,
        deflate: true,
        deflate_level: 3,
        sample_rate: 99,
        msg_timeout: Some(Duration::from_secs(900)),
        topology_region: "r".into(),
        topology_zone: "z".into(),
    };
    assert_eq!(identify, expected);
}

#[test]
fn json_is_read_as_go_reads_it() {
    assert_eq!(accepted(r#"{"Client_ID":"a","CLIENT_ID":"b"}"#).client_id.as_deref(), Some("b"));
    assert_eq!(accepted(r#"{"sample_rate":5,"sample_rate":null}"#).sample_rate, 5);
    assert_eq!(accepted(r#" {"hostname":"\u00e4"} "#).hostname, "\u{e4}");
    let not_utf8 = Identify::parse(b"{\"hostname\":\"\xff\"}", &IdentifyLimits::default());
    assert_eq!(not_utf8.unwrap().hostname, "\u{fffd}");
}

#[test]
fn body_that_does_not_decode_is_refused() {
    let bodies = [
        "",
        "{",
        "[]",
        "1",
        "{} x",
        r#"{"client_id":1}"#,
        r#"{"hostname":[]}"#,
        r#"{"tls_v1":"true"}"#,
        r#"{"deflate":1}"#,
        r#"{"heartbeat_interval":"1000"}"#,
        r#"{"heartbeat_interval":1000.0}"#,
        r#"{"heartbeat_interval":1e4}"#,
        r#"{"msg_timeout":{}}"#,
        r#"{"msg_timeout":9223372036854775808}"#,
        r#"{"sample_rate":2147483648}"#,
    ];
    for body in bodies {
        let expected = Err("E_BAD_BODY IDENTIFY failed to decode JSON body".to_owned());
        assert_eq!(parse(body), expected, "{body}");
    }
}

/// The smallest and the biggest value are allowed, the ones next to them are not.
fn check_range(key: &str, words: &str, (min, max): (i64, i64)) {
    for value in [min, max] {
        accepted(&format!(r#"{{"{key}":{value}}}"#));
    }
    for value in [min - 1, max + 1, -2, i64::from(i32::MIN)] {
        let expected = Err(format!("E_BAD_BODY IDENTIFY {words} ({value}) is invalid"));
        assert_eq!(parse(&format!(r#"{{"{key}":{value}}}"#)), expected);
    }
}

#[test]
fn values_out_of_range_are_refused() {
    check_range("heartbeat_interval", "heartbeat interval", (1000, 60_000));
    check_range("output_buffer_timeout", "output buffer timeout", (25, 30_000));
    check_range("output_buffer_size", "output buffer size", (64, 65_536));
    check_range("sample_rate", "sample rate", (0, 99));
    check_range("msg_timeout", "msg timeout", (1000, 900_000));
    assert_eq!(
        parse(r#"{"msg_timeout":-1}"#).unwrap_err(),
        "E_BAD_BODY IDENTIFY msg timeout (-1) is invalid"
    );
}

#[test]
fn first_wrong_value_in_the_order_of_nsqd_gives_the_error() {
    let fields = [
        ("msg_timeout", "msg timeout"),
        ("sample_rate", "sample rate"),
        ("output_buffer_size", "output buffer size"),
        ("output_buffer_timeout", "output buffer timeout"),
        ("heartbeat_interval", "heartbeat interval"),
    ];
    // From the field checked last to the one checked first, each added one takes over.
    let mut members = Vec::new();
    for (key, words) in fields {
        members.push(format!(r#""{key}":-7"#));
        let body = format!("{{{}}}", members.join(","));
        assert_eq!(parse(&body).unwrap_err(), format!("E_BAD_BODY IDENTIFY {words} (-7) is invalid"));
    }
}

#[test]
fn minus_one_turns_off_and_zero_is_the_default() {
    let off = accepted(r#"{"heartbeat_interval":-1,"output_buffer_timeout":-1}"#);
    assert_eq!((off.heartbeat, off.output_buffer_timeout), (Heartbeat::Off, BufferTimeout::Off));
    assert_eq!(off.output_buffer_size, BufferSize::Default);
    let zero = r#"{"heartbeat_interval":0,"output_buffer_size":0,"output_buffer_timeout":0,"msg_timeout":0}"#;
    assert_eq!(accepted(zero), accepted("{}"));
}

#[test]
fn session_without_buffer_has_no_buffer_timeout() {
    let unbuffered = accepted(r#"{"output_buffer_size":-1,"output_buffer_timeout":100}"#);
    assert_eq!(unbuffered.output_buffer_size, BufferSize::Off);
    assert_eq!(unbuffered.output_buffer_timeout, BufferTimeout::Off);
}

#[test]
fn default_off_and_own_values_give_the_numbers_of_the_answer() {
    let (second, minute) = (Duration::from_secs(1), Duration::from_secs(60));
    assert_eq!(Heartbeat::Default.interval(minute), Some(minute));
    assert_eq!(Heartbeat::Off.interval(minute), None);
    assert_eq!(Heartbeat::Every(second).interval(minute), Some(second));
    let sizes = [BufferSize::Default, BufferSize::Off, BufferSize::Bytes(64)];
    assert_eq!(sizes.map(|size| size.bytes(16_384)), [16_384, 1, 64]);
    let timeouts = [BufferTimeout::Default, BufferTimeout::Off, BufferTimeout::After(second)];
    assert_eq!(timeouts.map(|timeout| timeout.duration(minute)), [minute, Duration::ZERO, second]);
}

#[test]
fn deflate_level_is_six_unless_deflate_asks_for_another() {
    let cases = [
        (r#"{"deflate":true,"deflate_level":1}"#, 1),
        (r#"{"deflate":true,"deflate_level":8}"#, 8),
        (r#"{"deflate":true,"deflate_level":1000}"#, 8),
        (r#"{"deflate":true,"deflate_level":0}"#, 6),
        (r#"{"deflate":true,"deflate_level":-3}"#, 6),
        (r#"{"deflate_level":1}"#, 6),
    ];
    let limits = IdentifyLimits { deflate_level_max: 8, ..IdentifyLimits::default() };
    for (body, level) in cases {
        assert_eq!(Identify::parse(body.as_bytes(), &limits).unwrap().deflate_level, level, "{body}");
    }
    let low = IdentifyLimits { deflate_level_max: 2, ..limits };
    assert_eq!(Identify::parse(b"{}", &low).unwrap().deflate_level, 2);
}

fn granted() -> Granted {
    Granted {
        max_rdy_count: 2500,
        version: "1.3.0".into(),
        max_msg_timeout_ms: 900_000,
        msg_timeout_ms: 60_000,
        tls_v1: false,
        deflate: false,
        deflate_level: 6,
        max_deflate_level: 6,
        snappy: false,
        sample_rate: 0,
        auth_required: false,
        output_buffer_size: 16_384,
        output_buffer_timeout: 250,
        topology_region: String::new(),
        topology_zone: String::new(),
    }
}

#[test]
fn answer_is_that_of_nsqd_byte_for_byte() {
    let expected = concat!(
        r#"{"max_rdy_count":2500,"version":"1.3.0","max_msg_timeout":900000,"msg_timeout":60000,"#,
        r#""tls_v1":false,"deflate":false,"deflate_level":6,"max_deflate_level":6,"snappy":false,"#,
        r#""sample_rate":0,"auth_required":false,"output_buffer_size":16384,"output_buffer_timeout":250,"#,
        r#""topology_region":"","topology_zone":""}"#
    );
    assert_eq!(serde_json::to_string(&granted()).unwrap(), expected);
}

#[test]
fn client_reads_answers_of_older_and_newer_brokers() {
    let mut answer = serde_json::to_value(granted()).unwrap();
    let members = answer.as_object_mut().unwrap();
    members.remove("topology_region");
    members.remove("topology_zone");
    members.insert("nsq_ext".into(), true.into());
    assert_eq!(serde_json::from_value::<Granted>(answer).unwrap(), granted());
}
