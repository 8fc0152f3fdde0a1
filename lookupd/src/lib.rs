//! nsqlookupd: brokers say here which topics and channels they have, consumers ask where a topic is.
//!
//! `registry` knows (pure), `answers` is its JSON, `session` serves brokers over TCP (as many as have `seats`), `http` everybody over
//! HTTP, `state` is what both share, `options` the flags. `serve` starts it all inside any tokio runtime.

mod answers;
mod http;
mod metrics;
mod options;
mod registry;
mod seats;
mod session;
mod state;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use daemon::access::Gate;
use daemon::listen::{self, ListenError};
use daemon::options::{Program, Sources, Values};
use daemon::reload::Reload;
use daemon::shutdown::Shutdown;
use daemon::token::SharedToken;
use daemon::{host, signals, start, telemetry, version};
use protocol::lookup::LookupdInfo;
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

pub use options::Options;

use crate::registry::Rules;
use crate::seats::Seats;
use crate::state::State;

/// The binary's name, also when another binary runs it.
pub const BINARY: &str = "nsqlookupd";

/// A started nsqlookupd; dropping it does not stop it, the shutdown does.
#[derive(Debug)]
pub struct Running {
    /// Where brokers connect, with the real port.
    pub tcp_address: SocketAddr,
    /// Where HTTP is served, with the real port.
    pub http_address: SocketAddr,
    /// Ends when all connections have ended after the shutdown.
    pub done: JoinHandle<io::Result<()>>,
}

/// Why nsqlookupd cannot start.
#[derive(Debug)]
pub enum ServeError {
    /// An address cannot be listened on.
    Listen(ListenError),
    /// A bound socket does not tell its address.
    Address(io::Error),
    /// A word that says who may do what is unknown.
    Gate(String),
    /// The file of the token cannot be used.
    Token(String),
}

impl fmt::Display for ServeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Listen(error) => error.fmt(f),
            Self::Gate(why) => f.write_str(why),
            Self::Token(why) => write!(f, "--admin-token-file: {why}"),
            Self::Address(error) => write!(f, "cannot tell the address of a listening socket: {error}"),
        }
    }
}

impl std::error::Error for ServeError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            Self::Listen(error) => Some(error),
            Self::Address(error) => Some(error),
            Self::Token(_) | Self::Gate(_) => None,
        }
    }
}

/// Starts listening; returns once both addresses accept connections.
///
/// # Errors
/// An address cannot be listened on. Nothing is left running then.
pub async fn serve(options: Options, shutdown: Shutdown, reload: &Reload) -> Result<Running, ServeError> {
    let token = Arc::new(SharedToken::read(&options.admin_token_file).map_err(ServeError::Token)?);
    let gate =
        Gate::new(Arc::clone(&token), &options.http_auth, &options.debug_routes).map_err(ServeError::Gate)?;
    tracing::info!("{}", gate.summary());
    let seats = Seats::new(options.max_connections, options.max_connections_per_ip);
    let tcp = listen::bind(&options.tcp_address, options::TCP_ADDRESS).await.map_err(ServeError::Listen)?;
    let http =
        listen::bind(&options.http_address, options::HTTP_ADDRESS).await.map_err(ServeError::Listen)?;
    let tcp_address = tcp.local_addr().map_err(ServeError::Address)?;
    let http_address = http.local_addr().map_err(ServeError::Address)?;
    tracing::info!("TCP: listening on {tcp_address}");
    tracing::info!("HTTP: listening on {http_address}");
    let about = LookupdInfo {
        broadcast_address: options.broadcast_address,
        hostname: host::hostname(),
        http_port: http_address.port(),
        tcp_port: tcp_address.port(),
        version: version::VERSION.to_owned(),
    };
    let rules = Rules {
        inactive_after: options.inactive_producer_timeout,
        tombstone: options.tombstone_lifetime,
        registrations_max: or_any(options.max_registrations),
        broker_registrations_max: or_any(options.max_registrations_per_connection),
    };
    tokio::spawn(Arc::clone(&token).follow(reload.subscribe(), shutdown.clone()));
    let state = Arc::new(State::new(rules, about, token));
    let router = http::router(Arc::clone(&state), gate);
    let done = tokio::spawn(async move {
        let web = daemon::http::serve(http, router, shutdown.clone());
        let (served, ()) = tokio::join!(web, accept(tcp, state, seats, shutdown));
        served
    });
    Ok(Running { tcp_address, http_address, done })
}

/// The whole program: flags, logs, signals, exit code. `args` starts with the program's own name.
pub fn main_with_args(args: Vec<String>) -> ExitCode {
    let sources = Sources::of_process(&PROGRAM, args.into_iter().skip(1));
    let (values, options) = match start::start(&sources, Options::from_values, options::problems_around) {
        Ok(started) => started,
        Err(code) => return code,
    };
    match run(sources, values, options) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            telemetry::fatal(&why);
            ExitCode::FAILURE
        }
    }
}

const PROGRAM: Program =
    Program { binary: BINARY, about: "Tells consumers which brokers have a topic.", table: options::TABLE };

/// Without a pause a process out of file descriptors would spin on accept.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

fn run(sources: Sources, values: Values, options: Options) -> Result<(), String> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| format!("cannot start the runtime: {error}"))?;
    runtime.block_on(async {
        let (shutdown, reload) = (Shutdown::new(), Reload::new());
        signals::listen(&shutdown, &reload).map_err(|error| format!("cannot listen to signals: {error}"))?;
        tracing::info!("{}", version::version_line(BINARY));
        tokio::spawn(start::follow(sources, values, reload.subscribe()));
        let running = serve(options, shutdown.clone(), &reload).await;
        let ended = running.map_err(|error| error.to_string())?.done.await;
        ended.map_err(|error| error.to_string())?.map_err(|error| error.to_string())?;
        shutdown.failure().map_or(Ok(()), Err)
    })
}

/// Accepts brokers until shutdown, which also ends their sessions: there is nothing to drain.
async fn accept(listener: TcpListener, state: Arc<State>, seats: Seats, shutdown: Shutdown) {
    // A panic stays inside its session's task.
    let mut sessions = JoinSet::new();
    loop {
        tokio::select! {
            () = shutdown.wait() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, peer)) => {
                    let peer = listen::canonical(peer);
                    match seats.take(peer.ip()) {
                        Ok(seat) => {
                            let state = Arc::clone(&state);
                            sessions.spawn(async move {
                                let _seat = seat;
                                session::run(stream, peer, state).await;
                            });
                        }
                        // With the client as a field, so that a flood of them is cut short.
                        Err(why) => tracing::warn!(client = %peer, "TCP: closed at once: {why} already"),
                    }
                }
                Err(error) => {
                    tracing::warn!("TCP: cannot accept a connection: {error}");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = sessions.join_next() => {}
        }
    }
    sessions.shutdown().await;
}

fn or_any(limit: usize) -> usize {
    if limit == 0 { usize::MAX } else { limit }
}
