//! Putting layers on a connection after IDENTIFY: its answer in the clear, TLS and an OK over it, compression and an
//! OK in it. nsqd's order, which clients rely on.

use std::cell::RefCell;
use std::io::{self, ErrorKind};
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use daemon::tls::ClientPolicy;
use protocol::compress::{Decoder, Encoder};
use protocol::{Error, OK, encode_response};
use rustls::{ProtocolVersion, ServerConfig, ServerConnection};
use tokio::time::timeout;

use super::layers::Layers;
use super::{Over, Session};
use crate::client::Encrypted;
use crate::shard::Shard;

/// nsqd's limit for a TLS handshake.
const HANDSHAKE_WITHIN: Duration = Duration::from_secs(5);

/// Read from the socket in one go while it is layered.
const READ_BYTES: usize = 64 * 1024;

/// What was granted to a client and is now to be done.
#[derive(Debug)]
pub(super) struct Upgrade {
    /// TLS with this configuration.
    pub tls: Option<Arc<ServerConfig>>,
    /// Compression, inside of TLS if that is there.
    pub compression: Option<Compression>,
}

/// How to compress.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Compression {
    /// In frames of snappy.
    Snappy,
    /// As raw deflate, at this level.
    Deflate(u8),
}

/// What a read brought.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Taken {
    /// Nothing.
    Nothing,
    /// Bytes, though perhaps no more of a command.
    Some,
    /// The last bytes: the client is gone, or cannot be understood.
    Last,
}

impl Upgrade {
    /// Is there nothing to do?
    pub(super) fn is_empty(&self) -> bool {
        self.tls.is_none() && self.compression.is_none()
    }
}

impl Session {
    /// Put the layers on. `early` came behind IDENTIFY: a client in a hurry, whose bytes belong to the first layer.
    // nsqd: they are lost in the buffer of the clear connection.
    pub(super) async fn upgrade(
        self: &Rc<Self>,
        shard: &Shard,
        upgrade: Upgrade,
        early: Vec<u8>,
    ) -> Result<(), Over> {
        // No heartbeat may get between, and whoever sends tells this task.
        self.is_upgrading.set(true);
        self.is_held.set(true);
        self.send_in_time().await?;
        let mut early = early;
        if let Some(config) = upgrade.tls {
            self.begin_tls(shard, config, std::mem::take(&mut early)).await?;
        }
        if let Some(compression) = upgrade.compression {
            self.compress(compression, early);
            self.reply(|out| encode_response(out, OK));
        }
        self.is_held.set(false);
        self.is_upgrading.set(false);
        self.heard_at.set(self.now_at(shard).instant.0);
        self.is_open.set(true);
        Ok(())
    }

    /// Read what is there, through the layers if there are any.
    pub(super) fn take(&self, buffer: &mut Vec<u8>) -> Taken {
        let mut layers = self.layers.borrow_mut();
        let Some(layers) = layers.as_deref_mut() else {
            return match self.socket.try_read(buffer) {
                Ok(1..) => Taken::Some,
                Err(error) if error.kind() == ErrorKind::WouldBlock => Taken::Nothing,
                Ok(0) | Err(_) => Taken::Last,
            };
        };
        let mut received = Vec::with_capacity(READ_BYTES);
        let read = if layers.has_more() { Ok(0) } else { self.socket.try_read(&mut received) };
        let opened = match read {
            Err(error) if error.kind() == ErrorKind::WouldBlock => Taken::Nothing,
            Err(_) => Taken::Last,
            Ok(0) if !layers.has_more() => Taken::Last,
            Ok(_) => match layers.open(&received, buffer) {
                Ok(false) => Taken::Some,
                Ok(true) => Taken::Last,
                Err(error) => {
                    tracing::debug!(client = %self.outbox.client.peer, %error, "cannot be understood");
                    Taken::Last
                }
            },
        };
        if layers.wants_write() {
            self.outbox.enlist();
        }
        opened
    }

    /// Can more be had without waiting for the socket?
    pub(super) fn has_more(&self) -> bool {
        self.layers.borrow().as_ref().is_some_and(|layers| layers.has_more())
    }

