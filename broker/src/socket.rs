//! What a client is connected by, TCP or a unix socket, and what listens for both. What is said over it is the
//! session's.

use std::io;
use std::net::{IpAddr, SocketAddr};

use daemon::listen::{ListenError, SocketFile, bind, bind_unix, canonical, is_path};
use rustix::buffer::spare_capacity;
use rustix::net::{RecvFlags, recv};
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

/// A listening socket for clients.
#[derive(Debug)]
pub(crate) enum Listener {
    /// `HOST:PORT`.
    Tcp(TcpListener),
    /// A path; its file goes with the listener.
    Unix { listener: UnixListener, path: String, _file: SocketFile },
}

/// A connection that was accepted and is on its way to the shard that will serve it.
#[derive(Debug)]
pub(crate) enum Stream {
    /// Over TCP.
    Tcp(std::net::TcpStream),
    /// Over a unix socket.
    Unix(std::os::unix::net::UnixStream),
}

/// A connection that is served.
#[derive(Debug)]
pub(crate) enum Socket {
    /// Over TCP.
    Tcp(TcpStream),
    /// Over a unix socket.
    Unix(UnixStream),
}

/// Where a connection comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Peer {
    /// An address and a port.
    Ip(SocketAddr),
    /// This machine, over a unix socket.
    Unix,
}

impl Peer {
    /// Its address, unless it came over a unix socket.
    pub(crate) fn ip(&self) -> Option<IpAddr> {
        match self {
            Self::Ip(address) => Some(address.ip()),
            Self::Unix => None,
        }
    }
}

impl std::fmt::Display for Peer {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Ip(address) => address.fmt(f),
            // nsqd: Go's name of a unix socket without a name.
            Self::Unix => f.write_str("@"),
        }
    }
}

impl Listener {
    /// Listen on the address of `--tcp-address`.
    pub(crate) async fn bind(address: &str) -> Result<Self, ListenError> {
        const FLAG: &str = "tcp-address";
        if is_path(address) {
            let (listener, _file) = bind_unix(address, FLAG)?;
            return Ok(Self::Unix { listener, path: address.to_owned(), _file });
        }
        bind(address, FLAG).await.map(Self::Tcp)
    }

    /// The address and port; none of a unix socket.
    pub(crate) fn address(&self) -> io::Result<Option<SocketAddr>> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(Some),
            Self::Unix { .. } => Ok(None),
        }
    }

    /// As the log shows it: the address with its real port, or the path.
    pub(crate) fn name(&self) -> io::Result<String> {
        match self {
            Self::Tcp(listener) => listener.local_addr().map(|address| address.to_string()),
            Self::Unix { path, .. } => Ok(path.clone()),
        }
    }

    /// The next connection.
    pub(crate) async fn accept(&self) -> io::Result<(Stream, Peer)> {
        match self {
            Self::Tcp(listener) => {
                let (stream, peer) = listener.accept().await?;
                Ok((Stream::Tcp(stream.into_std()?), Peer::Ip(canonical(peer))))
            }
            Self::Unix { listener, .. } => {
                let (stream, _) = listener.accept().await?;
                Ok((Stream::Unix(stream.into_std()?), Peer::Unix))
            }
        }
    }
}

impl Stream {
    /// Serve it on this thread.
    pub(crate) fn open(self) -> io::Result<Socket> {
        match self {
            Self::Tcp(stream) => {
                let stream = TcpStream::from_std(stream)?;
                stream.set_nodelay(true)?;
                Ok(Socket::Tcp(stream))
            }
            Self::Unix(stream) => UnixStream::from_std(stream).map(Socket::Unix),
        }
    }
}

impl Socket {
    /// Wait until something can be read.
    pub(crate) async fn readable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.readable().await,
            Self::Unix(stream) => stream.readable().await,
        }
    }

    /// Wait until something can be written.
    pub(crate) async fn writable(&self) -> io::Result<()> {
        match self {
            Self::Tcp(stream) => stream.writable().await,
            Self::Unix(stream) => stream.writable().await,
        }
    }

    /// Append what is there to `buffer`, no more than it has room for; `WouldBlock` if nothing is.
    pub(crate) fn try_read(&self, buffer: &mut Vec<u8>) -> io::Result<usize> {
        let room = buffer.capacity() - buffer.len();
        let mut got = 0;
        let read = || {
            got = match self {
                Self::Tcp(stream) => recv(stream, spare_capacity(buffer), RecvFlags::empty())?.0,
                Self::Unix(stream) => recv(stream, spare_capacity(buffer), RecvFlags::empty())?.0,
            };
            // Less than there was room for: nothing is left, and the runtime should wait for more to come instead of
            // having us ask again, which costs a system call per batch. It waits when it is told this.
            if got > 0 && got < room { Err(io::ErrorKind::WouldBlock.into()) } else { Ok(()) }
        };
        let read = match self {
            Self::Tcp(stream) => stream.try_io(Interest::READABLE, read),
            Self::Unix(stream) => stream.try_io(Interest::READABLE, read),
        };
        match read {
            Err(error) if got == 0 => Err(error),
            _ => Ok(got),
        }
    }

    /// Write what the socket takes; `WouldBlock` if that is nothing.
    pub(crate) fn try_write(&self, bytes: &[u8]) -> io::Result<usize> {
        match self {
            Self::Tcp(stream) => stream.try_write(bytes),
            Self::Unix(stream) => stream.try_write(bytes),
        }
    }
}
