//! Certificates of many kinds, shown in a handshake in memory; clients that are taken and refused; files that change.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    ClientConfig, ClientConnection, DigitallySignedStruct, Error, ServerConnection, SignatureScheme,
};
use tempfile::TempDir;

use super::*;

fn fixed(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/certs").join(name)
}

fn files(cert: PathBuf, key: PathBuf) -> TlsFiles {
    TlsFiles { cert, key, policy: ClientPolicy::None, root_ca: None, only_tls13: false }
}

/// A folder with an authority and what it signed.
struct Authority {
    folder: TempDir,
    issuer: CertifiedIssuer<'static, KeyPair>,
}

/// PEM of a certificate and its key.
struct Signed {
    cert: String,
    key: String,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
        let folder = TempDir::new().unwrap();
        std::fs::write(folder.path().join("ca.pem"), issuer.pem()).unwrap();
        Self { folder, issuer }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn sign(&self, name: &str, algorithm: &'static rcgen::SignatureAlgorithm) -> Signed {
        self.sign_until(name, algorithm, 4000)
    }

    /// Good until the first day of that year.
    fn sign_until(&self, name: &str, algorithm: &'static rcgen::SignatureAlgorithm, year: i32) -> Signed {
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).unwrap();
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_after = rcgen::date_time_ymd(year, 1, 1);
        let key = KeyPair::generate_for(algorithm).unwrap();
        let cert = params.signed_by(&key, &self.issuer).unwrap();
        Signed { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// Write the daemon's own certificate, and say where it is.
    fn install(&self, signed: &Signed) -> TlsFiles {
        std::fs::write(self.path("server.pem"), &signed.cert).unwrap();
        std::fs::write(self.path("server.key"), &signed.key).unwrap();
        files(self.path("server.pem"), self.path("server.key"))
    }
}

/// A client that takes whatever it is shown, as go-nsq with `tls_insecure_skip_verify`.
#[derive(Debug)]
struct Trusting;

impl ServerCertVerifier for Trusting {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        Ok(ServerCertVerified::assertion())
    }

    // Certificates of version 1 cannot be read for it; what is tested is the server.
    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &CertificateDer<'_>,
        _: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Ok(HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        rustls::crypto::ring::default_provider().signature_verification_algorithms.supported_schemes()
    }
}