    async fn begin_tls(
        self: &Rc<Self>,
        shard: &Shard,
        config: Arc<ServerConfig>,
        early: Vec<u8>,
    ) -> Result<(), Over> {
        match Layers::tls(config, early) {
            Ok(layers) => *self.layers.borrow_mut() = Some(Box::new(layers)),
            Err(error) => return self.tls_failed(&error).await,
        }
        match timeout(HANDSHAKE_WITHIN, self.handshake()).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => return self.tls_failed(&error).await,
            Err(_) => return self.tls_failed(&"the TLS handshake took too long").await,
        }
        if let Some(tls) = self.layers.borrow().as_ref().and_then(|layers| layers.agreed()) {
            let policy = shard
                .broker
                .guards
                .encryption
                .certificates
                .as_ref()
                .map(|certificates| certificates.policy());
            self.outbox.client.encrypted(encrypted(tls, policy == Some(ClientPolicy::Verified)));
        }
        self.needs_tls.set(false);
        self.reply(|out| encode_response(out, OK));
        self.send_in_time().await
    }

    async fn handshake(self: &Rc<Self>) -> io::Result<()> {
        loop {
            let mut received = Vec::with_capacity(READ_BYTES);
            match self.socket.try_read(&mut received) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                // The first bytes may have come behind IDENTIFY, and be there already.
                Ok(_) | Err(_) => {}
            }
            let shaken = self.with_layers(|layers| layers.shake(&received));
            shaken.unwrap_or(Ok(())).map_err(io::Error::other)?;
            self.send_all().await?;
            if !self.with_layers(|layers| layers.is_handshaking()).unwrap_or(false) {
                return Ok(());
            }
            tokio::select! {
                readable = self.socket.readable() => readable?,
                () = self.changed.notified() => {}
            }
            if self.is_over.get() {
                return Err(ErrorKind::ConnectionAborted.into());
            }
        }
    }

    /// A client that does not read gets no layers.
    async fn send_in_time(self: &Rc<Self>) -> Result<(), Over> {
        let sent = timeout(HANDSHAKE_WITHIN, self.send_all()).await;
        if matches!(sent, Ok(Ok(()))) { Ok(()) } else { Err(Over) }
    }

    /// The alert of TLS, then the reason in the clear, as far as the client still listens.
    async fn tls_failed(self: &Rc<Self>, why: &(impl std::fmt::Display + ?Sized)) -> Result<(), Over> {
        let _alert = self.send_in_time().await;
        *self.layers.borrow_mut() = None;
        self.reply_error(&Error::identify_failed(why));
        Err(Over)
    }

    fn compress(&self, compression: Compression, early: Vec<u8>) {
        let (encoder, decoder) = match compression {
            Compression::Snappy => (Encoder::snappy(), Decoder::snappy()),
            Compression::Deflate(level) => (Encoder::deflate(level), Decoder::deflate()),
        };
        self.layers.borrow_mut().get_or_insert_default().compress(encoder, decoder, early);
        self.outbox.client.compressed(compression == Compression::Snappy);
    }

    fn with_layers<T>(&self, work: impl FnOnce(&mut Layers) -> T) -> Option<T> {
        let layers: &RefCell<Option<Box<Layers>>> = &self.layers;
        layers.borrow_mut().as_deref_mut().map(work)
    }
}

/// What `/stats` shows of TLS, in Go's words, and the name in the client's certificate if authorities signed it.
fn encrypted(tls: &ServerConnection, is_verified: bool) -> Encrypted {
    let version = match tls.protocol_version() {
        Some(ProtocolVersion::TLSv1_2) => "TLS1.2",
        Some(ProtocolVersion::TLSv1_3) => "TLS1.3",
        _ => "",
    };
    let suite = tls.negotiated_cipher_suite().and_then(|suite| suite.suite().as_str());
    Encrypted {
        version,
        // nsqd: shows those of TLS 1.3 as `Unknown 4865`, since it does not know their names.
        cipher_suite: suite.unwrap_or_default().replacen("TLS13_", "TLS_", 1),
        protocol: String::from_utf8_lossy(tls.alpn_protocol().unwrap_or_default()).into_owned(),
        // nsqd: tells auth servers the name in any certificate, which anybody can make.
        common_name: daemon::tls::client_name(tls.peer_certificates()).filter(|_| is_verified),
    }
}
