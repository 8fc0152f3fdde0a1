//! Where a URL leads, and whose certificates HTTPS trusts.

use std::path::Path;
use std::sync::Arc;

use hyper::Uri;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio_rustls::TlsConnector;

use super::Credentials;
use crate::tls::{TlsError, ca_certificates};

/// A URL taken apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    host: String,
    port: u16,
    path: String,
    encrypted: Option<ServerName<'static>>,
    credentials: Credentials,
}

impl Endpoint {
    /// Reads `http://[NAME[:PASSWORD]@]HOST[:PORT][/PATH]` or the same with https.
    ///
    /// # Errors
    /// It is no such URL.
    pub fn parse(url: &str) -> Result<Self, String> {
        let uri: Uri = url.parse().map_err(|error| format!("no URL: {error}"))?;
        // nsqd: Go asks this machine where there is only a port.
        let here = uri.port_u16().map(|_| "localhost");
        let host =
            uri.host().filter(|host| !host.is_empty()).or(here).ok_or("there is no host in it")?.to_owned();
        let (encrypted, default_port) = match uri.scheme_str() {
            Some("http") => (None, 80),
            Some("https") => {
                let name = host.trim_matches(['[', ']']).to_owned();
                (Some(ServerName::try_from(name).map_err(|error| format!("{host}: {error}"))?), 443)
            }
            _ => return Err("only http and https can be asked".to_owned()),
        };
        let path = uri.path_and_query().map_or("/", |path| path.as_str()).to_owned();
        let user_info = uri.authority().and_then(|authority| authority.as_str().rsplit_once('@'));
        let credentials = user_info.map(|(user_info, _)| Credentials::of_url(user_info)).transpose()?;
        Ok(Self {
            host,
            port: uri.port_u16().unwrap_or(default_port),
            path,
            encrypted,
            credentials: credentials.unwrap_or_default(),
        })
    }

    /// For logs: the URL without what follows its path, and without who asks.
    pub fn name(&self) -> String {
        let scheme = if self.encrypted.is_some() { "https" } else { "http" };
        let path = self.path.split('?').next().unwrap_or_default();
        format!("{scheme}://{}:{}{path}", self.host, self.port)
    }

    pub(super) fn address(&self) -> String {
        format!("{}:{}", self.host, self.port)
    }

    pub(super) fn path_with(&self, query: &str) -> String {
        match query {
            "" => self.path.clone(),
            query if self.path.contains('?') => format!("{}&{query}", self.path),
            query => format!("{}?{query}", self.path),
        }
    }

    pub(super) fn credentials(&self) -> &Credentials {
        &self.credentials
    }

    pub(super) fn server_name(&self) -> Option<ServerName<'static>> {
        self.encrypted.clone()
    }
}

/// Whose certificates are believed.
#[derive(Clone)]
pub struct Trust(Arc<ClientConfig>);

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Trust")
    }
}

impl Trust {
    /// The authorities in this PEM file, or those of the system.
    ///
    /// # Errors
    /// The file cannot be used.
    pub fn new(ca: Option<&Path>) -> Result<Self, TlsError> {
        let mut roots = RootCertStore::empty();
        let found = match ca {
            Some(path) => ca_certificates(path)?,
            // A machine without any is no error: then HTTPS is to nobody.
            None => rustls_native_certs::load_native_certs().certs,
        };
        roots.add_parsable_certificates(found);
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let config = config.map_err(TlsError::setup)?;
        Ok(Self(Arc::new(config.with_root_certificates(roots).with_no_client_auth())))
    }

    pub(super) fn connector(&self) -> TlsConnector {
        TlsConnector::from(Arc::clone(&self.0))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_url_leads_to_a_host_a_port_and_a_path() {
        for (url, address, path) in [
            ("http://a:1/auth", "a:1", "/auth?x=1"),
            ("http://a", "a:80", "/?x=1"),
            ("https://a/b?c=d", "a:443", "/b?c=d&x=1"),
            ("http://[::1]:7/p", "[::1]:7", "/p?x=1"),
            ("http://:7/p", "localhost:7", "/p?x=1"),
            ("http://user:pass@:7", "localhost:7", "/?x=1"),
        ] {
            let endpoint = Endpoint::parse(url).unwrap();
            assert_eq!(
                (endpoint.address(), endpoint.path_with("x=1")),
                (address.to_owned(), path.to_owned())
            );
        }
        let named = Endpoint::parse("https://canary:pa%20ss@a:1/p").unwrap();
        assert_eq!((named.address(), named.name()), ("a:1".to_owned(), "https://a:1/p".to_owned()));
        assert_eq!(named.credentials(), &Credentials::of_url("canary:pa ss").unwrap());
        assert!(!format!("{named:?}").contains("canary"));
        for url in ["http://a:%@b/", "", "a:1", "ftp://a/", "http://", "http:///x"] {
            assert!(Endpoint::parse(url).is_err(), "{url}");
        }
    }
}
