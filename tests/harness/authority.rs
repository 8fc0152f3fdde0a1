//! A certificate authority of one test's own, the server certificate it gave to this machine, and what it gives to
//! clients, in files: clients that others wrote want an authority to trust, and some of them a name or an address to
//! check.

use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use tempfile::TempDir;

type Failure = Box<dyn std::error::Error>;

/// PEM files that go away with this value.
pub struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Authority {
    /// Make them. The server's names are `localhost` and `127.0.0.1`.
    ///
    /// # Panics
    /// When they cannot be made or written. So do all methods below.
    #[track_caller]
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap_or_else(|error| panic!("a folder for certificates: {error}"));
        let made = make(&folder).unwrap_or_else(|error| panic!("certificates: {error}"));
        let authority = Self { folder, issuer: made };
        authority.renew();
        authority
    }

    /// The authority, which clients are to trust.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// nsqd's `--tls-cert` and `--tls-key`, with HTTPS on any free port.
    pub fn flags(&self) -> Vec<String> {
        let file = |name| format!("--tls-{name}={}/{name}.pem", self.folder.path().display());
        vec![file("cert"), file("key"), "--https-address=127.0.0.1:0".to_owned()]
    }

    /// Put another server certificate, with another key, in place of the last.
    #[track_caller]
    pub fn renew(&self) {
        let (cert, key) = self.sign("localhost");
        for (name, text) in [("cert.pem", cert), ("key.pem", key)] {
            let written = std::fs::write(self.folder.path().join(name), text);
            written.unwrap_or_else(|error| panic!("{name}: {error}"));
        }
    }

    /// A client that trusts this authority; with a name, it shows a certificate of that name.
    #[track_caller]
    pub fn client(&self, name: Option<&str>) -> Arc<ClientConfig> {
        self.configure(name, rustls::ALL_VERSIONS).unwrap_or_else(|error| panic!("a client: {error}"))
    }

    /// A client without a certificate that speaks one version of TLS.
    #[track_caller]
    pub fn client_of(&self, version: &'static SupportedProtocolVersion) -> Arc<ClientConfig> {
        self.configure(None, &[version]).unwrap_or_else(|error| panic!("a client: {error}"))
    }

    fn configure(
        &self,
        name: Option<&str>,
        versions: &[&'static SupportedProtocolVersion],
    ) -> Result<Arc<ClientConfig>, Failure> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(self.ca())?)?;
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions)?;
        let config = config.with_root_certificates(roots);
        let Some(name) = name else { return Ok(Arc::new(config.with_no_client_auth())) };
        let (cert, key) = self.sign(name);
        let cert = CertificateDer::from_pem_slice(cert.as_bytes())?;
        let key = PrivateKeyDer::from_pem_slice(key.as_bytes())?;
        Ok(Arc::new(config.with_client_auth_cert(vec![cert], key)?))
    }

    /// PEM of a certificate and of its key.
    #[track_caller]
    fn sign(&self, name: &str) -> (String, String) {
        let signed = || -> Result<(String, String), Failure> {
            let mut params = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
            params.distinguished_name.push(DnType::CommonName, name);
            let key = KeyPair::generate()?;
            Ok((params.signed_by(&key, &self.issuer)?.pem(), key.serialize_pem()))
        };
        signed().unwrap_or_else(|error| panic!("a certificate for {name}: {error}"))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn make(folder: &TempDir) -> Result<Issuer<'static, KeyPair>, Failure> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "authority of one test");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let key = KeyPair::generate()?;
    std::fs::write(folder.path().join("ca.pem"), authority.self_signed(&key)?.pem())?;
    Ok(Issuer::new(authority, key))
}
