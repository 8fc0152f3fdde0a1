//! Certificates of a daemon: what it shows to clients, which certificates it asks of them, and reading the files again
//! while connections live on. Reading is in `tls/load`, judging clients in `tls/clients`.

mod clients;
mod load;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use rustls::ServerConfig;
use rustls::pki_types::CertificateDer;

pub use clients::ClientPolicy;
pub use load::{ca_certificates, common_name};

use crate::reload::Reloads;
use crate::shutdown::Shutdown;

/// How often the files are looked at without being asked: Kubernetes replaces mounted secrets without a signal.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// Which files there are, and what they are for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsFiles {
    /// PEM: the certificate that is shown, then those between it and its authority.
    pub cert: PathBuf,
    /// PEM: its private key, PKCS#1, PKCS#8 or SEC1, not encrypted.
    pub key: PathBuf,
    /// What is asked of clients.
    pub policy: ClientPolicy,
    /// PEM: the authorities that sign clients' certificates.
    pub root_ca: Option<PathBuf>,
    /// TLS 1.2 is refused too.
    pub only_tls13: bool,
}

/// Why certificates cannot be used; the text names the file and what to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsError(String);

impl fmt::Display for TlsError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TlsError {}

impl TlsError {
    pub(crate) fn setup(error: impl fmt::Display) -> Self {
        Self(format!("cannot set up TLS: {error}"))
    }

    fn of(path: &Path, why: impl fmt::Display) -> Self {
        Self(format!("{}: {why}", path.display()))
    }
}

/// What a daemon shows and asks for now. New connections use it; a reload leaves those that exist alone.
pub struct Certificates {
    files: TlsFiles,
    current: RwLock<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    stamps: Vec<load::Stamp>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificates").field("files", &self.files).finish_non_exhaustive()
    }
}

impl Certificates {
    /// Read the files.
    ///
    /// # Errors
    /// A file is missing, is not PEM of its kind, or key and certificate do not belong together.
    pub fn load(files: TlsFiles) -> Result<Self, TlsError> {
        let current = read(&files)?;
        Ok(Self { files, current: RwLock::new(current) })
    }

    /// What the next connection is served with.
    pub fn server_config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().unwrap_or_else(PoisonError::into_inner).config)
    }

    /// What is asked of clients.
    pub fn policy(&self) -> ClientPolicy {
        self.files.policy
    }

    /// Read the files again.
    ///
    /// # Errors
    /// As for `load`; what was in use stays in use.
    pub fn reload(&self) -> Result<(), TlsError> {
        let fresh = read(&self.files)?;
        *self.current.write().unwrap_or_else(PoisonError::into_inner) = fresh;
        Ok(())
    }

    /// Read the files again whenever that is asked for, or they have changed, until shutdown.
    pub async fn follow(self: Arc<Self>, mut reloads: Reloads, shutdown: Shutdown) {
        // What was refused is not tried, and told, again until it changes.
        let mut refused = Vec::new();
        let mut look = tokio::time::interval(LOOK_EVERY);
        loop {
            let is_asked = tokio::select! {
                () = shutdown.wait() => return,
                () = reloads.next() => true,
                _ = look.tick() => false,
            };
            let stamps = load::stamps(&self.files);
            if !is_asked && (stamps == self.stamps() || stamps == refused) {
                continue;
            }
            match self.reload() {
                Ok(()) => tracing::info!("TLS: certificates were read again; new connections use them"),
                Err(error) => {
                    refused = stamps;
                    tracing::error!(
                        "TLS: the certificates in use stay, the new ones cannot be used: {error}"
                    );
                }
            }
        }
    }

    fn stamps(&self) -> Vec<load::Stamp> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).stamps.clone()
    }
}

/// The name a client's certificate bears, if a client showed one.
pub fn client_name(shown: Option<&[CertificateDer<'_>]>) -> Option<String> {
    common_name(shown?.first()?)
}

fn read(files: &TlsFiles) -> Result<Current, TlsError> {
    // Before the reading: a file that changes meanwhile is read again.
    let stamps = load::stamps(files);
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let versions = if files.only_tls13 { &[&rustls::version::TLS13][..] } else { rustls::ALL_VERSIONS };
    let shown = load::shown(files)?;
    let judge = clients::judge(files, &provider)?;
    let config = ServerConfig::builder_with_provider(provider).with_protocol_versions(versions);
    let config = config.map_err(TlsError::setup)?;
    let config = config.with_client_cert_verifier(judge).with_cert_resolver(Arc::new(shown));
    Ok(Current { config: Arc::new(config), stamps })
}

#[cfg(test)]
mod tests;
