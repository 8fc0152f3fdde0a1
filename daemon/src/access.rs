//! Who may do what over HTTP. Routes are of a few kinds; what a kind asks for depends on whether anything was configured
//! that could tell one caller from another. Without that everything is open, as with stock.

use std::fmt;
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::StatusCode;
use axum::http::header::{AUTHORIZATION, HeaderValue, WWW_AUTHENTICATE};
use axum::http::request::Parts;
use axum::middleware::Next;
use axum::response::Response;

use crate::http::{ClientCertificate, error, peer};
use crate::token::SharedToken;

/// What a route does. Every route has one, or it would be open by mistake.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Says whether the daemon is well.
    Probe,
    /// Shows names and counts, as consumers, KEDA and dashboards ask for without credentials.
    Read,
    /// Publishes to the topic in its query.
    Publish,
    /// Creates, deletes, empties, pauses, or shows what is configured.
    Change,
    /// Shows or changes the process itself.
    Debug,
}

/// What HTTP asks credentials for: `--http-auth`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Asks {
    Nothing,
    Writes,
    All,
}

/// Who may debug: `--debug-routes`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Debuggers {
    Loopback,
    All,
    Nobody,
}

/// What becomes of a request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Verdict {
    /// It goes on.
    Pass,
    /// It goes on if the auth server allows it to the bearer of this secret.
    Ask(Vec<u8>),
    /// Nobody known is asking.
    Unknown,
    /// It is not for this caller.
    Forbidden,
}

impl Verdict {
    /// The answer to a request that does not go on.
    pub fn refusal(&self) -> Response {
        if *self == Self::Forbidden {
            return error(StatusCode::FORBIDDEN, "FORBIDDEN");
        }
        let mut response = error(StatusCode::UNAUTHORIZED, "UNAUTHORIZED");
        response.headers_mut().insert(WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
        response
    }
}

/// In front of the routes of one kind, where there is no auth server to ask.
pub async fn keep(State((gate, kind)): State<(Arc<Gate>, Kind)>, request: Request, next: Next) -> Response {
    let (parts, body) = request.into_parts();
    match gate.judge(kind, &parts) {
        Verdict::Pass => next.run(Request::from_parts(parts, body)).await,
        verdict => verdict.refusal(),
    }
}

/// Keeps the routes of one daemon.
pub struct Gate {
    token: Arc<SharedToken>,
    asks: Asks,
    debuggers: Debuggers,
    trusts_certificates: bool,
    has_secrets: bool,
}

impl fmt::Debug for Gate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Gate").field("asks", &self.asks).finish_non_exhaustive()
    }
}

impl Gate {
    /// From the token of `--admin-token-file`, `--http-auth` and `--debug-routes`.
    ///
    /// # Errors
    /// A word is unknown.
    pub fn new(token: Arc<SharedToken>, http_auth: &str, debug_routes: &str) -> Result<Self, String> {
        let asks = match http_auth {
            "none" => Asks::Nothing,
            "writes" => Asks::Writes,
            "all" => Asks::All,
            other => return Err(format!("--http-auth={other} is unknown: none, writes or all")),
        };
        let debuggers = match debug_routes {
            "loopback" => Debuggers::Loopback,
            "all" => Debuggers::All,
            "none" => Debuggers::Nobody,
            other => return Err(format!("--debug-routes={other} is unknown: loopback, all or none")),
        };
        Ok(Self { token, asks, debuggers, trusts_certificates: false, has_secrets: false })
    }

    /// Who shows a certificate that was verified is let in.
    #[must_use]
    pub fn with_certificates(self, trusts_certificates: bool) -> Self {
        Self { trusts_certificates, ..self }
    }

    /// There is an auth server that knows secrets.
    #[must_use]
    pub fn with_secrets(self, has_secrets: bool) -> Self {
        Self { has_secrets, ..self }
    }

    /// May this request go on?
    pub fn judge(&self, kind: Kind, request: &Parts) -> Verdict {
        if kind == Kind::Debug && !self.lets_debug(request) {
            return Verdict::Forbidden;
        }
        if !self.is_kept(kind) {
            return Verdict::Pass;
        }
        if self.trusts_certificates && request.extensions.get::<ClientCertificate>().is_some() {
            return Verdict::Pass;
        }
        let Some(bearer) = bearer(request) else { return Verdict::Unknown };
        let is_admin =
            self.token.is_needed() && std::str::from_utf8(bearer).is_ok_and(|text| self.token.admits(text));
        if is_admin {
            return Verdict::Pass;
        }
        if self.has_secrets { Verdict::Ask(bearer.to_vec()) } else { Verdict::Unknown }
    }

    /// One line for the log at the start: what is open and what is not.
    pub fn summary(&self) -> String {
        let kinds = [
            (Kind::Probe, "probes"),
            (Kind::Read, "stats and lookups"),
            (Kind::Publish, "publishing"),
            (Kind::Change, "topics, channels and configuration"),
        ];
        let named = |is_kept| {
            let names: Vec<_> = kinds
                .iter()
                .filter(|(kind, _)| self.is_kept(*kind) == is_kept)
                .map(|(_, name)| *name)
                .collect();
            if names.is_empty() { "nothing".to_owned() } else { names.join(", ") }
        };
        let debug = match self.debuggers {
            Debuggers::Loopback => "/debug for this machine only",
            Debuggers::All => "/debug for everybody who may ask",
            Debuggers::Nobody => "/debug off",
        };
        format!("HTTP asks no credentials for {}; asks them for {}; {debug}", named(false), named(true))
    }

