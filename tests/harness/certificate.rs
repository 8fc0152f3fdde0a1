//! A certificate for a daemon under test, and the configuration of a client that trusts it.

use std::path::PathBuf;
use std::sync::Arc;

use rustls::pki_types::CertificateDer;
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;

/// Made anew, for `localhost`, in files that live as long as this.
#[derive(Debug)]
pub struct Certificate {
    folder: TempDir,
    der: CertificateDer<'static>,
}

impl Certificate {
    /// Signed by itself.
    ///
    /// # Panics
    /// When it cannot be made or written.
    pub fn new() -> Self {
        let made = rcgen::generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
        let folder = TempDir::new().expect("a folder");
        std::fs::write(folder.path().join("cert.pem"), made.cert.pem()).expect("a file");
        std::fs::write(folder.path().join("key.pem"), made.signing_key.serialize_pem()).expect("a file");
        Self { folder, der: made.cert.der().clone() }
    }

    /// The flags that have a daemon show it.
    pub fn flags(&self) -> Vec<String> {
        let path = |name: &str| -> PathBuf { self.folder.path().join(name) };
        vec![
            format!("--tls-cert={}", path("cert.pem").display()),
            format!("--tls-key={}", path("key.pem").display()),
            "--https-address=127.0.0.1:0".to_owned(),
        ]
    }

    /// What a client needs that trusts it and nothing else.
    ///
    /// # Panics
    /// When the crate of TLS does not like it.
    pub fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> Arc<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(self.der.clone()).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions);
        let config = config.expect("versions").with_root_certificates(roots).with_no_client_auth();
        Arc::new(config)
    }
}

impl Default for Certificate {
    fn default() -> Self {
        Self::new()
    }
}
