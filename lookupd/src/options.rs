//! Every option of nsqlookupd once, and what of it the service needs. How flags are read lives in
//! `daemon::options`.

use std::time::Duration;

use daemon::host::hostname;
use daemon::options::{Kind, Opt, Values};

/// What a running nsqlookupd goes by.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Options {
    /// Where brokers connect, `HOST:PORT`; port 0 takes any free one.
    pub tcp_address: String,
    /// Where HTTP is served, `HOST:PORT`.
    pub http_address: String,
    /// The name brokers are told to use for our HTTP. If they cannot resolve it, a new topic starts without
    /// the channels it has elsewhere.
    pub broadcast_address: String,
    /// A broker silent for longer is left out of answers.
    pub inactive_producer_timeout: Duration,
    /// How long a tombstoned broker is left out of a topic's answers.
    pub tombstone_lifetime: Duration,
}

impl Options {
    /// From the command line. An empty broadcast address means the host's name.
    pub fn from_values(values: &Values) -> Self {
        let broadcast_address = match values.text("broadcast-address") {
            "" => hostname(),
            given => given.to_owned(),
        };
        Self {
            tcp_address: values.text(TCP_ADDRESS).to_owned(),
            http_address: values.text(HTTP_ADDRESS).to_owned(),
            broadcast_address,
            inactive_producer_timeout: values.duration("inactive-producer-timeout"),
            tombstone_lifetime: values.duration("tombstone-lifetime"),
        }
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            tcp_address: "0.0.0.0:4160".to_owned(),
            http_address: "0.0.0.0:4161".to_owned(),
            broadcast_address: hostname(),
            inactive_producer_timeout: Duration::from_secs(300),
            tombstone_lifetime: Duration::from_secs(45),
        }
    }
}

pub(crate) const TCP_ADDRESS: &str = "tcp-address";
pub(crate) const HTTP_ADDRESS: &str = "http-address";

pub(crate) const TABLE: &[Opt] = &[
    Opt {
        name: TCP_ADDRESS,
        kind: Kind::Text,
        default: "0.0.0.0:4160",
        help: "HOST:PORT where brokers connect",
        heading: "Network",
    },
    Opt {
        name: HTTP_ADDRESS,
        kind: Kind::Text,
        default: "0.0.0.0:4161",
        help: "HOST:PORT of the HTTP API",
        heading: "Network",
    },
    Opt {
        name: "broadcast-address",
        kind: Kind::Text,
        default: "",
        help: "Name brokers use to reach the HTTP API; the host's name if not given",
        heading: "Network",
    },
    Opt {
        name: "inactive-producer-timeout",
        kind: Kind::Duration,
        default: "5m0s",
        help: "Leave a broker out of answers after this long without a sign of life",
        heading: "Registry",
    },
    Opt {
        name: "tombstone-lifetime",
        kind: Kind::Duration,
        default: "45s",
        help: "Leave a tombstoned broker out of a topic's answers for this long",
        heading: "Registry",
    },
    Opt {
        name: "log-level",
        kind: Kind::Text,
        default: "info",
        help: "debug, info, warn, error or fatal",
        heading: "Logging",
    },
    Opt {
        name: "log-prefix",
        kind: Kind::Text,
        default: "[nsqlookupd] ",
        help: "What every log line starts with",
        heading: "Logging",
    },
    Opt {
        name: "verbose",
        kind: Kind::Bool,
        default: "false",
        help: "No effect; use --log-level=debug",
        heading: "Logging",
    },
];

#[cfg(test)]
mod tests {
    use daemon::options::{Parsed, parse, table_problems};

    use super::*;

    fn values(args: &[&str]) -> Values {
        match parse("nsqlookupd", "", TABLE, args) {
            Ok(Parsed::Run(values)) => values,
            other => panic!("{args:?}: {other:?}"),
        }
    }

    #[test]
    fn table_is_sound() {
        assert_eq!(table_problems(TABLE), Vec::<String>::new());
    }

    #[test]
    fn no_flags_mean_the_defaults() {
        let values = values(&[]);
        assert_eq!(Options::from_values(&values), Options::default());
        assert_eq!(values.unknown_names(), Vec::<String>::new());
    }

    #[test]
    fn flags_reach_the_options() {
        let args =
            ["-tcp-address=:1", "-http-address", ":2", "--broadcast-address=x", "-tombstone-lifetime=1s"];
        let options = Options::from_values(&values(&args));
        let expected = Options {
            tcp_address: ":1".to_owned(),
            http_address: ":2".to_owned(),
            broadcast_address: "x".to_owned(),
            tombstone_lifetime: Duration::from_secs(1),
            ..Options::default()
        };
        assert_eq!(options, expected);
    }
}
