//! What nsqd was started with, checked once: the broker reads nothing but [`Options`]. Each option's name, kind,
//! default and help is a row of `options/table.rs`.

use std::time::Duration;

use daemon::options::{Values, without_password};
use protocol::IdentifyLimits;
use protocol::Limits;

use crate::durability::Durability;
use crate::latency::Quantiles;

/// More threads than this gain nothing on any machine there is.
const SHARDS_MAX: i64 = 1024;

mod around;
mod table;

pub(crate) use around::problems_around;
pub(crate) use table::TABLE;

/// What nsqd was started with, checked.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each field is the option of that name; the table explains it")]
pub(crate) struct Options {
    pub values: Values,
    pub data_path: String,
    pub mem_queue_size: u64,
    pub max_bytes_per_file: u64,
    pub durability: Durability,
    pub identity: Option<String>,
    pub min_free: Option<u64>,
    pub memory_limit: usize,
    pub tcp_address: String,
    pub http_address: String,
    pub broadcast_address: String,
    pub broadcast_tcp_port: u16,
    pub broadcast_http_port: u16,
    pub lookupd_tcp_addresses: Vec<String>,
    pub topology_region: String,
    pub topology_zone: String,
    pub http_client_request_timeout: Duration,
    /// How long connecting to an auth server may take.
    pub http_client_connect_timeout: Duration,
    pub node_id: u64,
    pub msg_timeout: Duration,
    pub max_msg_timeout: Duration,
    pub max_msg_size: usize,
    pub max_body_size: usize,
    pub max_req_timeout: Duration,
    pub max_defer_timeout: Duration,
    pub client_timeout: Duration,
    pub max_heartbeat_interval: Duration,
    pub max_rdy_count: u64,
    pub max_output_buffer_size: u64,
    pub max_output_buffer_timeout: Duration,
    pub min_output_buffer_timeout: Duration,
    pub output_buffer_timeout: Duration,
    pub max_channel_consumers: usize,
    pub max_deflate_level: u8,
    pub is_deflate_on: bool,
    pub is_snappy_on: bool,
    pub max_in_flight_bytes: u64,
    pub https_address: String,
    pub shards: usize,
    pub max_connections: usize,
    pub max_connections_per_ip: usize,
    pub max_topics: usize,
    pub max_channels: usize,
    pub max_creation_rate: u32,
    pub is_topology_aware: bool,
    pub lookupd_token_file: String,
    pub tls: Tls,
    pub access: Access,
    pub statsd: Statsd,
    pub e2e: Option<Quantiles>,
    pub metrics_max_series: usize,
    pub metrics_exclude_ephemeral: bool,
    pub control: Control,
    pub otel_endpoint: String,
    pub otel_sampling_ratio: f64,
}

/// How connections are encrypted.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each field is the option of that name behind --tls-; the table explains it")]
pub(crate) struct Tls {
    pub cert: String,
    pub key: String,
    pub client_auth_policy: String,
    pub root_ca_file: String,
    pub required: String,
    pub min_version: String,
}

/// Who may do what.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each field is the option of that name; the table explains it")]
pub(crate) struct Access {
    pub auth_http_addresses: Vec<String>,
    pub auth_http_request_method: String,
    pub auth_regex: String,
    pub admin_token_file: String,
    pub http_auth: String,
    pub debug_routes: String,
}

/// How the broker is told what it must have, and when to leave.
#[derive(Debug, Clone)]
#[allow(missing_docs, reason = "each field is the option of that name; the table explains it")]
pub(crate) struct Control {
    pub control_address: String,
    pub control_token_file: String,
    pub topology_file: String,
}

/// How figures are pushed to a statsd daemon.
#[derive(Debug, Clone)]
#[allow(
    missing_docs,
    reason = "each field is the option of that name behind --statsd-; the table explains it"
)]
pub(crate) struct Statsd {
    pub address: String,
    pub interval: Duration,
    pub mem_stats: bool,
    pub prefix: String,
    pub udp_packet_size: usize,
    pub exclude_ephemeral: bool,
}

