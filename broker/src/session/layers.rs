//! What lies between the socket and the commands: TLS, compression inside it, or both. Bytes in, bytes out; nothing
//! here waits. A connection without layers has none of this. When they are put on is in `upgrade.rs`.

use std::fmt;
use std::io::{BufRead as _, Read as _, Write as _};
use std::sync::Arc;

use protocol::compress::{CompressError, Decoder, Encoder};
use rustls::{ServerConfig, ServerConnection, SupportedCipherSuite};

/// What one step makes of what was received, at most twice as much with both layers: a bomb costs no more.
const STEP_BYTES: usize = 64 * 1024;

/// Encrypted in one go.
const SEAL_BYTES: usize = 64 * 1024;

/// One record of TLS holds so much; a byte more begins another.
const RECORD_BYTES: usize = 16 * 1024;

/// Records that are left for the last replies of a connection whose keys are used up: 64 MiB of them.
const LAST_RECORDS: u64 = 4096;

/// Records that TLS may encrypt of its own: the end of the handshake, alerts.
const OWN_RECORDS: u64 = 8;

/// The layers of one connection. At least one of them is there.
#[derive(Default)]
pub(super) struct Layers {
    tls: Option<Box<ServerConnection>>,
    /// Encrypted since the handshake.
    records: u64,
    compression: Option<(Encoder, Decoder)>,
    /// Received, and not looked at for want of room.
    input: Vec<u8>,
    /// There is more to be had without receiving anything.
    has_more: bool,
}

/// Why a connection cannot go on.
#[derive(Debug)]
pub(super) enum LayerError {
    /// What the client sends is not TLS, or not as agreed.
    Tls(rustls::Error),
    /// What the client sends is not compressed as agreed.
    Compression(CompressError),
    /// The keys of TLS 1.2 have encrypted as much as they may.
    KeysUsedUp,
    /// The buffers of TLS refuse, which they do for nobody who was read from as intended.
    Io(std::io::Error),
}

impl fmt::Display for LayerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Tls(error) => error.fmt(f),
            Self::Compression(error) => error.fmt(f),
            Self::KeysUsedUp => {
                f.write_str("the keys of the TLS connection are used up; the client must reconnect")
            }
            Self::Io(error) => error.fmt(f),
        }
    }
}

impl std::error::Error for LayerError {}

impl From<rustls::Error> for LayerError {
    fn from(error: rustls::Error) -> Self {
        Self::Tls(error)
    }
}

impl From<CompressError> for LayerError {
    fn from(error: CompressError) -> Self {
        Self::Compression(error)
    }
}

impl From<std::io::Error> for LayerError {
    fn from(error: std::io::Error) -> Self {
        Self::Io(error)
    }
}

impl fmt::Debug for Layers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Layers")
            .field("tls", &self.tls.is_some())
            .field("compression", &self.compression)
            .finish_non_exhaustive()
    }
}

/// Putting them on.
impl Layers {
    /// TLS begins; `early` was received already.
    pub(super) fn tls(config: Arc<ServerConfig>, early: Vec<u8>) -> Result<Self, LayerError> {
        let mut tls = ServerConnection::new(config)?;
        // What is put in is taken out at once.
        tls.set_buffer_limit(None);
        Ok(Self { tls: Some(Box::new(tls)), input: early, ..Self::default() })
    }

    /// From here on everything is compressed too; `early` was received already.
    pub(super) fn compress(&mut self, encoder: Encoder, decoder: Decoder, early: Vec<u8>) {
        self.compression = Some((encoder, decoder));
        self.input.extend(early);
        self.has_more = true;
    }

    /// Is TLS still being agreed on?
    pub(super) fn is_handshaking(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.is_handshaking())
    }

    /// What TLS agreed on.
    pub(super) fn agreed(&self) -> Option<&ServerConnection> {
        self.tls.as_deref()
    }

    /// Go on with the handshake. What follows it is left for later.
    pub(super) fn shake(&mut self, received: &[u8]) -> Result<(), LayerError> {
        self.input.extend_from_slice(received);
        let Some(tls) = &mut self.tls else { return Ok(()) };
        let mut rest = self.input.as_slice();
        while tls.is_handshaking() && !rest.is_empty() {
            tls.read_tls(&mut rest)?;
            tls.process_new_packets()?;
        }
        let used = self.input.len() - rest.len();
        self.input.drain(..used);
        self.has_more = !tls.is_handshaking();
        Ok(())
    }
}

/// In use.
impl Layers {
    /// Is there something without receiving more?
    pub(super) fn has_more(&self) -> bool {
        self.has_more
    }

    /// Append to `out` what `received` means, some of it at least. True: the client has said that it is its last.
    pub(super) fn open(&mut self, received: &[u8], out: &mut Vec<u8>) -> Result<bool, LayerError> {
        let mut kept = std::mem::take(&mut self.input);
        let joined;
        let input = if kept.is_empty() {
            received
        } else {
            kept.extend_from_slice(received);
            joined = kept;
            joined.as_slice()
        };
        let end = out.len() + STEP_BYTES;
        let mut rest = input;
        let is_last = match &mut self.tls {
            Some(tls) => {
                let decoder = self.compression.as_mut().map(|(_, decoder)| decoder);
                self.has_more = decrypt(tls, decoder, &mut rest, out, end)?;
                tls.process_new_packets()?.peer_has_closed() && !self.has_more
            }
            None => {
                if let Some((_, decoder)) = &mut self.compression {
                    self.has_more = decompress(decoder, &mut rest, out, end)?;
                }
                false
            }
        };
        self.input = rest.to_vec();
        self.has_more |= !rest.is_empty();
        Ok(is_last)
    }

