//! A nsqlookupd in this process on free ports, and a broker's side of a connection to it.

use std::time::Duration;

use daemon::http_client;
use daemon::shutdown::Shutdown;
use lookupd::{Options, Running, serve};
use protocol::lookup::{LookupCommand, decode_reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

/// Far beyond what any step takes; only a hang reaches it.
pub(crate) const LIMIT: Duration = Duration::from_secs(10);

/// A running nsqlookupd.
pub(crate) struct Lookupd {
    pub(crate) running: Running,
    pub(crate) shutdown: Shutdown,
}

pub(crate) async fn start() -> Lookupd {
    start_with(Options::default()).await
}

/// With these options but free ports of the loopback.
pub(crate) async fn start_with(options: Options) -> Lookupd {
    let free = || "127.0.0.1:0".to_owned();
    let options = Options { tcp_address: free(), http_address: free(), ..options };
    let shutdown = Shutdown::new();
    let running = serve(options, shutdown.clone(), &daemon::reload::Reload::new()).await.expect("free ports");
    Lookupd { running, shutdown }
}

impl Lookupd {
    /// Status and body, as text.
    pub(crate) async fn get(&self, path: &str) -> (u16, String) {
        let answer = http_client::get(&self.running.http_address.to_string(), path, LIMIT).await;
        told(answer.expect("an answer"))
    }

    pub(crate) async fn post(&self, path: &str) -> (u16, String) {
        let address = self.running.http_address.to_string();
        told(http_client::post(&address, path, bytes::Bytes::new(), LIMIT).await.expect("an answer"))
    }

    /// Waits until GET of `path` answers `expected`: what a broker's disconnect does is seen a moment later.
    pub(crate) async fn until(&self, path: &str, expected: &str) {
        let mut last = String::new();
        let reached = tokio::time::timeout(LIMIT, async {
            while last != expected {
                last = self.get(path).await.1;
                tokio::task::yield_now().await;
            }
        });
        let reached = reached.await;
        assert!(reached.is_ok(), "{path} stays {last}");
    }

    /// A connection that sent `bytes` and nothing else.
    pub(crate) async fn connect(&self, bytes: &[u8]) -> Broker {
        let stream = TcpStream::connect(self.running.tcp_address).await.expect("connect");
        let mut broker = Broker { stream, input: Vec::new() };
        broker.send(bytes).await;
        broker
    }

    /// A broker that identified itself as `name`:4150 and `name`:4151.
    pub(crate) async fn broker(&self, name: &str) -> Broker {
        let mut broker = self.connect(b"  V1").await;
        let reply = broker.identify(&about(name)).await;
        assert!(reply.starts_with('{'), "{reply}");
        broker
    }
}

fn told((status, body): (u16, bytes::Bytes)) -> (u16, String) {
    (status, String::from_utf8(body.to_vec()).expect("UTF-8"))
}

/// The body of a broker's IDENTIFY.
pub(crate) fn about(name: &str) -> String {
    format!(
        r#"{{"version":"1.3.0","tcp_port":4150,"http_port":4151,"hostname":"h","broadcast_address":"{name}","topology_zone":"z","topology_region":"r"}}"#
    )
}

/// The broker's end of a connection.
pub(crate) struct Broker {
    pub(crate) stream: TcpStream,
    input: Vec<u8>,
}

impl Broker {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.expect("write");
    }

    /// Sends a line and reads the answer.
    pub(crate) async fn ask(&mut self, line: &str) -> String {
        self.send(format!("{line}\n").as_bytes()).await;
        self.reply().await.expect("an answer")
    }

    pub(crate) async fn identify(&mut self, body: &str) -> String {
        let mut command = Vec::new();
        LookupCommand::Identify { body: body.as_bytes() }.encode(&mut command);
        self.send(&command).await;
        self.reply().await.expect("an answer")
    }

    /// The next answer; `None` when the connection was closed instead.
    pub(crate) async fn reply(&mut self) -> Option<String> {
        tokio::time::timeout(LIMIT, self.next()).await.expect("an answer or an end in time")
    }

    /// Ends our side and reads the answer to what was cut off.
    pub(crate) async fn cut(&mut self) -> Option<String> {
        self.stream.shutdown().await.expect("shutdown");
        self.reply().await
    }

    async fn next(&mut self) -> Option<String> {
        loop {
            if let Some((data, used)) = decode_reply(&self.input, 1 << 20).expect("a size within reason") {
                let text = String::from_utf8(data.to_vec()).expect("UTF-8");
                self.input.drain(..used);
                return Some(text);
            }
            // A reset is an end like any other.
            if self.stream.read_buf(&mut self.input).await.unwrap_or(0) == 0 {
                assert!(self.input.is_empty(), "half an answer: {:?}", self.input);
                return None;
            }
        }
    }
}