/// nsqd: a client is gone after twice its heartbeat interval, which is 30 s unless it asks otherwise.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

/// The one experiment of stock; names of others are ignored, as there.
const TOPOLOGY_AWARE: &str = "topology-aware-consumption";

/// A message's size is a signed 32-bit number on the wire.
const SIZE_MAX: i64 = i32::MAX as i64;

/// Bytes that fit into a packet of UDP.
const UDP_BYTES_MAX: i64 = 65_507;

/// A file of a log that is smaller than a page has room for nothing.
const LOG_FILE_BYTES_MIN: i64 = 4096;

const MILLISECOND: Duration = Duration::from_millis(1);

/// nsqd: 0 is no limit at all; a server that never answers would be waited for until the broker ends.
const UNLIMITED: Duration = Duration::from_secs(60);

/// Node ids have ten bits.
const NODE_ID_MAX: i64 = 1023;

impl Options {
    /// Check the values of a command line.
    ///
    /// # Errors
    /// The first value that cannot be used, with the flag's name and what is allowed.
    pub(crate) fn from_values(values: &Values) -> Result<Self, String> {
        let hostname = daemon::host::hostname();
        let max_req_timeout = values.duration("max-req-timeout");
        Ok(Self {
            values: values.clone(),
            data_path: or_default(values.text("data-path"), "."),
            mem_queue_size: values.clamped("mem-queue-size", 0, i64::MAX)?,
            max_bytes_per_file: values.clamped("max-bytes-per-file", LOG_FILE_BYTES_MIN, i64::MAX)?,
            durability: durability(values)?,
            identity: Some(values.text("identity").to_owned()).filter(|name| !name.is_empty()),
            min_free: size(values, "min-free")?,
            memory_limit: memory_limit(values)?,
            tcp_address: values.text("tcp-address").to_owned(),
            http_address: values.text("http-address").to_owned(),
            broadcast_address: or_default(values.text("broadcast-address"), &hostname),
            broadcast_tcp_port: port(values, "broadcast-tcp-port"),
            broadcast_http_port: port(values, "broadcast-http-port"),
            lookupd_tcp_addresses: values.list("lookupd-tcp-address").to_vec(),
            topology_region: values.text("topology-region").to_owned(),
            topology_zone: values.text("topology-zone").to_owned(),
            http_client_connect_timeout: client_timeout(values, "http-client-connect-timeout"),
            http_client_request_timeout: client_timeout(values, "http-client-request-timeout"),
            node_id: node_id(values, &hostname)?,
            msg_timeout: values.duration_from("msg-timeout", MILLISECOND),
            max_msg_timeout: values.duration_from("max-msg-timeout", MILLISECOND),
            max_msg_size: values.clamped("max-msg-size", 0, SIZE_MAX)?,
            max_body_size: values.clamped("max-body-size", 0, SIZE_MAX)?,
            max_req_timeout,
            max_defer_timeout: Some(values.duration("max-defer-timeout"))
                .filter(|max| !max.is_zero())
                .unwrap_or(max_req_timeout),
            client_timeout: CLIENT_TIMEOUT,
            max_heartbeat_interval: values.duration("max-heartbeat-interval"),
            max_rdy_count: values.clamped("max-rdy-count", 0, i64::MAX)?,
            max_output_buffer_size: values.clamped("max-output-buffer-size", 0, i64::MAX)?,
            max_output_buffer_timeout: values.duration("max-output-buffer-timeout"),
            min_output_buffer_timeout: values.duration("min-output-buffer-timeout"),
            output_buffer_timeout: values.duration("output-buffer-timeout"),
            max_channel_consumers: values.clamped("max-channel-consumers", 0, i64::MAX)?,
            max_deflate_level: number(values, "max-deflate-level", 1, 9)?,
            is_deflate_on: values.is_on("deflate"),
            is_snappy_on: values.is_on("snappy"),
            max_in_flight_bytes: size(values, "max-in-flight-bytes")?.unwrap_or(u64::MAX),
            https_address: values.text("https-address").to_owned(),
            shards: shards(values)?,
            max_connections: number(values, "max-connections", 0, i64::MAX)?,
            max_connections_per_ip: number(values, "max-connections-per-ip", 0, i64::MAX)?,
            max_topics: number(values, "max-topics", 0, i64::MAX)?,
            max_channels: number(values, "max-channels", 0, i64::MAX)?,
            max_creation_rate: number(values, "max-creation-rate", 0, 1_000_000)?,
            is_topology_aware: values.list("enable-experiment").iter().any(|name| name == TOPOLOGY_AWARE),
            lookupd_token_file: values.text("lookupd-token-file").to_owned(),
            tls: tls(values),
            access: access(values),
            statsd: statsd(values)?,
            e2e: Quantiles::parse(
                values.list("e2e-processing-latency-percentile"),
                values.duration("e2e-processing-latency-window-time"),
            )?,
            metrics_max_series: number(values, "metrics-max-series", 1, i64::MAX)?,
            metrics_exclude_ephemeral: values.is_on("metrics-exclude-ephemeral"),
            control: control(values)?,
            otel_endpoint: otel_endpoint(values)?,
            otel_sampling_ratio: ratio(values)?,
        })
    }

