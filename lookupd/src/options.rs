//! What nsqlookupd was started with. Each option's name, kind, default and help is a row of `options/table.rs`; how
//! flags, files and the environment are read lives in `daemon::options`.

use std::time::Duration;

use daemon::address::problem_of_listener;
use daemon::host::hostname;
use daemon::options::Values;
use daemon::token::SharedToken;

mod table;

pub(crate) use table::{HTTP_ADDRESS, TABLE, TCP_ADDRESS};

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
    /// Connections of brokers at a time; 0 means what the limit of open files leaves.
    pub max_connections: usize,
    /// Connections of brokers at a time from one address; 0 means any number.
    pub max_connections_per_ip: usize,
    /// Topics and channels, and which broker has them, counted one by one.
    pub max_registrations: usize,
    /// Topics and channels of one connection.
    pub max_registrations_per_connection: usize,
    /// File with the token that registrations and writes must bear; empty means that nobody is asked.
    pub admin_token_file: String,
    /// With a token, what HTTP asks it for: `none`, `writes` or `all`.
    pub http_auth: String,
    /// Who may use /debug: `loopback`, `all` or `none`.
    pub debug_routes: String,
}

impl Options {
    /// An empty broadcast address means the host's name.
    ///
    /// # Errors
    /// The first value that cannot be used, with the flag's name and what is allowed.
    pub fn from_values(values: &Values) -> Result<Self, String> {
        let broadcast_address = match values.text("broadcast-address") {
            "" => hostname(),
            given => given.to_owned(),
        };
        let count = |name| values.number(name, 0, i64::MAX);
        Ok(Self {
            tcp_address: listener(values.text(TCP_ADDRESS)),
            http_address: listener(values.text(HTTP_ADDRESS)),
            broadcast_address,
            inactive_producer_timeout: values.duration("inactive-producer-timeout"),
            tombstone_lifetime: values.duration("tombstone-lifetime"),
            max_connections: count("max-connections")?,
            max_connections_per_ip: count("max-connections-per-ip")?,
            max_registrations: count("max-registrations")?,
            max_registrations_per_connection: count("max-registrations-per-connection")?,
            admin_token_file: values.text("admin-token-file").to_owned(),
            http_auth: values.text("http-auth").to_owned(),
            debug_routes: values.text("debug-routes").to_owned(),
        })
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
            max_connections: 0,
            max_connections_per_ip: 0,
            max_registrations: 1_000_000,
            max_registrations_per_connection: 100_000,
            admin_token_file: String::new(),
            http_auth: "writes".to_owned(),
            debug_routes: "loopback".to_owned(),
        }
    }
}

/// nsqlookupd: without an address it is any free port.
fn listener(address: &str) -> String {
    if address.is_empty() { ":0".to_owned() } else { address.to_owned() }
}

/// What is wrong around these options, for `--check-config`.
pub(crate) fn problems_around(options: &Options) -> Vec<String> {
    let listener = |flag, text| problem_of_listener(text).map(|why| format!("--{flag}: {why}"));
    let token = SharedToken::read(&options.admin_token_file).err();
    [
        listener(TCP_ADDRESS, &options.tcp_address),
        listener(HTTP_ADDRESS, &options.http_address),
        token.map(|why| format!("--admin-token-file: {why}")),
    ]
    .into_iter()
    .flatten()
    .collect()
}

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
        assert_eq!(Options::from_values(&values), Ok(Options::default()));
        assert_eq!(values.unknown_names(), Vec::<String>::new());
    }

    #[test]
    fn what_cannot_be_is_refused_or_found_by_a_check() {
        let error = Options::from_values(&values(&["--max-connections=-1"])).unwrap_err();
        assert_eq!(error, "--max-connections=-1 is too small: at least 0");
        let args = ["--tcp-address=4160", "--http-address=[::1:4161", "--admin-token-file=/nowhere/token"];
        let problems = problems_around(&Options::from_values(&values(&args)).unwrap());
        assert_eq!(problems.len(), 3, "{problems:?}");
        assert_eq!(problems_around(&Options::default()), Vec::<String>::new());
    }

    #[test]
    fn what_stock_takes_is_taken() {
        let args = ["--tcp-address=", "--http-address=", "--tombstone-lifetime=-1s"];
        let values = values(&args);
        let options = Options::from_values(&values).unwrap();
        assert_eq!((options.tcp_address.as_str(), options.http_address.as_str()), (":0", ":0"));
        assert_eq!(options.tombstone_lifetime, Duration::ZERO);
        assert_eq!(values.remarks(), ["--tombstone-lifetime=-1s cannot be; it is 0s"]);
        assert_eq!(problems_around(&options), Vec::<String>::new());
    }

    #[test]
    fn flags_reach_the_options() {
        let args =
            ["-tcp-address=:1", "-http-address", ":2", "--broadcast-address=x", "-tombstone-lifetime=1s"];
        let options = Options::from_values(&values(&args)).unwrap();
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