    /// Has TLS something to say of its own?
    pub(super) fn wants_write(&self) -> bool {
        self.tls.as_ref().is_some_and(|tls| tls.wants_write())
    }

    /// What must be sent to say `plain`, and what TLS has to say of its own.
    pub(super) fn seal(&mut self, plain: Vec<u8>) -> Result<Vec<u8>, LayerError> {
        let bytes = match &mut self.compression {
            Some((encoder, _)) if !plain.is_empty() => {
                let mut compressed = Vec::with_capacity(plain.len() / 2);
                encoder.encode(&plain, &mut compressed)?;
                compressed
            }
            _ => plain,
        };
        let Some(tls) = &mut self.tls else { return Ok(bytes) };
        let records_max = records_max(tls);
        let mut sealed = Vec::with_capacity(bytes.len() + bytes.len() / 64);
        drain(tls, &mut sealed)?;
        for chunk in bytes.chunks(SEAL_BYTES) {
            self.records += chunk.len().div_ceil(RECORD_BYTES) as u64;
            // Beyond it rustls takes what it will not encrypt any more, and says nothing.
            if self.records > records_max {
                return Err(LayerError::KeysUsedUp);
            }
            tls.writer().write_all(chunk)?;
            drain(tls, &mut sealed)?;
        }
        Ok(sealed)
    }

    /// Must the connection end soon, because its keys are used up?
    pub(super) fn is_worn_out(&self) -> bool {
        let max = self.tls.as_ref().map_or(u64::MAX, |tls| records_max(tls));
        self.records >= max.saturating_sub(LAST_RECORDS)
    }

    /// Nothing more will be sent: TLS says so, that the client may know that nothing was cut off.
    pub(super) fn close(&mut self) {
        if let Some(tls) = &mut self.tls {
            tls.send_close_notify();
        }
    }
}

/// How many records the keys may encrypt: 2^24 for AES-GCM in TLS 1.2, which cannot change them. TLS 1.3 changes them by
/// itself.
fn records_max(tls: &ServerConnection) -> u64 {
    match tls.negotiated_cipher_suite() {
        Some(SupportedCipherSuite::Tls12(suite)) => {
            suite.common.confidentiality_limit.saturating_sub(OWN_RECORDS)
        }
        _ => u64::MAX,
    }
}

/// True: there may be more, but `out` has come to `end`.
fn decrypt(
    tls: &mut ServerConnection,
    mut decoder: Option<&mut Decoder>,
    rest: &mut &[u8],
    out: &mut Vec<u8>,
    end: usize,
) -> Result<bool, LayerError> {
    loop {
        let is_full = match &mut decoder {
            Some(decoder) => decompress_decrypted(tls, decoder, out, end)?,
            None => take_decrypted(tls, out)?,
        };
        if is_full || out.len() >= end {
            return Ok(true);
        }
        if rest.is_empty() || tls.read_tls(rest)? == 0 {
            return Ok(false);
        }
        tls.process_new_packets()?;
    }
}

/// All that is decrypted. It is never much: TLS takes no more before it is fetched.
fn take_decrypted(tls: &mut ServerConnection, out: &mut Vec<u8>) -> Result<bool, LayerError> {
    match tls.reader().read_to_end(out) {
        Ok(_) => Ok(false),
        Err(error) if is_nothing_yet(&error) => Ok(false),
        Err(error) => Err(error.into()),
    }
}

fn decompress_decrypted(
    tls: &mut ServerConnection,
    decoder: &mut Decoder,
    out: &mut Vec<u8>,
    end: usize,
) -> Result<bool, LayerError> {
    loop {
        let mut reader = tls.reader();
        let compressed = match reader.fill_buf() {
            Ok(bytes) => bytes,
            Err(error) if is_nothing_yet(&error) => &[],
            Err(error) => return Err(error.into()),
        };
        let is_all = compressed.is_empty();
        let mut rest = compressed;
        let has_more = decompress(decoder, &mut rest, out, end)?;
        let used = compressed.len() - rest.len();
        reader.consume(used);
        if has_more || is_all {
            return Ok(has_more);
        }
    }
}

/// True: there may be more, but `out` has come to `end`.
fn decompress(
    decoder: &mut Decoder,
    rest: &mut &[u8],
    out: &mut Vec<u8>,
    end: usize,
) -> Result<bool, LayerError> {
    loop {
        if out.len() >= end {
            return Ok(true);
        }
        let decoded = decoder.decode(rest, out, STEP_BYTES)?;
        *rest = rest.get(decoded.used..).unwrap_or_default();
        if !decoded.has_more && rest.is_empty() {
            return Ok(false);
        }
    }
}

fn drain(tls: &mut ServerConnection, out: &mut Vec<u8>) -> std::io::Result<()> {
    while tls.wants_write() {
        tls.write_tls(out)?;
    }
    Ok(())
}

/// A connection that was cut without a goodbye is the socket's to report.
fn is_nothing_yet(error: &std::io::Error) -> bool {
    matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::UnexpectedEof)
}

#[cfg(test)]
mod tests;
