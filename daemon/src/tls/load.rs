//! Reading certificates and keys from PEM files. What is shown to clients is theirs to judge, so that our own certificate
//! may be expired, self-signed, of version 1 or signed with SHA-1, as with stock.

use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rustls::pki_types::pem::{Error as PemError, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{Error, InconsistentKeys};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use super::{TlsError, TlsFiles};

/// When a file changed last, and its length; none while it is not there.
pub(super) type Stamp = Option<(SystemTime, u64)>;

/// One for each file, through links: Kubernetes changes where a link leads.
pub(super) fn stamps(files: &TlsFiles) -> Vec<Stamp> {
    let paths = [Some(&files.cert), Some(&files.key), files.root_ca.as_ref()];
    let stamp = |path| {
        let about = std::fs::metadata::<&Path>(path).ok()?;
        Some((about.modified().ok()?, about.len()))
    };
    paths.into_iter().flatten().map(|path| stamp(path)).collect()
}

/// What every client is shown.
#[derive(Debug)]
pub(super) struct Shown(Arc<CertifiedKey>);

impl ResolvesServerCert for Shown {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.0))
    }
}

/// Certificate and key of the daemon.
pub(super) fn shown(files: &TlsFiles) -> Result<Shown, TlsError> {
    let chain = certificates(&files.cert)?;
    let key = PrivateKeyDer::from_pem_file(&files.key)
        .map_err(|error| refused(&files.key, &error, "private key"))?;
    let key = rustls::crypto::ring::sign::any_supported_type(&key).map_err(|error| {
        TlsError::of(&files.key, format_args!("this kind of key cannot be used ({error}); RSA of 2048 bits or more, ECDSA P-256 or P-384, and Ed25519 can"))
    })?;
    let certified = CertifiedKey::new(chain, key);
    // Anything but a mismatch means that the certificate is of an old kind that the check cannot read.
    if let Err(Error::InconsistentKeys(InconsistentKeys::KeyMismatch)) = certified.keys_match() {
        let why = format!("this key is not the one of the certificate in {}", files.cert.display());
        return Err(TlsError::of(&files.key, why));
    }
    Ok(Shown(Arc::new(certified)))
}

/// The authorities in a PEM file.
///
/// # Errors
/// The file cannot be read or holds no certificate.
pub fn ca_certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    certificates(path)
}

/// The common name of a certificate's subject: what auth servers are told of a client.
pub fn common_name(certificate: &CertificateDer<'_>) -> Option<String> {
    let (_, parsed) = X509Certificate::from_der(certificate).ok()?;
    let name = parsed.subject().iter_common_name().next()?;
    name.as_str().ok().map(str::to_owned)
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let read = CertificateDer::pem_file_iter(path).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let found = read.map_err(|error| refused(path, &error, "certificate"))?;
    if found.is_empty() {
        return Err(refused(path, &PemError::NoItemsFound, "certificate"));
    }
    Ok(found)
}

fn refused(path: &Path, error: &PemError, what: &str) -> TlsError {
    match error {
        PemError::NoItemsFound if is_encrypted(path) => TlsError::of(
            path,
            "the key is encrypted; write it without a passphrase (openssl pkey -in OLD -out NEW)",
        ),
        PemError::NoItemsFound => {
            TlsError::of(path, format_args!("there is no {what} in this file; it must be PEM"))
        }
        PemError::Io(source) => TlsError::of(path, format_args!("cannot read the {what}: {source}")),
        error => TlsError::of(path, format_args!("this is no {what} in PEM: {error}")),
    }
}

fn is_encrypted(path: &Path) -> bool {
    std::fs::read(path).is_ok_and(|text| text.windows(9).any(|word| word == b"ENCRYPTED"))
}
