//! In front of nsqd's routes: whoever may not, does not get to them. Which routes are of which kind is the table in
//! `http.rs`; what a kind asks for is decided in `daemon::access`; here the auth server is asked, if need be.

use std::sync::Arc;
use std::time::Instant;

use axum::extract::{Request, State};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;
use daemon::access::{Kind, Verdict};
use daemon::http::{Args, ClientCertificate, Encrypted, peer};

use super::Api;
use crate::auth::{Applicant, Grants};

pub(super) async fn keep(State((api, kind)): State<(Api, Kind)>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    let verdict = match api.broker.guards.gate.judge(kind, &parts) {
        Verdict::Ask(secret) => ask(&api, kind, secret, &parts).await,
        verdict => verdict,
    };
    match verdict {
        Verdict::Pass => next.run(Request::from_parts(parts, body)).await,
        verdict => verdict.refusal(),
    }
}

async fn ask(api: &Api, kind: Kind, secret: Vec<u8>, request: &Parts) -> Verdict {
    let Some(grants) = grants(api, secret, request).await else { return Verdict::Unknown };
    if grants.count() == 0 {
        // As over the wire: a secret that allows nothing is not good for reading either.
        return Verdict::Forbidden;
    }
    let is_allowed = match kind {
        Kind::Probe | Kind::Read => true,
        Kind::Publish => may_publish(&grants, request),
        // Secrets are for messages; what they are kept in is an admin's matter.
        Kind::Change | Kind::Debug => false,
    };
    if is_allowed { Verdict::Pass } else { Verdict::Forbidden }
}

/// A request without a topic publishes nothing: its own route tells it what is missing.
fn may_publish(grants: &Grants, request: &Parts) -> bool {
    let args = Args::parse(request.uri.query().unwrap_or_default());
    match args.as_ref().ok().and_then(|args| args.optional("topic")) {
        Some(topic) => grants.may_publish(topic),
        None => true,
    }
}

async fn grants(api: &Api, secret: Vec<u8>, request: &Parts) -> Option<Arc<Grants>> {
    let guards = &api.broker.guards;
    // As over the wire: a name that nobody has signed is none.
    let shown =
        request.extensions.get::<ClientCertificate>().filter(|_| guards.encryption.verifies_clients());
    let who = Applicant {
        secret,
        remote_ip: peer(request).map_or_else(String::new, |peer| peer.ip().to_string()),
        common_name: shown.and_then(|shown| daemon::tls::common_name(&shown.0)).unwrap_or_default(),
        is_tls: request.extensions.get::<Encrypted>().is_some(),
    };
    if let Some(known) = guards.remembered.find(&who, Instant::now()) {
        return Some(known);
    }
    let grants = Arc::new(guards.auth.as_ref()?.ask(&who).await.ok()?);
    guards.remembered.keep(who, &grants, Instant::now());
    Some(grants)
}
