//! Every option of nsqlookupd once: name, kind, default, help. The command line, the file of `--config`, the
//! environment, `--help` and the reference page come from this table.

use daemon::options::{Kind, Opt};

pub(crate) const TCP_ADDRESS: &str = "tcp-address";
pub(crate) const HTTP_ADDRESS: &str = "http-address";

/// The table.
pub(crate) const TABLE: &[Opt] = &[
    Opt::new(
        "config",
        Kind::Text,
        "",
        "TOML file of options; flags and environment variables come before it",
        GENERAL,
    ),
    Opt::new(
        "config-strict",
        Kind::Bool,
        "false",
        "a key of the file that is unknown is an error, not a warning",
        GENERAL,
    ),
    Opt::new(
        "check-config",
        Kind::Bool,
        "false",
        "check all options and the file, say what is wrong with them, and exit",
        GENERAL,
    ),
    Opt::new(
        "log-level",
        Kind::Choice(&["debug", "info", "warn", "error", "fatal"]),
        "info",
        "the least that is logged",
        GENERAL,
    ),
    Opt::new("log-prefix", Kind::Text, "[nsqlookupd] ", "what each log line begins with", GENERAL),
    Opt::new(
        "log-format",
        Kind::Choice(&["text", "json", "logfmt", "auto"]),
        "text",
        "text as stock NSQ, json, logfmt, or auto: text on a terminal, json elsewhere",
        GENERAL,
    ),
    Opt::new("verbose", Kind::Bool, "false", "no effect, accepted for old scripts", GENERAL),
    Opt::new(TCP_ADDRESS, Kind::Text, "0.0.0.0:4160", "<addr>:<port> to listen on for brokers", NETWORK),
    Opt::new(HTTP_ADDRESS, Kind::Text, "0.0.0.0:4161", "<addr>:<port> to listen on for HTTP", NETWORK),
    Opt::new(
        "broadcast-address",
        Kind::Text,
        "",
        "name brokers are told to use for the HTTP API; empty means the hostname",
        NETWORK,
    ),
    Opt::new(
        "max-connections",
        Kind::Int,
        "0",
        "broker connections at a time; 0 means what the limit of open files leaves",
        NETWORK,
    ),
    Opt::new(
        "max-connections-per-ip",
        Kind::Int,
        "0",
        "broker connections at a time from one address; 0 means any number",
        NETWORK,
    ),
    Opt::new(
        "inactive-producer-timeout",
        Kind::Duration,
        "5m",
        "leave a broker out of answers after this long without a sign of life",
        REGISTRY,
    ),
    Opt::new(
        "tombstone-lifetime",
        Kind::Duration,
        "45s",
        "leave a tombstoned broker out of a topic's answers for this long",
        REGISTRY,
    ),
    Opt::new(
        "max-registrations",
        Kind::Int,
        "1000000",
        "topics and channels, and which broker has them, counted one by one; 0 means any number",
        REGISTRY,
    ),
    Opt::new(
        "max-registrations-per-connection",
        Kind::Int,
        "100000",
        "topics and channels one broker may register; 0 means any number",
        REGISTRY,
    ),
    Opt::new(
        "admin-token-file",
        Kind::Text,
        "",
        "file with the token that brokers must register with and that HTTP requests must bear to change anything",
        SECURITY,
    ),
    Opt::new(
        "http-auth",
        Kind::Choice(&["none", "writes", "all"]),
        "writes",
        "with a token, what HTTP asks it for: none (as stock), writes, or all but probes",
        SECURITY,
    ),
    Opt::new(
        "debug-routes",
        Kind::Choice(&["loopback", "all", "none"]),
        "loopback",
        "who may use /debug: loopback, all, or none",
        SECURITY,
    ),
];

const GENERAL: &str = "General";
const NETWORK: &str = "Network";
const REGISTRY: &str = "Registry";
const SECURITY: &str = "Security";
