//! Opening a listening socket from a flag's value, with errors a person can act on: TCP here, paths in `unix`.

mod unix;

use std::fmt;
use std::io::{self, ErrorKind};
use std::net::SocketAddr;
use std::os::fd::AsFd;

use tokio::net::TcpListener;

use crate::address::port_of;

pub use unix::{SocketFile, bind_unix, is_path};

/// Connections that wait to be accepted. The kernel gives as many as its `net.core.somaxconn` allows, 4096 mostly.
// nsqd: Go asks for what that file says.
const WAITING_MAX: i32 = 4096;

/// Listens on `HOST:PORT`, `:PORT` (every address, IPv6 too where the machine has it), port 0 or none (any free one).
/// `flag` is the option's name without dashes, for the error.
///
/// # Errors
/// The address is taken, not of this machine, not allowed or not an address.
pub async fn bind(address: &str, flag: &'static str) -> Result<TcpListener, ListenError> {
    let parts = address.rsplit_once(':').and_then(|(host, port)| Some((host, port_of(port).ok()?)));
    let bound = match parts {
        // nsqd: Go reads a missing host as every address of both families.
        Some(("", port)) => match TcpListener::bind(format!("[::]:{port}")).await {
            Err(error) if !is_final(&error) => TcpListener::bind(format!("0.0.0.0:{port}")).await,
            bound => bound,
        },
        Some((host, port)) => TcpListener::bind(format!("{host}:{port}")).await,
        None => Err(ErrorKind::InvalidInput.into()),
    };
    let bound = bound.and_then(|listener| widen(&listener).map(|()| listener));
    bound.map_err(|source| ListenError { address: address.to_owned(), flag, source })
}

/// Let a crowd wait to be accepted: all clients come at once after a restart, and who finds no place tries again a second
/// later. The standard library asks for 128 places.
fn widen(listener: &impl AsFd) -> io::Result<()> {
    Ok(rustix::net::listen(listener, WAITING_MAX)?)
}

/// The peer as Go writes it: an IPv4 peer of an IPv6 socket is `127.0.0.1:1`, not `[::ffff:127.0.0.1]:1`.
pub fn canonical(peer: SocketAddr) -> SocketAddr {
    SocketAddr::new(peer.ip().to_canonical(), peer.port())
}

/// Why a socket could not be opened; the text names the address and the flag it came from.
#[derive(Debug)]
pub struct ListenError {
    address: String,
    flag: &'static str,
    source: io::Error,
}

impl fmt::Display for ListenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { address, flag, source } = self;
        write!(f, "cannot listen on {address} (--{flag}): ")?;
        match source.kind() {
            ErrorKind::AddrInUse => {
                write!(f, "address already in use; stop the process that has it or choose another")
            }
            ErrorKind::AddrNotAvailable => write!(f, "this machine has no such address"),
            ErrorKind::PermissionDenied => write!(f, "not permitted; choose a port from 1024 up"),
            ErrorKind::InvalidInput => {
                write!(f, "not an address; write HOST:PORT, for example 0.0.0.0:4150, or a path with a slash")
            }
            _ => write!(f, "{source}"),
        }
    }
}

impl std::error::Error for ListenError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.source)
    }
}

// Without IPv6 the kernel says that the family or the address is unknown; then IPv4 alone is worth a try.
fn is_final(error: &io::Error) -> bool {
    matches!(error.kind(), ErrorKind::AddrInUse | ErrorKind::PermissionDenied | ErrorKind::InvalidInput)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn taken_address_names_itself_and_its_flag() {
        let first = bind("127.0.0.1:0", "tcp-address").await.expect("a free port");
        let address = first.local_addr().expect("address").to_string();
        let error = bind(&address, "tcp-address").await.expect_err("taken").to_string();
        assert!(
            error.starts_with(&format!("cannot listen on {address} (--tcp-address): address already in use"))
        );
    }

    #[tokio::test]
    async fn an_address_without_its_port_takes_any_free_one() {
        for text in ["127.0.0.1:", ":"] {
            assert_ne!(bind(text, "tcp-address").await.expect(text).local_addr().expect("address").port(), 0);
        }
    }

    #[test]
    fn peer_of_a_shared_socket_is_written_as_ipv4() {
        for (peer, text) in
            [("[::ffff:10.0.0.1]:5", "10.0.0.1:5"), ("[::1]:5", "[::1]:5"), ("10.0.0.1:5", "10.0.0.1:5")]
        {
            assert_eq!(canonical(peer.parse().expect(peer)).to_string(), text);
        }
    }

    #[tokio::test]
    async fn a_crowd_that_comes_at_once_finds_places_to_wait() {
        let folder = tempfile::tempdir().expect("folder");
        let path = folder.path().join("s").display().to_string();
        let (_unix, _file) = bind_unix(&path, "tcp-address").expect("a path");
        let listener = bind("127.0.0.1:0", "tcp-address").await.expect("a free port");
        let address = listener.local_addr().expect("address");
        // Nobody accepts. Who finds no place hears nothing for a second.
        let patience = std::time::Duration::from_millis(900);
        let crowd: Vec<_> =
            (0..300).map(|_| std::net::TcpStream::connect_timeout(&address, patience)).collect();
        assert_eq!(crowd.iter().filter(|one| one.is_err()).count(), 0);
        let crowd: Vec<_> = (0..300)
            .map(|_| {
                let socket = tokio::net::UnixSocket::new_stream().expect("socket");
                socket.connect(&path)
            })
            .collect();
        for one in crowd {
            one.await.expect("a place");
        }
    }

    #[tokio::test]
    async fn text_that_is_no_address_is_explained() {
        for text in ["", "4150", "localhost", "127.0.0.1:x", ":x", "127.0.0.1:99999"] {
            let error = bind(text, "http-address").await.expect_err(text).to_string();
            assert!(error.contains("HOST:PORT") && error.contains("--http-address"), "{text}: {error}");
        }
    }
}