    fn is_on(&self) -> bool {
        self.token.is_needed() || self.trusts_certificates || self.has_secrets
    }

    fn is_kept(&self, kind: Kind) -> bool {
        let asks = if self.is_on() { self.asks } else { Asks::Nothing };
        match asks {
            Asks::Nothing => false,
            Asks::Writes => !matches!(kind, Kind::Probe | Kind::Read),
            Asks::All => kind != Kind::Probe,
        }
    }

    fn lets_debug(&self, request: &Parts) -> bool {
        match self.debuggers {
            Debuggers::All => true,
            Debuggers::Nobody => false,
            Debuggers::Loopback => peer(request).is_some_and(|peer| peer.ip().to_canonical().is_loopback()),
        }
    }
}

fn bearer(request: &Parts) -> Option<&[u8]> {
    let value = request.headers.get(AUTHORIZATION)?.as_bytes();
    let (scheme, token) = value.split_at_checked(7)?;
    scheme.eq_ignore_ascii_case(b"Bearer ").then(|| token.trim_ascii()).filter(|token| !token.is_empty())
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use axum::extract::ConnectInfo;

    use super::*;

    /// A gate of a daemon with this token; an empty one means none.
    fn gate(token: &str, asks: &str, debug: &str) -> Result<Gate, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("token");
        std::fs::write(&path, token).unwrap();
        let path = if token.is_empty() { "" } else { path.to_str().unwrap() };
        Gate::new(Arc::new(SharedToken::read(path).unwrap()), asks, debug)
    }

    fn request(bearer: &str, peer: &str) -> Parts {
        let mut builder = Request::builder();
        if !bearer.is_empty() {
            builder = builder.header(AUTHORIZATION, bearer);
        }
        let (mut parts, ()) = builder.body(()).unwrap().into_parts();
        parts.extensions.insert(ConnectInfo(peer.parse::<SocketAddr>().unwrap()));
        parts
    }

    const KINDS: [Kind; 5] = [Kind::Probe, Kind::Read, Kind::Publish, Kind::Change, Kind::Debug];

    fn verdicts(gate: &Gate, bearer: &str) -> String {
        let letter = |verdict| match verdict {
            Verdict::Pass => 'p',
            Verdict::Ask(_) => 'a',
            Verdict::Unknown => 'u',
            Verdict::Forbidden => 'f',
        };
        KINDS.iter().map(|&kind| letter(gate.judge(kind, &request(bearer, "127.0.0.1:1")))).collect()
    }

    #[test]
    fn every_kind_of_route_asks_for_what_was_configured() {
        let gate = |token: &str, asks: &str| gate(token, asks, "loopback").unwrap();
        // Probe, Read, Publish, Change, Debug.
        for (gate, bearer, expected) in [
            (gate("", "writes"), "", "ppppp"),
            (gate("", "all"), "", "ppppp"),
            (gate("admin", "none"), "", "ppppp"),
            (gate("admin", "writes"), "", "ppuuu"),
            (gate("admin", "writes"), "Bearer wrong", "ppuuu"),
            (gate("admin", "writes"), "Basic admin", "ppuuu"),
            (gate("admin", "writes"), "Bearer", "ppuuu"),
            (gate("admin", "writes"), "Bearer admin", "ppppp"),
            (gate("admin", "writes"), "bearer  admin ", "ppppp"),
            (gate("admin", "all"), "", "puuuu"),
            (gate("admin", "all"), "Bearer admin", "ppppp"),
            (gate("", "writes").with_secrets(true), "", "ppuuu"),
            (gate("", "writes").with_secrets(true), "Bearer s", "ppaaa"),
            (gate("admin", "all").with_secrets(true), "Bearer s", "paaaa"),
            (gate("", "writes").with_certificates(true), "", "ppuuu"),
        ] {
            assert_eq!(verdicts(&gate, bearer), expected, "{bearer:?} {}", gate.summary());
        }
    }

    #[test]
    fn a_verified_certificate_is_a_credential_where_certificates_are_verified() {
        let mut shown = request("", "10.0.0.1:1");
        shown.extensions.insert(ClientCertificate(vec![1].into()));
        let open = gate("", "writes", "all").unwrap();
        assert_eq!(open.with_certificates(true).judge(Kind::Change, &shown), Verdict::Pass);
        let gate = gate("t", "writes", "all").unwrap();
        assert_eq!(gate.judge(Kind::Change, &shown), Verdict::Unknown, "nobody looked who signed it");
    }

    #[test]
    fn debugging_is_for_this_machine_unless_asked() {
        for (routes, peer, expected) in [
            ("loopback", "127.0.0.1:9", Verdict::Pass),
            ("loopback", "[::1]:9", Verdict::Pass),
            ("loopback", "[::ffff:127.0.0.1]:9", Verdict::Pass),
            ("loopback", "10.0.0.1:9", Verdict::Forbidden),
            ("all", "10.0.0.1:9", Verdict::Pass),
            ("none", "127.0.0.1:9", Verdict::Forbidden),
        ] {
            let gate = gate("", "writes", routes).unwrap();
            assert_eq!(gate.judge(Kind::Debug, &request("", peer)), expected, "{routes} {peer}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_refused_at_the_start() {
        for (asks, debug, expected) in [
            ("some", "all", "--http-auth=some is unknown"),
            ("all", "some", "--debug-routes=some is unknown"),
        ] {
            let error = gate("", asks, debug).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
