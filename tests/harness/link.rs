//! What lies under a peer: TCP or a unix socket, and on it TLS, compression or both, as clients put them there. It uses
//! the crates' own readers and writers of streams where our daemons have theirs.

use std::io::{self, Error, ErrorKind, Read, Write};
use std::net::{Shutdown, TcpStream};
use std::os::unix::net::UnixStream;
use std::sync::Arc;
use std::time::Duration;

use flate2::{Compress, Compression, Decompress, FlushCompress, FlushDecompress};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection};

/// A connection and its layers.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) socket: Socket,
    pub(crate) tls: Option<Box<ClientConnection>>,
    compression: Option<Codec>,
}

#[derive(Debug)]
pub(crate) enum Socket {
    Tcp(TcpStream),
    Unix(UnixStream),
}

#[derive(Debug)]
enum Codec {
    /// The encoder, and what has come of a frame.
    Snappy(Box<snap::write::FrameEncoder<Vec<u8>>>, Vec<u8>),
    Deflate(Compress, Decompress),
}

/// What every stream of snappy begins with. A reader wants it before each frame that it is given alone.
const SNAPPY_BEGIN: &[u8] = b"\xff\x06\x00\x00sNaPpY";

impl Link {
    pub(crate) fn new(socket: Socket) -> Self {
        Self { socket, tls: None, compression: None }
    }

    /// The client's side of a handshake, and its first bytes.
    pub(crate) fn hello(config: Arc<ClientConfig>) -> io::Result<(ClientConnection, Vec<u8>)> {
        let name = ServerName::try_from("localhost").map_err(Error::other)?;
        let mut tls = ClientConnection::new(config, name).map_err(Error::other)?;
        let mut hello = Vec::new();
        tls.write_tls(&mut hello)?;
        Ok((tls, hello))
    }

    /// The rest of the handshake; of the answer `early` was received already.
    pub(crate) fn start_tls(&mut self, mut tls: ClientConnection, mut early: &[u8]) -> io::Result<()> {
        self.socket.set_read_timeout(crate::waiting::PATIENCE)?;
        while !early.is_empty() {
            tls.read_tls(&mut early)?;
            tls.process_new_packets().map_err(Error::other)?;
        }
        while tls.is_handshaking() {
            tls.complete_io(&mut self.socket)?;
        }
        // The last word may be ours, if all of the daemon's came early.
        while tls.wants_write() {
            tls.write_tls(&mut self.socket)?;
        }
        tls.set_buffer_limit(None);
        self.tls = Some(Box::new(tls));
        Ok(())
    }

    pub(crate) fn start_snappy(&mut self) {
        let encoder = snap::write::FrameEncoder::new(Vec::new());
        self.compression = Some(Codec::Snappy(Box::new(encoder), Vec::new()));
    }

    pub(crate) fn start_deflate(&mut self) {
        self.compression =
            Some(Codec::Deflate(Compress::new(Compression::new(6), false), Decompress::new(false)));
    }

    /// What was received below the compression.
    pub(crate) fn decompress(&mut self, bytes: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
        match &mut self.compression {
            None => into.extend_from_slice(bytes),
            Some(codec) => codec.decode(bytes, into)?,
        }
        Ok(())
    }