    /// Limits of the command decoder.
    pub(crate) fn limits(&self) -> Limits {
        Limits {
            message_bytes_max: self.max_msg_size,
            body_bytes_max: self.max_body_size,
            ready_max: self.max_rdy_count,
            requeue_max: self.max_req_timeout,
            defer_max: self.max_defer_timeout,
            ..Limits::default()
        }
    }

    /// Ranges of what IDENTIFY may ask for.
    pub(crate) fn identify_limits(&self) -> IdentifyLimits {
        IdentifyLimits {
            heartbeat_max: self.max_heartbeat_interval,
            output_buffer_bytes_max: self.max_output_buffer_size,
            output_buffer_timeout_min: self.min_output_buffer_timeout,
            output_buffer_timeout_max: self.max_output_buffer_timeout,
            msg_timeout_max: self.max_msg_timeout,
            deflate_level_max: self.max_deflate_level,
        }
    }
}

fn or_default(text: &str, default: &str) -> String {
    if text.is_empty() { default.to_owned() } else { text.to_owned() }
}

fn number<T: TryFrom<i64>>(values: &Values, name: &str, min: i64, max: i64) -> Result<T, String> {
    values.number(name, min, max)
}

fn client_timeout(values: &Values, name: &str) -> Duration {
    values.duration_or(name, Duration::from_nanos(1), UNLIMITED)
}

/// nsqd: tells nsqlookupd whatever number it was given, which no consumer can connect to.
fn port(values: &Values, name: &str) -> u16 {
    let given = values.int(name);
    u16::try_from(given).unwrap_or_else(|_| {
        values.replace(name, &given.to_string(), "0, the port that is listened on");
        0
    })
}

/// An empty value is the default, which depends on the machine.
fn size(values: &Values, name: &str) -> Result<Option<u64>, String> {
    match values.text(name) {
        "" => Ok(None),
        text => daemon::size::parse(text).map(Some).map_err(|why| format!("--{name}: {why}")),
    }
}

/// Half of the processors: shards that publish to one topic contend for its log, and the other half is wanted by syncs,
/// HTTP and the kernel's side of the sockets. On two processors a second shard made messages of one topic cost 30 to 45 %
/// more (docs/performance.md).
fn shards(values: &Values) -> Result<usize, String> {
    let asked: usize = number(values, "shards", 0, SHARDS_MAX)?;
    let processors = || std::thread::available_parallelism().map_or(1, usize::from);
    Ok(if asked == 0 { (processors() / 2).max(1) } else { asked })
}

fn memory_limit(values: &Values) -> Result<usize, String> {
    let limit = size(values, "memory-limit")?.unwrap_or_else(crate::memory::default_limit);
    if limit < MEMORY_LIMIT_MIN {
        return Err(format!("--memory-limit is too small: at least {}MiB", MEMORY_LIMIT_MIN >> 20));
    }
    Ok(usize::try_from(limit).unwrap_or(usize::MAX))
}

