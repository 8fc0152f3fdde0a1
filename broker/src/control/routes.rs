//! The control API over HTTP, on a listener of its own: who may ask, what is asked, what is answered. Bodies are the values
//! of `protocol::control` as JSON; every refusal is `{"message": sentence}`.

mod delete;

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode};
use axum::middleware::{Next, from_fn_with_state};
use axum::response::Response;
use axum::routing::{get, post};
use daemon::access::{self, Gate, Verdict};
use daemon::http::{Listener, Requests, error, finish, json, serve};
use daemon::listen::ListenError;
use daemon::token::SharedToken;
use daemon::traces::{Kind, Span, traceparent};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use protocol::control::{DrainRequest, Health, Registration, Registrations, Topology};
use serde::de::DeserializeOwned;

use super::drain::{self, Order};
use super::source::TOPOLOGY_BYTES_MAX;
use super::{Refusal, declared, declared::Made};
use crate::broker::Broker;
use crate::guards::Guards;
use crate::options::Options;

/// A request must be whole by then.
const BODY_WITHIN: Duration = Duration::from_secs(30);

/// Where the API is served, and what it asks for.
#[derive(Debug)]
pub(crate) struct Endpoint {
    listener: Listener,
    token: Arc<SharedToken>,
    gate: Arc<Gate>,
}

type Answer = Result<Response, Response>;

impl Endpoint {
    /// Listen, if that is asked for.
    ///
    /// # Errors
    /// The address cannot be listened on.
    pub(crate) async fn bind(options: &Options, guards: &Guards) -> Result<Option<Self>, ListenError> {
        let address = &options.control.control_address;
        if address.is_empty() {
            return Ok(None);
        }
        let listener = Listener::bind(address, "control-address").await?;
        let (token, gate) = guards.control.clone();
        Ok(Some(Self { listener, token, gate }))
    }

    /// Serve until shutdown.
    pub(crate) async fn serve(self, broker: Arc<Broker>) {
        tracing::info!("CONTROL: listening on {}", self.listener.name());
        let asks = if self.token.is_needed() { "a token" } else { "nothing" };
        tracing::info!("the control API asks for {asks}");
        let shutdown = broker.context.shutdown.clone();
        let _ended = serve(self.listener, router(broker, self.gate), shutdown).await;
    }
}

fn router(broker: Arc<Broker>, gate: Arc<Gate>) -> Router {
    let routes = Router::new()
        .route("/control/topology", get(topology).put(put_topology))
        .route("/control/drain", get(drain_report).post(drain))
        .route("/control/undrain", post(undrain))
        .route("/control/certify", post(certify))
        .route("/control/retire", post(retire))
        .route("/control/delete", post(delete::delete))
        .route("/control/registrations", get(registrations))
        .route("/control/health", get(health))
        .route_layer(from_fn_with_state(gate, keep))
        .with_state(broker);
    finish(routes, &Requests::default())
}

async fn keep(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match gate.judge(access::Kind::Change, &parts) {
        Verdict::Pass => next.run(Request::from_parts(parts, body)).await,
        _ => {
            let mut refusal = Verdict::Unknown.refusal();
            let told = "this needs the header Authorization: Bearer with the token of --control-token-file";
            *refusal.body_mut() = error(StatusCode::UNAUTHORIZED, told).into_body();
            refusal.headers_mut().remove("content-length");
            refusal
        }
    }
}

async fn topology(State(broker): State<Arc<Broker>>) -> Response {
    json(&crate::blocking::wait(|| declared::report(&broker)))
}

async fn put_topology(State(broker): State<Arc<Broker>>, headers: HeaderMap, body: Body) -> Answer {
    let tracer = broker.context.traces.tracer();
    let mut span = tracer.begin(Kind::Server, traceparent(&headers), || "apply topology".to_owned());
    let answer = apply_topology(broker, body, &mut span).await;
    if let Err(refusal) = &answer {
        span.fail(format_args!("answered {}", refusal.status()));
    }
    answer
}

async fn apply_topology(broker: Arc<Broker>, body: Body, span: &mut Span) -> Answer {
    let wanted: Topology = read(body).await?;
    span.set("nsq.topology.epoch", wanted.epoch);
    span.set("nsq.topology.topics", wanted.topics.len());
    let made = Arc::new(Made::below(span));
    // Who hangs up must not leave half of it undone.
    let accepted = tokio::spawn(async move {
        declared::accept(&broker, wanted, &made).await.map(|()| declared::report(&broker))
    });
    let report = joined(accepted.await)?;
    Ok(json(&report))
}

async fn drain_report(State(broker): State<Arc<Broker>>) -> Response {
    json(&crate::blocking::wait(|| drain::report(&broker)))
}

async fn drain(State(broker): State<Arc<Broker>>, body: Body) -> Answer {
    step(broker, Order::Drain, body).await
}

async fn undrain(State(broker): State<Arc<Broker>>, body: Body) -> Answer {
    step(broker, Order::Undrain, body).await
}

async fn certify(State(broker): State<Arc<Broker>>, body: Body) -> Answer {
    step(broker, Order::Certify, body).await
}

async fn retire(State(broker): State<Arc<Broker>>, body: Body) -> Answer {
    step(broker, Order::Retire, body).await
}

async fn step(broker: Arc<Broker>, order: Order, body: Body) -> Answer {
    let DrainRequest { epoch } = read(body).await?;
    let stepped = tokio::spawn(async move { drain::step(&broker, order, epoch).await });
    let report = joined(stepped.await)?;
    Ok(json(&report))
}

async fn registrations(State(broker): State<Arc<Broker>>) -> Response {
    let known = broker.lookups.registrations(broker.changes.count());
    let lookupds =
        known.into_iter().map(|(address, registered)| Registration { address, registered }).collect();
    json(&Registrations { lookupds })
}

async fn health(State(broker): State<Arc<Broker>>) -> Response {
    json(&Health { trouble: broker.context.health.error() })
}

fn joined<T>(outcome: Result<Result<T, Refusal>, tokio::task::JoinError>) -> Result<T, Response> {
    match outcome {
        Ok(Ok(value)) => Ok(value),
        Ok(Err(refusal)) => Err(refusal.answer()),
        Err(_) => {
            Err(error(StatusCode::INTERNAL_SERVER_ERROR, "the request ended in a bug of nsqd: see its log"))
        }
    }
}

async fn read<T: DeserializeOwned>(body: Body) -> Result<T, Response> {
    let limited = Limited::new(body, TOPOLOGY_BYTES_MAX).collect();
    let bytes = match tokio::time::timeout(BODY_WITHIN, limited).await {
        Ok(Ok(body)) => body.to_bytes(),
        Ok(Err(why)) if why.is::<LengthLimitError>() => {
            return Err(Refusal::TooBig("the body is larger than 32 MiB".to_owned()).answer());
        }
        Ok(Err(why)) => return Err(Refusal::Wrong(format!("the body ended early: {why}")).answer()),
        Err(_) => return Err(error(StatusCode::REQUEST_TIMEOUT, "the body did not come within 30 s")),
    };
    let parsed = crate::blocking::wait(|| serde_json::from_slice(&bytes));
    parsed.map_err(|why| Refusal::Wrong(format!("the body is not what is asked for: {why}")).answer())
}
