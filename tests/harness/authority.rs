//! A certificate authority of one test's own, and the server certificate it gave to this machine, in files: clients
//! that others wrote want an authority to trust, and some of them a name or an address to check.

use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, KeyUsagePurpose};
use tempfile::TempDir;

/// PEM files that go away with this value.
#[derive(Debug)]
pub struct Authority {
    folder: TempDir,
}

impl Authority {
    /// Make them. The server's names are `localhost` and `127.0.0.1`.
    ///
    /// # Panics
    /// When they cannot be made or written.
    #[track_caller]
    pub fn new() -> Self {
        let folder = TempDir::new().unwrap_or_else(|error| panic!("a folder for certificates: {error}"));
        make(folder.path()).unwrap_or_else(|error| panic!("certificates: {error}"));
        Self { folder }
    }

    /// The authority, which clients are to trust.
    pub fn ca(&self) -> PathBuf {
        self.folder.path().join("ca.pem")
    }

    /// nsqd's `--tls-cert` and `--tls-key`.
    pub fn flags(&self) -> [String; 2] {
        ["cert", "key"].map(|name| format!("--tls-{name}={}/{name}.pem", self.folder.path().display()))
    }
}

impl Default for Authority {
    fn default() -> Self {
        Self::new()
    }
}

fn make(folder: &Path) -> Result<(), Box<dyn std::error::Error>> {
    let mut authority = CertificateParams::new(Vec::new())?;
    authority.distinguished_name.push(DnType::CommonName, "authority of one test");
    authority.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    authority.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    let authority_key = KeyPair::generate()?;
    std::fs::write(folder.join("ca.pem"), authority.self_signed(&authority_key)?.pem())?;
    let issuer = Issuer::new(authority, authority_key);

    let mut server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
    server.distinguished_name.push(DnType::CommonName, "localhost");
    let key = KeyPair::generate()?;
    std::fs::write(folder.join("cert.pem"), server.signed_by(&key, &issuer)?.pem())?;
    std::fs::write(folder.join("key.pem"), key.serialize_pem())?;
    Ok(())
}
