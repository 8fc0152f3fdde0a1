//! Every option of nsqd once: name, kind, default, help. The command line and `--help` come from the table;
//! the broker reads the checked values from [`Options`].

use std::time::Duration;

use daemon::options::{Kind, Opt, Values};
use protocol::IdentifyLimits;
use protocol::Limits;

use crate::durability::Durability;

/// The table.
pub(crate) const TABLE: &[Opt] = &[
    opt("data-path", Kind::Text, "", "folder for messages; empty means the current one", STORAGE),
    opt(
        "mem-queue-size",
        Kind::Int,
        "10000",
        "messages per ephemeral topic or channel; counts as memory in depths",
        STORAGE,
    ),
    opt(
        "max-bytes-per-file",
        Kind::Int,
        "104857600",
        "bytes in one log file before the next begins",
        STORAGE,
    ),
    opt(
        "durability",
        Kind::Text,
        "buffered",
        "what OK to a publish means unless its topic says otherwise: memory (accepted), buffered (survives a kill), fsync (survives a power cut)",
        STORAGE,
    ),
    opt(
        "identity",
        Kind::Text,
        "",
        "whose data the folder must hold, for example namespace/cluster/broker; empty means anybody's",
        STORAGE,
    ),
    opt(
        "min-free",
        Kind::Text,
        "",
        "bytes of the disk publishes leave free, for example 256MiB; empty means a twentieth of it, 256MiB at most",
        STORAGE,
    ),
    opt(
        "memory-limit",
        Kind::Text,
        "",
        "memory for messages on their way, for example 512MiB; empty means half of what the cgroup allows",
        STORAGE,
    ),
    opt("tcp-address", Kind::Text, "0.0.0.0:4150", "<addr>:<port> to listen on for clients", NETWORK),
    opt(
        "http-address",
        Kind::Text,
        "0.0.0.0:4151",
        "<addr>:<port> to listen on for HTTP; empty means none",
        NETWORK,
    ),
    opt("broadcast-address", Kind::Text, "", "address told to nsqlookupd; empty means the hostname", NETWORK),
    opt("broadcast-tcp-port", Kind::Int, "0", "TCP port told to nsqlookupd; 0 means the real one", NETWORK),
    opt("broadcast-http-port", Kind::Int, "0", "HTTP port told to nsqlookupd; 0 means the real one", NETWORK),
    opt(
        "lookupd-tcp-address",
        Kind::List,
        "",
        "nsqlookupd to register with; may be given several times",
        NETWORK,
    ),
    opt("topology-region", Kind::Text, "", "region this broker is in", NETWORK),
    opt("topology-zone", Kind::Text, "", "zone this broker is in", NETWORK),
    opt(
        "http-client-connect-timeout",
        Kind::Duration,
        "2s",
        "no effect: the limit of a request covers connecting",
        NETWORK,
    ),
    opt(
        "http-client-request-timeout",
        Kind::Duration,
        "5s",
        "limit for asking nsqlookupd for the channels of a new topic, 1s at most",
        NETWORK,
    ),
    opt("node-id", Kind::Int, "-1", "number 0-1023 in message ids; default from the hostname", GENERAL),
    opt("log-level", Kind::Text, "info", "debug, info, warn, error or fatal", GENERAL),
    opt("log-prefix", Kind::Text, "[nsqd] ", "what each log line begins with", GENERAL),
    opt("verbose", Kind::Bool, "false", "no effect, accepted for old scripts", GENERAL),
    opt("worker-id", Kind::Int, "0", "no effect, accepted for old scripts", GENERAL),
    opt(
        "msg-timeout",
        Kind::Duration,
        "1m",
        "how long a message may be in flight before it is requeued",
        MESSAGES,
    ),
    opt(
        "max-msg-timeout",
        Kind::Duration,
        "15m",
        "the longest a client may keep a message in flight",
        MESSAGES,
    ),
    opt("max-msg-size", Kind::Int, "1048576", "largest message body in bytes", MESSAGES),
    opt("max-body-size", Kind::Int, "5242880", "largest MPUB or /mpub body in bytes", MESSAGES),
    opt("max-req-timeout", Kind::Duration, "1h", "longest delay a REQ may ask for", MESSAGES),
    opt(
        "max-defer-timeout",
        Kind::Duration,
        "0s",
        "longest delay a DPUB may ask for; 0s means max-req-timeout",
        MESSAGES,
    ),
    opt(
        "max-heartbeat-interval",
        Kind::Duration,
        "1m",
        "longest heartbeat interval a client may ask for",
        CLIENTS,
    ),
    opt("max-rdy-count", Kind::Int, "2500", "largest RDY", CLIENTS),
    opt("max-output-buffer-size", Kind::Int, "65536", "largest output buffer a client may ask for", CLIENTS),
    opt("max-output-buffer-timeout", Kind::Duration, "30s", "longest output buffer timeout", CLIENTS),
    opt("min-output-buffer-timeout", Kind::Duration, "25ms", "shortest output buffer timeout", CLIENTS),
    opt(
        "output-buffer-timeout",
        Kind::Duration,
        "250ms",
        "told to clients; messages are always sent at once",
        CLIENTS,
    ),
    opt(
        "max-channel-consumers",
        Kind::Int,
        "0",
        "consumers per channel on this broker; 0 means any number",
        CLIENTS,
    ),
    opt("max-deflate-level", Kind::Int, "6", "told to clients; deflate is not offered yet", CLIENTS),
];