fn client(shows: Option<&Signed>, versions: &[&'static rustls::SupportedProtocolVersion]) -> ClientConfig {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider).with_protocol_versions(versions).unwrap();
    let config = config.dangerous().with_custom_certificate_verifier(Arc::new(Trusting));
    match shows {
        None => config.with_no_client_auth(),
        Some(signed) => {
            let cert = CertificateDer::from_pem_slice(signed.cert.as_bytes()).unwrap();
            let key = PrivateKeyDer::from_pem_slice(signed.key.as_bytes()).unwrap();
            config.with_client_auth_cert(vec![cert], key).unwrap()
        }
    }
}

/// Both sides until neither has more to say; the server's view of it.
fn handshake(certificates: &Certificates, client: ClientConfig) -> Result<ServerConnection, Error> {
    let mut server = ServerConnection::new(certificates.server_config()).unwrap();
    let mut client = ClientConnection::new(Arc::new(client), "localhost".try_into().unwrap()).unwrap();
    while server.is_handshaking() || client.wants_write() || server.wants_write() {
        let mut wire = Vec::new();
        client.write_tls(&mut wire).unwrap();
        server.read_tls(&mut wire.as_slice()).unwrap();
        server.process_new_packets()?;
        let mut wire = Vec::new();
        server.write_tls(&mut wire).unwrap();
        client.read_tls(&mut wire.as_slice()).unwrap();
        client.process_new_packets()?;
    }
    Ok(server)
}

const BOTH: &[&rustls::SupportedProtocolVersion] = rustls::ALL_VERSIONS;
const ONLY_12: &[&rustls::SupportedProtocolVersion] = &[&rustls::version::TLS12];

#[test]
fn every_kind_of_certificate_a_stock_nsqd_shows_is_shown() {
    for (cert, key) in [
        ("rsa2048-pkcs1.crt", "rsa2048-pkcs1.key"),
        ("rsa4096-pkcs8.crt", "rsa4096-pkcs8.key"),
        ("v1.crt", "rsa2048-pkcs1.key"),
        ("sha1.crt", "rsa2048-pkcs1.key"),
        ("expired.crt", "rsa2048-pkcs1.key"),
    ] {
        let loaded =
            Certificates::load(files(fixed(cert), fixed(key))).unwrap_or_else(|error| panic!("{error}"));
        for versions in [BOTH, ONLY_12] {
            handshake(&loaded, client(None, versions)).unwrap_or_else(|error| panic!("{cert}: {error}"));
        }
    }
    let authority = Authority::new("authority");
    for algorithm in [&rcgen::PKCS_ECDSA_P256_SHA256, &rcgen::PKCS_ECDSA_P384_SHA384, &rcgen::PKCS_ED25519] {
        let loaded = Certificates::load(authority.install(&authority.sign("nsqd", algorithm))).unwrap();
        handshake(&loaded, client(None, BOTH)).unwrap_or_else(|error| panic!("{algorithm:?}: {error}"));
    }
}

#[test]
fn what_cannot_be_used_is_refused_with_its_file_and_the_reason() {
    let (cert, key) = (fixed("rsa2048-pkcs1.crt"), fixed("rsa2048-pkcs1.key"));
    for (files, expected) in [
        (files(fixed("missing.crt"), key.clone()), "missing.crt: cannot read the certificate"),
        (files(key.clone(), key.clone()), "rsa2048-pkcs1.key: there is no certificate in this file"),
        (files(cert.clone(), cert.clone()), "rsa2048-pkcs1.crt: there is no private key in this file"),
        (files(cert.clone(), fixed("encrypted.key")), "encrypted.key: the key is encrypted"),
        (files(cert.clone(), fixed("rsa4096-pkcs8.key")), "rsa4096-pkcs8.key: this key is not the one"),
        (
            TlsFiles { policy: ClientPolicy::Verified, ..files(cert, key) },
            "require-verify needs --tls-root-ca-file",
        ),
    ] {
        let error = Certificates::load(files).unwrap_err().to_string();
        assert!(error.contains(expected), "{error}");
    }
}

#[test]
fn clients_are_taken_as_the_policy_says() {
    let (ours, theirs) = (Authority::new("ours"), Authority::new("theirs"));
    let ecdsa = &rcgen::PKCS_ECDSA_P256_SHA256;
    let server = ours.install(&ours.sign("nsqd", ecdsa));
    let (friend, stranger) = (ours.sign("alice", ecdsa), theirs.sign("mallory", ecdsa));
    let former = ours.sign_until("bob", ecdsa, 2020);
    for (policy, shows, is_taken) in [
        (ClientPolicy::None, None, true),
        (ClientPolicy::None, Some(&stranger), true),
        (ClientPolicy::Any, None, false),
        (ClientPolicy::Any, Some(&stranger), true),
        (ClientPolicy::Verified, None, false),
        (ClientPolicy::Verified, Some(&stranger), false),
        (ClientPolicy::Verified, Some(&friend), true),
        (ClientPolicy::Verified, Some(&former), false),
        (ClientPolicy::Any, Some(&former), true),
    ] {
        let files = TlsFiles { policy, root_ca: Some(ours.path("ca.pem")), ..server.clone() };
        let loaded = Certificates::load(files).unwrap();
        for versions in [BOTH, ONLY_12] {
            let done = handshake(&loaded, client(shows, versions));
            assert_eq!(done.is_ok(), is_taken, "{policy:?} {:?}", done.err());
        }
    }
}

#[test]
fn a_client_is_known_by_the_common_name_of_its_certificate() {
    let ours = Authority::new("ours");
    let ecdsa = &rcgen::PKCS_ECDSA_P256_SHA256;
    let files = TlsFiles {
        policy: ClientPolicy::Verified,
        root_ca: Some(ours.path("ca.pem")),
        ..ours.install(&ours.sign("nsqd", ecdsa))
    };
    let loaded = Certificates::load(files).unwrap();
    let server = handshake(&loaded, client(Some(&ours.sign("alice", ecdsa)), BOTH)).unwrap();
    assert_eq!(client_name(server.peer_certificates()).as_deref(), Some("alice"));
    assert_eq!(client_name(None), None);
}

#[test]
fn tls_1_2_is_refused_when_only_1_3_is_wanted() {
    let files =
        TlsFiles { only_tls13: true, ..files(fixed("rsa2048-pkcs1.crt"), fixed("rsa2048-pkcs1.key")) };
    let loaded = Certificates::load(files).unwrap();
    assert!(handshake(&loaded, client(None, ONLY_12)).is_err());
    handshake(&loaded, client(None, BOTH)).unwrap();
}

#[test]
fn a_reload_changes_what_is_shown_and_a_broken_file_changes_nothing() {
    let ours = Authority::new("ours");
    let ecdsa = &rcgen::PKCS_ECDSA_P256_SHA256;
    let loaded = Certificates::load(ours.install(&ours.sign("first", ecdsa))).unwrap();
    let before = loaded.stamps();
    let first = loaded.server_config();
    let second = ours.sign("second, with a longer name", ecdsa);
    ours.install(&second);
    assert_ne!(load::stamps(&loaded.files), before, "the change is seen without being told");
    loaded.reload().unwrap();
    let current = loaded.server_config();
    assert!(!Arc::ptr_eq(&first, &current));
    std::fs::write(ours.path("server.key"), "half a fi").unwrap();
    loaded.reload().unwrap_err();
    assert!(Arc::ptr_eq(&current, &loaded.server_config()), "the last good one stays");
}