    /// Writes, through all layers.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        match &mut self.compression {
            None => self.send_uncompressed(bytes),
            Some(codec) => {
                let compressed = codec.encode(bytes)?;
                self.send_uncompressed(&compressed)
            }
        }
    }

    /// Writes below the compression.
    pub(crate) fn send_uncompressed(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(tls) = &mut self.tls else { return self.socket.write_all(bytes) };
        for chunk in bytes.chunks(64 * 1024) {
            tls.writer().write_all(chunk)?;
            while tls.wants_write() {
                tls.write_tls(&mut self.socket)?;
            }
        }
        Ok(())
    }

    /// Reads once, for so long. An end of file is `UnexpectedEof`.
    pub(crate) fn read(&mut self, wait: Duration, into: &mut Vec<u8>) -> io::Result<()> {
        // A timeout of zero would be refused, and one of less than a millisecond rounds to that on some systems.
        self.socket.set_read_timeout(wait.max(Duration::from_millis(1)))?;
        let mut received = Vec::new();
        match &mut self.tls {
            None => {
                let mut buffer = [0; 64 * 1024];
                let count = self.socket.read(&mut buffer)?;
                if count == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                received.extend_from_slice(buffer.get(..count).unwrap_or_default());
            }
            Some(tls) => {
                if tls.read_tls(&mut self.socket)? == 0 {
                    return Err(ErrorKind::UnexpectedEof.into());
                }
                tls.process_new_packets().map_err(Error::other)?;
                match tls.reader().read_to_end(&mut received) {
                    // Said goodbye, as it should.
                    Ok(_) if received.is_empty() => return Err(ErrorKind::UnexpectedEof.into()),
                    Err(error) if error.kind() != ErrorKind::WouldBlock => return Err(error),
                    Ok(_) | Err(_) => {}
                }
            }
        }
        self.decompress(&received, into)
    }

    pub(crate) fn set_write_timeout(&self, time: Duration) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(stream) => stream.set_write_timeout(Some(time)),
            Socket::Unix(stream) => stream.set_write_timeout(Some(time)),
        }
    }

    pub(crate) fn shutdown_write(&self) -> io::Result<()> {
        match &self.socket {
            Socket::Tcp(stream) => stream.shutdown(Shutdown::Write),
            Socket::Unix(stream) => stream.shutdown(Shutdown::Write),
        }
    }
}

impl Codec {
    fn encode(&mut self, bytes: &[u8]) -> io::Result<Vec<u8>> {
        match self {
            Self::Snappy(encoder, _) => {
                encoder.write_all(bytes)?;
                encoder.flush()?;
                Ok(std::mem::take(encoder.get_mut()))
            }
            Self::Deflate(compress, _) => {
                let mut out = Vec::new();
                let start = compress.total_in();
                loop {
                    out.reserve(bytes.len() + 64);
                    let used = usize::try_from(compress.total_in() - start).unwrap_or(usize::MAX);
                    let rest = bytes.get(used..).unwrap_or_default();
                    compress.compress_vec(rest, &mut out, FlushCompress::Sync)?;
                    if compress.total_in() - start == bytes.len() as u64 && out.len() < out.capacity() {
                        return Ok(out);
                    }
                }
            }
        }
    }

    fn decode(&mut self, bytes: &[u8], into: &mut Vec<u8>) -> io::Result<()> {
        match self {
            Self::Snappy(_, begun) => {
                begun.extend_from_slice(bytes);
                while let Some(&[_, a, b, c]) = begun.first_chunk::<4>() {
                    let end = 4 + u32::from_le_bytes([a, b, c, 0]) as usize;
                    if begun.len() < end {
                        break;
                    }
                    let frame: Vec<u8> = begun.drain(..end).collect();
                    let alone = [SNAPPY_BEGIN, &frame].concat();
                    snap::read::FrameDecoder::new(&alone[..]).read_to_end(into)?;
                }
                Ok(())
            }
            Self::Deflate(_, decompress) => {
                let start = decompress.total_in();
                loop {
                    into.reserve(64 * 1024);
                    let used = usize::try_from(decompress.total_in() - start).unwrap_or(usize::MAX);
                    let rest = bytes.get(used..).unwrap_or_default();
                    decompress.decompress_vec(rest, into, FlushDecompress::Sync)?;
                    if decompress.total_in() - start == bytes.len() as u64 && into.len() < into.capacity() {
                        return Ok(());
                    }
                }
            }
        }
    }
}

impl Socket {
    fn set_read_timeout(&self, time: Duration) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.set_read_timeout(Some(time)),
            Self::Unix(stream) => stream.set_read_timeout(Some(time)),
        }
    }
}

impl Read for Socket {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.read(buffer),
            Self::Unix(stream) => stream.read(buffer),
        }
    }
}

impl Write for Socket {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.write(bytes),
            Self::Unix(stream) => stream.write(bytes),
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