/// With less not even the caches of a few topics would fit.
const MEMORY_LIMIT_MIN: u64 = 16 << 20;

fn tls(values: &Values) -> Tls {
    let text = |name| values.text(name).to_owned();
    Tls {
        cert: text("tls-cert"),
        key: text("tls-key"),
        client_auth_policy: text("tls-client-auth-policy"),
        root_ca_file: text("tls-root-ca-file"),
        required: text("tls-required"),
        min_version: text("tls-min-version"),
    }
}

fn access(values: &Values) -> Access {
    let text = |name| values.text(name).to_owned();
    Access {
        auth_http_addresses: values.list("auth-http-address").to_vec(),
        auth_http_request_method: text("auth-http-request-method"),
        auth_regex: text("auth-regex"),
        admin_token_file: text("admin-token-file"),
        http_auth: text("http-auth"),
        debug_routes: text("debug-routes"),
    }
}

fn otel_endpoint(values: &Values) -> Result<String, String> {
    let url = values.text("otel-endpoint");
    daemon::traces::check(url).map_err(|why| format!("--otel-endpoint={}: {why}", without_password(url)))?;
    Ok(url.to_owned())
}

fn ratio(values: &Values) -> Result<f64, String> {
    let text = values.text("otel-sampling-ratio");
    let ratio = text.parse().ok().filter(|ratio| (0.0..=1.0).contains(ratio));
    ratio.ok_or_else(|| format!("--otel-sampling-ratio={text}: it is a number from 0 to 1, like 0.01"))
}

/// Who reaches the control API can delete everything: over a network it asks for a token.
fn control(values: &Values) -> Result<Control, String> {
    let text = |name| values.text(name).to_owned();
    let control = Control {
        control_address: text("control-address"),
        control_token_file: text("control-token-file"),
        topology_file: text("topology-file"),
    };
    let address = &control.control_address;
    if control.control_token_file.is_empty() && !address.is_empty() && !is_of_this_machine(address) {
        return Err(format!(
            "--control-address={address} can be reached over the network: give --control-token-file too, or listen on 127.0.0.1"
        ));
    }
    Ok(control)
}

/// A unix socket, or an address of the loopback.
fn is_of_this_machine(address: &str) -> bool {
    let host = address.rsplit_once(':').map_or(address, |(host, _port)| host);
    let ip = host.trim_matches(['[', ']']).parse::<std::net::IpAddr>();
    daemon::listen::is_path(address) || host == "localhost" || ip.is_ok_and(|ip| ip.is_loopback())
}

fn statsd(values: &Values) -> Result<Statsd, String> {
    Ok(Statsd {
        address: values.text("statsd-address").to_owned(),
        interval: values.duration_from("statsd-interval", MILLISECOND),
        mem_stats: values.is_on("statsd-mem-stats"),
        prefix: values.text("statsd-prefix").to_owned(),
        udp_packet_size: values.clamped("statsd-udp-packet-size", 1, UDP_BYTES_MAX)?,
        exclude_ephemeral: values.is_on("statsd-exclude-ephemeral"),
    })
}

/// nsqd: `--sync-every=1` was the way to have every message synced before it was acknowledged.
fn durability(values: &Values) -> Result<Durability, String> {
    let syncs_each = values.int("sync-every") == 1 && !values.is_set("durability");
    let name = if syncs_each { "fsync" } else { values.text("durability") };
    Durability::from_name(name)
        .ok_or_else(|| format!("--durability={name} is unknown: memory, buffered or fsync"))
}

