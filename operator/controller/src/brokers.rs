//! Asking brokers over their control ports: how each stands to its topology, how far it is on its way out, where it is
//! registered. What follows from the answers is decided elsewhere; a broker that does not answer is no error here.

use std::net::IpAddr;
use std::time::Duration;

use daemon::http_client::{Ask, Credentials, Method, send};
use daemon::traces::{Kind, Scope};
use protocol::control::{
    DeleteRequest, DrainReport, DrainRequest, Health, Registrations, Topology, TopologyReport,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

/// Where brokers listen for the operator.
pub const PORT: u16 = 4153;

/// For everything but a topology.
const ANSWER_WITHIN: Duration = Duration::from_secs(5);
/// A broker that is given 10,000 topics writes as many files before it answers.
const TOPOLOGY_WITHIN: Duration = Duration::from_secs(60);

/// One broker's control port.
#[derive(Debug, Clone)]
pub struct Broker {
    address: String,
    who: Credentials,
    scope: Scope,
}

/// Why a broker did not do what it was asked.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Refusal {
    /// It said no, and why: its state does not allow it.
    Refused(String),
    /// It takes another token.
    Unauthorized,
    /// No answer, or none that can be read.
    Unreachable(String),
}

impl std::fmt::Display for Refusal {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Refused(why) | Self::Unreachable(why) => f.write_str(why),
            Self::Unauthorized => f.write_str(
                "it takes another token: its Secret was changed and its pod has not seen that yet",
            ),
        }
    }
}

impl Broker {
    /// The broker of the pod at `ip`. What it is asked is traced in `scope`.
    ///
    /// # Errors
    /// The token cannot stand in a header.
    pub fn new(ip: IpAddr, token: &str, scope: Scope) -> Result<Self, String> {
        let address = std::net::SocketAddr::new(ip, PORT).to_string();
        Ok(Self { address, who: Credentials::bearer(token)?, scope })
    }

    /// How it stands to its topology.
    ///
    /// # Errors
    /// It does not answer; likewise of all others here.
    pub async fn topology(&self) -> Result<TopologyReport, Refusal> {
        self.ask(Method::GET, "/control/topology", None::<&()>, ANSWER_WITHIN).await
    }

    /// Gives it a topology, and waits until all of it is there.
    ///
    /// # Errors
    /// As above, or it has a newer one.
    pub async fn declare(&self, topology: &Topology) -> Result<TopologyReport, Refusal> {
        self.ask(Method::PUT, "/control/topology", Some(topology), TOPOLOGY_WITHIN).await
    }

    /// How far it is on its way out.
    ///
    /// # Errors
    /// As above.
    pub async fn drain_report(&self) -> Result<DrainReport, Refusal> {
        self.ask(Method::GET, "/control/drain", None::<&()>, ANSWER_WITHIN).await
    }

    /// Has it take one step on its way out, or back.
    ///
    /// # Errors
    /// As above, or it is not that far.
    pub async fn step(&self, step: DrainStep, epoch: u64) -> Result<DrainReport, Refusal> {
        let path = format!("/control/{}", step.name());
        self.ask(Method::POST, &path, Some(&DrainRequest { epoch }), ANSWER_WITHIN).await
    }

    /// Has it delete a topic or channel. One that it does not have is deleted already.
    ///
    /// # Errors
    /// As above, or it is not empty and that was asked for.
    pub async fn delete(&self, request: &DeleteRequest) -> Result<(), Refusal> {
        self.send(Method::POST, "/control/delete", Some(request), ANSWER_WITHIN).await.map(drop)
    }

    /// Which nsqlookupds know all it has.
    ///
    /// # Errors
    /// As above.
    pub async fn registrations(&self) -> Result<Registrations, Refusal> {
        self.ask(Method::GET, "/control/registrations", None::<&()>, ANSWER_WITHIN).await
    }

    /// How it is. One that does not know the question has nothing to tell.
    ///
    /// # Errors
    /// It does not answer.
    pub async fn health(&self) -> Result<Health, Refusal> {
        self.ask(Method::GET, "/control/health", None::<&()>, ANSWER_WITHIN).await
    }

    async fn ask<T: DeserializeOwned>(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        within: Duration,
    ) -> Result<T, Refusal> {
        let answer = self.send(method, path, body, within).await?;
        let read = serde_json::from_slice(&answer);
        read.map_err(|error| Refusal::Unreachable(format!("{path}: its answer cannot be read: {error}")))
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        body: Option<&impl Serialize>,
        within: Duration,
    ) -> Result<bytes::Bytes, Refusal> {
        let body = body.map(serde_json::to_vec).transpose();
        let body =
            body.map_err(|error| Refusal::Unreachable(format!("{path}: {error}")))?.unwrap_or_default();
        let mut span = self.scope.begin(Kind::Client, || format!("{method} {path}"));
        span.set("server.address", self.address.as_str());
        let traceparent = span.traceparent();
        let ask =
            Ask { method, path, who: &self.who, traceparent: traceparent.as_deref(), body: body.into() };
        let answer = send(&self.address, ask, within).await;
        let outcome = match answer {
            Ok((200, body)) => Ok(body),
            Ok((401, _)) => Err(Refusal::Unauthorized),
            // Only POST /control/delete says so: it is not there, which is what was wanted.
            Ok((404, body)) if path == "/control/delete" => Ok(body),
            Ok((status, body)) => Err(Refusal::Refused(message(status, &body))),
            Err(error) => Err(Refusal::Unreachable(error.to_string())),
        };
        outcome.inspect_err(|refusal| span.fail(refusal))
    }
}

/// The steps of a drain that a broker takes when asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DrainStep {
    /// Refuse publishes.
    Drain,
    /// Write down that nothing is owed.
    Certify,
    /// Leave lookupds and consumers.
    Retire,
    /// Take publishes again.
    Undrain,
}

impl DrainStep {
    /// As in its route.
    pub fn name(self) -> &'static str {
        match self {
            Self::Drain => "drain",
            Self::Certify => "certify",
            Self::Retire => "retire",
            Self::Undrain => "undrain",
        }
    }
}

fn message(status: u16, body: &[u8]) -> String {
    #[derive(serde::Deserialize)]
    struct Said {
        message: String,
    }
    match serde_json::from_slice(body) {
        Ok(Said { message }) => message,
        Err(_) => format!("it answered {status}: {}", String::from_utf8_lossy(body)),
    }
}
