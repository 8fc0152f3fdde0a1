//! Who must encrypt: certificates and the rules of `--tls-required`, from the options.

use std::path::PathBuf;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::http::header::CONTENT_TYPE;
use axum::response::IntoResponse as _;
use daemon::tls::{Certificates, ClientPolicy, TlsFiles};

use crate::options::Tls;

/// What `--tls-*` asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Encryption {
    /// None: TLS is not offered.
    pub certificates: Option<Arc<Certificates>>,
    /// Who is refused without it.
    pub required: Required,
}

/// `--tls-required`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Required {
    /// TLS is offered to those who ask.
    #[default]
    Nobody,
    /// Clients must, HTTP need not.
    Clients,
    /// Clients and HTTP must.
    Everybody,
}

impl Encryption {
    /// Read the certificates.
    ///
    /// # Errors
    /// The options contradict each other, or a file cannot be used.
    pub(crate) fn load(options: &Tls) -> Result<Self, String> {
        let policy = ClientPolicy::from_flag(&options.client_auth_policy).ok_or_else(|| {
            let policy = &options.client_auth_policy;
            format!("--tls-client-auth-policy={policy} is unknown: require, require-verify or nothing")
        })?;
        let required = required(&options.required, policy)?;
        if options.cert.is_empty() && options.key.is_empty() {
            if required == Required::Nobody {
                return Ok(Self::default());
            }
            return Err("cannot require TLS client connections without TLS key and cert".to_owned());
        }
        if options.key.is_empty() {
            return Err("--tls-cert is given without --tls-key: TLS needs both".to_owned());
        }
        if options.cert.is_empty() {
            return Err("--tls-key is given without --tls-cert: TLS needs both".to_owned());
        }
        let path = |text: &str| (!text.is_empty()).then(|| PathBuf::from(text));
        let files = TlsFiles {
            cert: options.cert.clone().into(),
            key: options.key.clone().into(),
            policy,
            root_ca: path(&options.root_ca_file),
            only_tls13: only_tls13(&options.min_version)?,
        };
        let certificates = Certificates::load(files).map_err(|error| format!("TLS: {error}"))?;
        Ok(Self { certificates: Some(Arc::new(certificates)), required })
    }

    /// Must clients of the wire protocol encrypt?
    pub(crate) fn is_required_of_clients(&self) -> bool {
        self.required != Required::Nobody
    }

    /// Is it known of every encrypted client that its certificate is one of ours?
    pub(crate) fn verifies_clients(&self) -> bool {
        self.certificates.as_ref().is_some_and(|certificates| certificates.policy() == ClientPolicy::Verified)
    }

    /// Must HTTP be HTTPS?
    pub(crate) fn is_required_of_http(&self) -> bool {
        self.required == Required::Everybody
    }
}

/// nsqd: whoever asks for certificates of clients requires TLS.
fn required(flag: &str, policy: ClientPolicy) -> Result<Required, String> {
    match flag {
        "tcp-https" => Ok(Required::Clients),
        "true" => Ok(Required::Everybody),
        "false" | "" if policy == ClientPolicy::None => Ok(Required::Nobody),
        "false" | "" => Ok(Required::Everybody),
        other => Err(format!("--tls-required={other} is unknown: true, false or tcp-https")),
    }
}

/// TLS 1.0 and 1.1 are broken, and rustls has neither.
fn only_tls13(flag: &str) -> Result<bool, String> {
    match flag {
        "tls1.3" => Ok(true),
        "tls1.2" | "" => Ok(false),
        "tls1.0" | "tls1.1" => {
            tracing::warn!("--tls-min-version={flag}: older than TLS 1.2 is not spoken; tls1.2 is meant");
            Ok(false)
        }
        other => Err(format!("--tls-min-version={other} is unknown: tls1.2 or tls1.3")),
    }
}

/// What answers on plain HTTP when HTTPS is required. `port` is where that is.
pub(crate) fn refusing(port: Option<u16>) -> Router {
    // nsqd: this text, with its space, to every method and path.
    let body = format!("{{\"message\": \"TLS_REQUIRED\", \"https_port\": {}}}", port.map_or(-1, i32::from));
    Router::new().fallback(move || async move {
        let headers = [
            ("X-NSQ-Content-Type", "nsq; version=1.0"),
            (CONTENT_TYPE.as_str(), "application/json; charset=utf-8"),
        ];
        (StatusCode::FORBIDDEN, headers, body).into_response()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tls(change: impl FnOnce(&mut Tls)) -> Tls {
        let mut tls = Tls {
            cert: String::new(),
            key: String::new(),
            client_auth_policy: String::new(),
            root_ca_file: String::new(),
            required: "false".to_owned(),
            min_version: "tls1.2".to_owned(),
        };
        change(&mut tls);
        tls
    }

    #[test]
    fn what_cannot_be_is_refused_at_the_start() {
        for (options, expected) in [
            (
                tls(|tls| tls.required = "true".into()),
                "cannot require TLS client connections without TLS key and cert",
            ),
            (
                tls(|tls| tls.client_auth_policy = "require".into()),
                "cannot require TLS client connections without",
            ),
            (tls(|tls| tls.client_auth_policy = "ask".into()), "--tls-client-auth-policy=ask is unknown"),
            (tls(|tls| tls.cert = "a.pem".into()), "--tls-cert is given without --tls-key"),
            (tls(|tls| tls.key = "a.pem".into()), "--tls-key is given without --tls-cert"),
            (
                tls(|tls| (tls.cert, tls.key) = ("/no.pem".into(), "/no.key".into())),
                "TLS: /no.pem: cannot read the certificate",
            ),
        ] {
            let error = Encryption::load(&options).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }

    #[test]
    fn asking_for_certificates_requires_tls_of_everybody() {
        for (flag, policy, expected) in [
            ("false", ClientPolicy::None, Required::Nobody),
            ("true", ClientPolicy::None, Required::Everybody),
            ("tcp-https", ClientPolicy::None, Required::Clients),
            ("false", ClientPolicy::Any, Required::Everybody),
            ("tcp-https", ClientPolicy::Verified, Required::Clients),
        ] {
            assert_eq!(required(flag, policy), Ok(expected));
        }
    }
}