/// nsqd: unless it is given, the node id is a hash of the hostname.
pub(crate) fn node_id(values: &Values, hostname: &str) -> Result<u64, String> {
    if values.is_set("node-id") {
        return number(values, "node-id", 0, NODE_ID_MAX);
    }
    Ok(u64::from(crc32c::crc32c(hostname.as_bytes())) % 1024)
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemon::options::{Parsed, parse, table_problems};

    fn options(args: &[&str]) -> Result<Options, String> {
        match parse("nsqd", "", TABLE, args.iter().copied()) {
            Ok(Parsed::Run(values)) => {
                let options = Options::from_values(&values);
                assert_eq!(values.unknown_names(), Vec::<String>::new());
                options
            }
            Ok(Parsed::Exit { text, .. }) => Err(text),
            Err(error) => Err(error.to_string()),
        }
    }

    #[test]
    fn every_row_of_the_table_is_sound_and_every_name_that_is_read_is_in_it() {
        assert_eq!(table_problems(TABLE), Vec::<String>::new());
        options(&[]).unwrap();
    }

    #[test]
    fn a_value_out_of_range_is_refused_with_the_name_of_its_flag() {
        for (arg, expected) in [
            ("--max-topics=-1", "--max-topics=-1 is too small: at least 0"),
            ("--durability=disk", "--durability: \"disk\" is unknown; choose memory, buffered or fsync"),
            ("--memory-limit=1M", "--memory-limit is too small: at least 16MiB"),
            ("--node-id=1024", "--node-id=1024 is out of range: 0 to 1023"),
            ("--max-deflate-level=0", "--max-deflate-level=0 is out of range: 1 to 9"),
        ] {
            assert_eq!(options(&[arg]).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_value_that_stock_takes_and_nobody_can_use_is_replaced_and_told() {
        for (arg, remark) in [
            ("--mem-queue-size=-1", "it is 0"),
            ("--max-bytes-per-file=0", "it is 4096"),
            ("--broadcast-tcp-port=-1", "it is 0, the port that is listened on"),
            ("--broadcast-http-port=65536", "it is 0, the port that is listened on"),
            ("--http-client-connect-timeout=0s", "it is 1m0s"),
            ("--http-client-request-timeout=-1s", "it is 1m0s"),
            ("--msg-timeout=0s", "it is 1ms"),
            ("--max-msg-timeout=-15m0s", "it is 1ms"),
            ("--max-req-timeout=-1ns", "it is 0s"),
            ("--max-heartbeat-interval=-1s", "it is 0s"),
            ("--max-msg-size=2147483648", "it is 2147483647"),
            ("--max-body-size=9223372036854775807", "it is 2147483647"),
            ("--max-rdy-count=-1", "it is 0"),
            ("--max-output-buffer-size=-1", "it is 0"),
            ("--max-channel-consumers=-1", "it is 0"),
            ("--statsd-interval=1ns", "it is 1ms"),
            ("--statsd-udp-packet-size=65508", "it is 65507"),
            ("--statsd-udp-packet-size=0", "it is 1"),
        ] {
            assert_eq!(options(&[arg]).unwrap().values.remarks(), [format!("{arg} cannot be; {remark}")]);
        }
    }

    #[test]
    fn limits_of_nothing_at_all_are_taken_as_they_are() {
        let args = ["--max-rdy-count=0", "--max-msg-size=0", "--max-body-size=0", "--mem-queue-size=0"];
        let options = options(&args).unwrap();
        assert_eq!((options.max_rdy_count, options.max_msg_size, options.max_body_size), (0, 0, 0));
        assert_eq!(options.values.remarks(), [""; 0]);
    }

    #[test]
    fn deferring_may_take_as_long_as_requeueing_unless_it_has_its_own_limit() {
        assert_eq!(options(&["-max-req-timeout=2h"]).unwrap().max_defer_timeout, Duration::from_secs(7200));
        assert_eq!(
            options(&["-max-defer-timeout", "5m"]).unwrap().max_defer_timeout,
            Duration::from_secs(300)
        );
    }

    #[test]
    fn a_control_api_that_others_can_reach_needs_a_token() {
        for open in [":4153", "0.0.0.0:4153", "10.0.0.1:4153", "[::]:4153", "broker-0:4153"] {
            let error = options(&[&format!("--control-address={open}")]).unwrap_err();
            assert!(error.contains("--control-token-file") && error.contains(open), "{error}");
            options(&[&format!("--control-address={open}"), "--control-token-file=/t"]).unwrap();
        }
        for own in ["127.0.0.1:4153", "[::1]:4153", "localhost:0", "/run/nsqd/control"] {
            options(&[&format!("--control-address={own}")]).unwrap();
        }
    }
}
