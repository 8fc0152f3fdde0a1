//! Which certificates clients must show.

use std::fmt;
use std::sync::Arc;

use rustls::client::danger::HandshakeSignatureValid;
use rustls::crypto::{CryptoProvider, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::WebPkiClientVerifier;
use rustls::server::danger::{ClientCertVerified, ClientCertVerifier};
use rustls::{DigitallySignedStruct, DistinguishedName, Error, RootCertStore, SignatureScheme};

use super::load::ca_certificates;
use super::{TlsError, TlsFiles};

/// `--tls-client-auth-policy`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ClientPolicy {
    /// Clients are not asked.
    #[default]
    None,
    /// Any certificate will do, whoever signed it, but its key must be the client's.
    Any,
    /// One that the authorities signed.
    Verified,
}

impl ClientPolicy {
    /// As the flag has it; none for a word it does not know.
    pub fn from_flag(text: &str) -> Option<Self> {
        match text {
            "" => Some(Self::None),
            "require" => Some(Self::Any),
            "require-verify" => Some(Self::Verified),
            _ => None,
        }
    }
}

/// Who judges what clients show.
pub(super) fn judge(
    files: &TlsFiles,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, TlsError> {
    match files.policy {
        ClientPolicy::None => Ok(WebPkiClientVerifier::no_client_auth()),
        ClientPolicy::Any => Ok(Arc::new(AnyCertificate(Arc::clone(provider)))),
        ClientPolicy::Verified => {
            let Some(path) = &files.root_ca else {
                // nsqd: falls back to the authorities of the system, so that anybody's public certificate would do.
                let why = "--tls-client-auth-policy=require-verify needs --tls-root-ca-file: the authorities that sign clients";
                return Err(TlsError(why.to_owned()));
            };
            let mut roots = RootCertStore::empty();
            for authority in ca_certificates(path)? {
                roots
                    .add(authority)
                    .map_err(|error| TlsError::of(path, format_args!("this is no authority: {error}")))?;
            }
            let judge =
                WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(provider)).build();
            judge.map(|judge| judge as Arc<dyn ClientCertVerifier>).map_err(|error| TlsError::of(path, error))
        }
    }
}

/// Takes any certificate, as Go's `RequireAnyClientCert`: the client still proves that the key is its own.
struct AnyCertificate(Arc<CryptoProvider>);

impl fmt::Debug for AnyCertificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("AnyCertificate")
    }
}

impl ClientCertVerifier for AnyCertificate {
    fn root_hint_subjects(&self) -> &[DistinguishedName] {
        &[]
    }

    fn verify_client_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: UnixTime,
    ) -> Result<ClientCertVerified, Error> {
        Ok(ClientCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
