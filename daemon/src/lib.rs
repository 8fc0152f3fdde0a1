//! What every daemon shares: flags, log lines, listening, HTTP replies and serving, a small HTTP client,
//! traces, shutdown, signals. Nothing here knows a topic or a channel; what a flag means or a route answers lives in the
//! daemon that owns it.

pub mod access;
pub mod address;
pub mod dial;
pub mod duration;
pub mod host;
pub mod http;
pub mod http_client;
pub mod listen;
pub mod metrics;
pub mod options;
pub mod reload;
pub mod shutdown;
pub mod signals;
pub mod size;
pub mod start;
pub mod telemetry;
pub mod tls;
pub mod token;
pub mod traces;
pub mod version;
