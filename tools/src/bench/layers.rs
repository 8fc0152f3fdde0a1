//! What lies between a connection of the generator and its socket: nothing, TLS, or compression, as IDENTIFY asks for
//! it. Which work has which layer is `workload`'s; frames are `connection`'s.

use std::fmt;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use bytes::{Buf as _, BytesMut};
use protocol::compress::{Decoder, Encoder};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// What one read takes: enough for a batch of answers, so that the generator's reads do not count.
const READ_BYTES: usize = 256 * 1024;

/// What a decoder gives at a time.
const DECODED_BYTES: usize = 256 * 1024;

/// nsqd's default for clients that ask for deflate and name no level.
const DEFLATE_LEVEL: u8 = 6;

/// The name in the certificate.
const HOST: &str = "localhost";

/// What a work's connections ask for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Layer {
    /// Nothing, not even IDENTIFY.
    Plain,
    /// `tls_v1`.
    Tls,
    /// `snappy`.
    Snappy,
    /// `deflate`, level 6.
    Deflate,
}

impl Layer {
    /// The body of IDENTIFY; none when nothing needs to be asked for.
    pub(super) fn identify(self) -> Option<&'static [u8]> {
        match self {
            Self::Plain => None,
            Self::Tls => Some(br#"{"client_id":"nsq_bench","feature_negotiation":true,"tls_v1":true}"#),
            Self::Snappy => Some(br#"{"client_id":"nsq_bench","feature_negotiation":true,"snappy":true}"#),
            Self::Deflate => Some(br#"{"client_id":"nsq_bench","feature_negotiation":true,"deflate":true}"#),
        }
    }
}

/// A certificate for an nsqd that is started, and the client that trusts it. Its files go with it.
pub(super) struct Certificate {
    folder: TempDir,
    client: Arc<ClientConfig>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Certificate").field("folder", &self.folder).finish_non_exhaustive()
    }
}

impl Certificate {
    /// Make one.
    pub(super) fn new() -> Result<Self> {
        let made =
            rcgen::generate_simple_self_signed([HOST.to_owned()]).context("cannot make a certificate")?;
        let folder =
            TempDir::with_prefix("nsq_bench-tls-").context("cannot make a folder for a certificate")?;
        for (name, text) in [("cert.pem", made.cert.pem()), ("key.pem", made.signing_key.serialize_pem())] {
            let path = folder.path().join(name);
            std::fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        }
        let mut roots = RootCertStore::empty();
        roots.add(made.cert.der().clone()).context("the certificate just made")?;
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
        let config = config.with_safe_default_protocol_versions().context("TLS of the generator")?;
        let client = config.with_root_certificates(roots).with_no_client_auth();
        Ok(Self { folder, client: Arc::new(client) })
    }

    /// For nsqd.
    pub(super) fn flags(&self) -> [String; 2] {
        let path = self.folder.path().display();
        [format!("--tls-cert={path}/cert.pem"), format!("--tls-key={path}/key.pem")]
    }
}

/// A socket with its layer.
#[derive(Debug)]
pub(super) struct Link {
    stream: Stream,
    codec: Option<Codec>,
}

#[derive(Debug)]
enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
    /// Only while the layer is put on.
    Gone,
}

#[derive(Debug)]
struct Codec {
    encoder: Encoder,
    decoder: Decoder,
    /// Received, not yet decoded.
    raw: BytesMut,
    packed: Vec<u8>,
    unpacked: Vec<u8>,
}

impl Link {
    /// Without a layer.
    pub(super) fn new(stream: TcpStream) -> Self {
        Self { stream: Stream::Plain(stream), codec: None }
    }

    /// Speak TLS from here on.
    pub(super) async fn start_tls(&mut self, certificate: Option<&Certificate>) -> Result<()> {
        let certificate = certificate.context("no certificate was made for this work")?;
        let name = ServerName::try_from(HOST).context("the name in the certificate")?;
        let Stream::Plain(socket) = std::mem::replace(&mut self.stream, Stream::Gone) else { return Ok(()) };
        let connecting = TlsConnector::from(Arc::clone(&certificate.client)).connect(name, socket);
        self.stream = Stream::Tls(Box::new(connecting.await.context("TLS with nsqd")?));
        Ok(())
    }

    /// Compress from here on; `early` was received already. What it holds goes to `into`.
    pub(super) fn start_compression(
        &mut self,
        layer: Layer,
        early: BytesMut,
        into: &mut BytesMut,
    ) -> Result<()> {
        let (encoder, decoder) = match layer {
            Layer::Snappy => (Encoder::snappy(), Decoder::snappy()),
            Layer::Deflate => (Encoder::deflate(DEFLATE_LEVEL), Decoder::deflate()),
            Layer::Plain | Layer::Tls => return Ok(()),
        };
        let mut codec = Codec { encoder, decoder, raw: early, packed: Vec::new(), unpacked: Vec::new() };
        codec.unpack(into)?;
        self.codec = Some(codec);
        Ok(())
    }

    /// Send all of it, through the layer.
    pub(super) async fn send(&mut self, bytes: &[u8]) -> Result<()> {
        let bytes = match &mut self.codec {
            None => bytes,
            Some(codec) => codec.pack(bytes)?,
        };
        let sent = match &mut self.stream {
            Stream::Plain(socket) => socket.write_all(bytes).await,
            Stream::Tls(tls) => match tls.write_all(bytes).await {
                // Records that the socket had no room for wait in the layer.
                Ok(()) => tls.flush().await,
                refused => refused,
            },
            Stream::Gone => return Err(gone()),
        };
        sent.context("nsqd closed the connection")
    }

    /// Wait for bytes and add what comes of them, which may be nothing yet. False at the end of the stream.
    pub(super) async fn receive(&mut self, into: &mut BytesMut) -> Result<bool> {
        let raw = match &mut self.codec {
            None => &mut *into,
            Some(codec) => &mut codec.raw,
        };
        raw.reserve(READ_BYTES);
        let read = match &mut self.stream {
            Stream::Plain(socket) => socket.read_buf(raw).await,
            Stream::Tls(tls) => tls.read_buf(raw).await,
            Stream::Gone => return Err(gone()),
        };
        if read.context("the connection broke")? == 0 {
            return Ok(false);
        }
        if let Some(codec) = &mut self.codec {
            codec.unpack(into)?;
        }
        Ok(true)
    }
}

fn gone() -> anyhow::Error {
    anyhow::anyhow!("the connection ended in its TLS handshake")
}

impl Codec {
    fn pack(&mut self, bytes: &[u8]) -> Result<&[u8]> {
        self.packed.clear();
        self.encoder.encode(bytes, &mut self.packed).context("cannot compress")?;
        Ok(&self.packed)
    }

    fn unpack(&mut self, into: &mut BytesMut) -> Result<()> {
        loop {
            self.unpacked.clear();
            let decoded = self.decoder.decode(&self.raw, &mut self.unpacked, DECODED_BYTES);
            let decoded = decoded.context("nsqd sent what cannot be decompressed")?;
            self.raw.advance(decoded.used);
            into.extend_from_slice(&self.unpacked);
            if !decoded.has_more && self.raw.is_empty() {
                return Ok(());
            }
        }
    }
}
