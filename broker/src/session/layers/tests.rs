//! TLS in memory, between the layers of a session and a client of rustls: keys that are used up.

use std::io::Read as _;
use std::sync::Arc;

use rustls::crypto::{CryptoProvider, ring};
use rustls::pki_types::{PrivateKeyDer, ServerName};
use rustls::{
    ClientConfig, ClientConnection, RootCertStore, ServerConfig, SupportedCipherSuite,
    SupportedProtocolVersion,
};

use super::{LAST_RECORDS, LayerError, Layers};

/// What the keys may encrypt here.
const RECORDS_MAX: u64 = LAST_RECORDS + 100;

/// A provider like the product's, but for how much keys of TLS 1.2 may encrypt.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    for suite in &mut provider.cipher_suites {
        if let SupportedCipherSuite::Tls12(known) = suite {
            let common = rustls::crypto::CipherSuiteCommon {
                suite: known.common.suite,
                hash_provider: known.common.hash_provider,
                confidentiality_limit: RECORDS_MAX,
            };
            *suite = SupportedCipherSuite::Tls12(Box::leak(Box::new(rustls::Tls12CipherSuite {
                common,
                prf_provider: known.prf_provider,
                kx: known.kx,
                sign: known.sign,
                aead_alg: known.aead_alg,
            })));
        }
    }
    Arc::new(provider)
}

/// Both ends of a connection that has shaken hands.
fn connect(version: &'static SupportedProtocolVersion) -> (Layers, ClientConnection) {
    let own = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()]).unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(own.cert.der().clone()).unwrap();
    let key = PrivateKeyDer::try_from(own.signing_key.serialize_der()).unwrap();
    let server = ServerConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let server = server.with_no_client_auth().with_single_cert(vec![own.cert.der().clone()], key).unwrap();
    let client = ClientConfig::builder_with_provider(provider()).with_protocol_versions(&[version]).unwrap();
    let client = client.with_root_certificates(roots).with_no_client_auth();
    let name = ServerName::try_from("localhost").unwrap();
    let mut client = ClientConnection::new(Arc::new(client), name).unwrap();
    let mut layers = Layers::tls(Arc::new(server), Vec::new()).unwrap();
    while layers.is_handshaking() || client.is_handshaking() {
        let mut sent = Vec::new();
        while client.wants_write() {
            client.write_tls(&mut sent).unwrap();
        }
        layers.shake(&sent).unwrap();
        read(&mut client, &layers.seal(Vec::new()).unwrap());
    }
    (layers, client)
}

/// What the client makes of `sealed`.
fn read(client: &mut ClientConnection, mut sealed: &[u8]) -> Vec<u8> {
    let mut all = Vec::new();
    while !sealed.is_empty() {
        client.read_tls(&mut sealed).unwrap();
        client.process_new_packets().unwrap();
        // Its end is that there is nothing more yet.
        let _ = client.reader().read_to_end(&mut all);
    }
    all
}

#[test]
fn keys_of_tls_1_2_say_that_they_are_worn_out_while_there_is_room_for_last_words() {
    let (mut layers, mut client) = connect(&rustls::version::TLS12);
    let mut sent = 0;
    while !layers.is_worn_out() {
        let sealed = layers.seal(b"x".to_vec()).unwrap();
        assert_eq!(read(&mut client, &sealed), b"x");
        sent += 1;
        assert!(sent < RECORDS_MAX, "nobody has said anything");
    }
    let last = vec![b'y'; 1 << 20];
    let sealed = layers.seal(last.clone()).unwrap();
    assert!(read(&mut client, &sealed) == last, "the last words do not arrive");
}

#[test]
fn what_tls_does_not_encrypt_any_more_is_an_error() {
    let (mut layers, mut client) = connect(&rustls::version::TLS12);
    let mut sent = 0;
    let error = loop {
        match layers.seal(b"x".to_vec()) {
            Ok(sealed) => assert_eq!(read(&mut client, &sealed), b"x", "after {sent} records"),
            Err(error) => break error,
        }
        sent += 1;
    };
    assert!(matches!(error, LayerError::KeysUsedUp), "{error}");
    assert!(sent > LAST_RECORDS && sent <= RECORDS_MAX, "{sent} records");
}

#[test]
fn keys_of_tls_1_3_are_never_worn_out() {
    let (mut layers, mut client) = connect(&rustls::version::TLS13);
    for _ in 0..2 * RECORDS_MAX {
        let sealed = layers.seal(b"x".to_vec()).unwrap();
        assert_eq!(read(&mut client, &sealed), b"x");
    }
    assert!(!layers.is_worn_out());
}