const GENERAL: &str = "General";
const NETWORK: &str = "Network";
const STORAGE: &str = "Storage";
const MESSAGES: &str = "Messages";
const CLIENTS: &str = "Clients";

const fn opt(
    name: &'static str,
    kind: Kind,
    default: &'static str,
    help: &'static str,
    heading: &'static str,
) -> Opt {
    Opt { name, kind, default, help, heading }
}

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
    pub node_id: u64,
    pub log_level: String,
    pub log_prefix: String,
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
}

/// nsqd: a client is gone after twice its heartbeat interval, which is 30 s unless it asks otherwise.
const CLIENT_TIMEOUT: Duration = Duration::from_secs(60);

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
        let options = Self {
            values: values.clone(),
            data_path: or_default(values.text("data-path"), "."),
            mem_queue_size: number(values, "mem-queue-size", 0, i64::MAX)?,
            max_bytes_per_file: number(values, "max-bytes-per-file", 4096, i64::MAX)?,
            durability: durability(values)?,
            identity: Some(values.text("identity").to_owned()).filter(|name| !name.is_empty()),
            min_free: size(values, "min-free")?,
            memory_limit: memory_limit(values)?,
            tcp_address: values.text("tcp-address").to_owned(),
            http_address: values.text("http-address").to_owned(),
            broadcast_address: or_default(values.text("broadcast-address"), &hostname),
            broadcast_tcp_port: number(values, "broadcast-tcp-port", 0, 65535)?,
            broadcast_http_port: number(values, "broadcast-http-port", 0, 65535)?,
            lookupd_tcp_addresses: values.list("lookupd-tcp-address").to_vec(),
            topology_region: values.text("topology-region").to_owned(),
            topology_zone: values.text("topology-zone").to_owned(),
            http_client_request_timeout: values.duration("http-client-request-timeout"),
            node_id: node_id(values, &hostname)?,
            log_level: values.text("log-level").to_owned(),
            log_prefix: values.text("log-prefix").to_owned(),
            msg_timeout: at_least_ms(values, "msg-timeout")?,
            max_msg_timeout: at_least_ms(values, "max-msg-timeout")?,
            max_msg_size: number(values, "max-msg-size", 1, i64::from(i32::MAX))?,
            max_body_size: number(values, "max-body-size", 1, i64::from(i32::MAX))?,
            max_req_timeout,
            max_defer_timeout: Some(values.duration("max-defer-timeout"))
                .filter(|max| !max.is_zero())
                .unwrap_or(max_req_timeout),
            client_timeout: CLIENT_TIMEOUT,
            max_heartbeat_interval: values.duration("max-heartbeat-interval"),
            max_rdy_count: number(values, "max-rdy-count", 1, i64::MAX)?,
            max_output_buffer_size: number(values, "max-output-buffer-size", 0, i64::from(i32::MAX))?,
            max_output_buffer_timeout: values.duration("max-output-buffer-timeout"),
            min_output_buffer_timeout: values.duration("min-output-buffer-timeout"),
            output_buffer_timeout: values.duration("output-buffer-timeout"),
            max_channel_consumers: number(values, "max-channel-consumers", 0, i64::MAX)?,
            max_deflate_level: number(values, "max-deflate-level", 1, 9)?,
        };
        // An unused row would be an option that does nothing.
        let _no_effect = (
            values.is_on("verbose"),
            values.int("worker-id"),
            values.duration("http-client-connect-timeout"),
        );
        Ok(options)
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
    let value = values.int(name);
    let checked = (min..=max).contains(&value).then(|| T::try_from(value).ok()).flatten();
    checked.ok_or_else(|| match max {
        i64::MAX => format!("--{name}={value} is too small: at least {min}"),
        _ => format!("--{name}={value} is out of range: {min} to {max}"),
    })
}

fn at_least_ms(values: &Values, name: &str) -> Result<Duration, String> {
    let value = values.duration(name);
    let is_enough = value >= Duration::from_millis(1);
    is_enough.then_some(value).ok_or_else(|| format!("--{name} is too short: at least 1ms"))
}

/// An empty value is the default, which depends on the machine.
fn size(values: &Values, name: &str) -> Result<Option<u64>, String> {
    match values.text(name) {
        "" => Ok(None),
        text => daemon::size::parse(text).map(Some).map_err(|why| format!("--{name}: {why}")),
    }
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

fn durability(values: &Values) -> Result<Durability, String> {
    let name = values.text("durability");
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
            other => Err(format!("{other:?}")),
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
            ("--mem-queue-size=-1", "--mem-queue-size=-1 is too small: at least 0"),
            ("--durability=disk", "--durability=disk is unknown: memory, buffered or fsync"),
            ("--memory-limit=1M", "--memory-limit is too small: at least 16MiB"),
            ("--node-id=1024", "--node-id=1024 is out of range: 0 to 1023"),
            ("--max-deflate-level=0", "--max-deflate-level=0 is out of range: 1 to 9"),
            ("--msg-timeout=0s", "--msg-timeout is too short: at least 1ms"),
        ] {
            assert_eq!(options(&[arg]).unwrap_err(), expected);
        }
    }

    #[test]
    fn deferring_may_take_as_long_as_requeueing_unless_it_has_its_own_limit() {
        assert_eq!(options(&["-max-req-timeout=2h"]).unwrap().max_defer_timeout, Duration::from_secs(7200));
        assert_eq!(
            options(&["-max-defer-timeout", "5m"]).unwrap().max_defer_timeout,
            Duration::from_secs(300)
        );
    }
}
