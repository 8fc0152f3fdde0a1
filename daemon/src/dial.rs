//! Names to addresses and connections, without keeping anybody waiting. A resolver may take half a minute to give up, and
//! the runtime's own threads for work that blocks are few and wanted by syncs: names are asked for on threads of their own.

use std::io;
use std::net::{SocketAddr, ToSocketAddrs as _};
use std::time::Duration;

use futures::StreamExt as _;
use futures::stream::FuturesUnordered;
use tokio::net::TcpStream;
use tokio::sync::{Semaphore, oneshot};

/// Names that are asked for at a time. More wait, each within its caller's time.
const AT_A_TIME: usize = 16;

static PLACES: Semaphore = Semaphore::const_new(AT_A_TIME);

/// How long an address is tried alone: behind a firewall that swallows IPv6 the other family must have its turn.
// nsqd: Go's dialer waits as long.
const ALONE: Duration = Duration::from_millis(300);

/// The addresses behind `HOST:PORT`, at least one. Without a host it is this machine, as for Go.
///
/// # Errors
/// The name cannot be resolved, or not now.
pub async fn resolve(name: &str) -> io::Result<Vec<SocketAddr>> {
    let name = if name.starts_with(':') { format!("localhost{name}") } else { name.to_owned() };
    if let Ok(address) = name.parse() {
        return Ok(vec![address]);
    }
    let place = PLACES.acquire().await.map_err(io::Error::other)?;
    let (answer, answered) = oneshot::channel();
    std::thread::Builder::new().name("resolver".to_owned()).spawn(move || {
        let found = name.to_socket_addrs().map(Iterator::collect::<Vec<_>>);
        // Whoever asked may have given up; the place is kept until the resolver has.
        drop(place);
        let _given_up = answer.send(found);
    })?;
    let found = answered.await.map_err(|_| io::Error::other("the resolver ended"))??;
    if found.is_empty() { Err(io::Error::other("the name has no addresses")) } else { Ok(found) }
}

/// A connection to `HOST:PORT`.
///
/// # Errors
/// The name cannot be resolved, or nobody answers at any of its addresses.
pub async fn connect(name: &str) -> io::Result<TcpStream> {
    connect_any(&resolve(name).await?).await
}

/// A connection to the first of these that answers. The next is tried when one has failed, or has kept silent for a while.
///
/// # Errors
/// The last failure, when all have failed.
pub async fn connect_any(addresses: &[SocketAddr]) -> io::Result<TcpStream> {
    let mut left = addresses.iter();
    let mut tries = FuturesUnordered::new();
    let mut failure = io::Error::other("there is no address to connect to");
    loop {
        if let Some(address) = left.next() {
            tries.push(TcpStream::connect(*address));
        } else if tries.is_empty() {
            return Err(failure);
        }
        tokio::select! {
            Some(tried) = tries.next() => match tried {
                Ok(stream) => return Ok(stream),
                Err(error) => failure = error,
            },
            () = tokio::time::sleep(ALONE), if left.len() > 0 => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn names_addresses_and_ports_alone_are_resolved() {
        for name in ["127.0.0.1:80", "localhost:80", ":80"] {
            let found = resolve(name).await.unwrap();
            assert!(found.iter().all(|address| address.ip().is_loopback() && address.port() == 80), "{name}");
        }
        resolve("no port").await.unwrap_err();
    }

    #[tokio::test]
    async fn the_address_that_answers_is_taken() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let here = listener.local_addr().unwrap();
        let closed = {
            let other = TcpListener::bind("127.0.0.1:0").await.unwrap();
            other.local_addr().unwrap()
        };
        assert_eq!(connect_any(&[closed, here]).await.unwrap().peer_addr().unwrap(), here);
        let error = connect_any(&[closed]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionRefused);
        connect_any(&[]).await.unwrap_err();
    }
}
