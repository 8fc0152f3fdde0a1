//! A client of the wire protocol V2 with nothing in between: it sends what a test says, byte for byte if need be, and
//! reads frames. Layouts are spelled out here on their own, from the protocol and not from our encoder.

use std::io::{ErrorKind, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use rustls::ClientConfig;
use serde_json::{Value, json};

use crate::link::{Link, Socket};
use crate::waiting::PATIENCE;

/// One connection to nsqd.
#[derive(Debug)]
pub struct Peer {
    link: Link,
    /// Bytes read that are not a whole frame yet.
    inbox: Vec<u8>,
    is_closed: bool,
}

/// What nsqd sends.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Frame {
    /// Type 0.
    Response(String),
    /// Type 1: `CODE description`.
    Error(String),
    /// Type 2.
    Message(Message),
    /// No frame: nsqd closed the connection.
    Closed,
}

/// A delivery: `[i64 timestamp ns][u16 attempts][16 bytes id][body]`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// Time of publishing, ns since the epoch.
    pub timestamp: i64,
    /// 1 at the first delivery.
    pub attempts: u16,
    /// 16 characters, opaque.
    pub id: String,
    /// The body, as bytes: it need not be text.
    pub body: Vec<u8>,
}

impl Message {
    /// The body as text, with a mark where it is not UTF-8.
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }
}

impl Peer {
    /// Connect and send the magic.
    ///
    /// # Panics
    /// When nobody listens there. So do all methods below when the world is not as they say.
    #[track_caller]
    pub fn connect(address: SocketAddr) -> Self {
        let mut peer = Self::connect_silent(address);
        peer.send(b"  V2");
        peer
    }

    /// Connect and say nothing.
    #[track_caller]
    pub fn connect_silent(address: SocketAddr) -> Self {
        let stream =
            TcpStream::connect(address).unwrap_or_else(|error| panic!("connecting to {address}: {error}"));
        let prepared = stream.set_nodelay(true);
        assert!(prepared.is_ok(), "{prepared:?}");
        Self::over(Socket::Tcp(stream))
    }

    /// Connect to a unix socket and send the magic.
    #[track_caller]
    pub fn connect_unix(path: &Path) -> Self {
        let stream = UnixStream::connect(path)
            .unwrap_or_else(|error| panic!("connecting to {}: {error}", path.display()));
        let mut peer = Self::over(Socket::Unix(stream));
        peer.send(b"  V2");
        peer
    }

    #[track_caller]
    fn over(socket: Socket) -> Self {
        let link = Link::new(socket);
        let prepared = link.set_write_timeout(PATIENCE);
        assert!(prepared.is_ok(), "{prepared:?}");
        Self { link, inbox: Vec::new(), is_closed: false }
    }

    /// This end's address, as nsqd shows it in its statistics.
    pub fn address(&self) -> String {
        match &self.link.socket {
            Socket::Tcp(stream) => stream.local_addr().map(|address| address.to_string()).unwrap_or_default(),
            Socket::Unix(_) => "@".to_owned(),
        }
    }

    /// Write bytes as they are.
    #[track_caller]
    pub fn send(&mut self, bytes: &[u8]) {
        if let Err(error) = self.link.send(bytes) {
            panic!("sending {} bytes: {error}", bytes.len());
        }
    }

    /// Write bytes as they are; nsqd may have closed already.
    pub fn try_send(&mut self, bytes: &[u8]) -> bool {
        self.link.send(bytes).is_ok()
    }

    /// Write bytes as they are; false when nsqd did not take all of them in that time.
    pub fn try_send_within(&mut self, bytes: &[u8], time: Duration) -> bool {
        let limited = self.link.set_write_timeout(time);
        let sent = limited.and_then(|()| self.link.send(bytes));
        let _ = self.link.set_write_timeout(PATIENCE);
        sent.is_ok()
    }

    /// Close the sending direction only: nsqd reads an end of file.
    pub fn send_nothing_more(&mut self) {
        let _ = self.link.shutdown_write();
    }

    /// A command without a body.
    #[track_caller]
    pub fn line(&mut self, line: &str) {
        self.send(format!("{line}\n").as_bytes());
    }

    /// A command with a body: `[u32 length][bytes]`.
    #[track_caller]
    pub fn line_and_body(&mut self, line: &str, body: &[u8]) {
        self.send(&[line.as_bytes(), b"\n", &sized(body)].concat());
    }
}

/// Layers, put on as clients do.
impl Peer {
    /// IDENTIFY, and whatever of TLS and compression nsqd then grants, each with its OK. `trust` is for TLS.
    #[track_caller]
    pub fn upgrade(&mut self, wishes: Value, trust: Option<Arc<ClientConfig>>) -> Value {
        let granted = self.identify(wishes);
        let is_granted = |layer| granted.get(layer) == Some(&json!(true));
        if let Some(config) = trust.filter(|_| is_granted("tls_v1")) {
            self.start_tls(config);
            self.expect_response("OK");
        }
        if is_granted("snappy") {
            self.compress(Link::start_snappy);
            self.expect_response("OK");
        } else if is_granted("deflate") {
            self.compress(Link::start_deflate);
            self.expect_response("OK");
        }
        granted
    }

    /// What came behind the last frame is compressed already.
    #[track_caller]
    fn compress(&mut self, start: impl FnOnce(&mut Link)) {
        start(&mut self.link);
        let early = std::mem::take(&mut self.inbox);
        if let Err(error) = self.link.decompress(&early, &mut self.inbox) {
            panic!("compression: {error}");
        }
    }

    /// The handshake of TLS.
    #[track_caller]
    pub fn start_tls(&mut self, config: Arc<ClientConfig>) {
        let done = Link::hello(config).and_then(|(tls, hello)| {
            self.link.socket.write_all(&hello)?;
            self.link.start_tls(tls, &std::mem::take(&mut self.inbox))
        });
        if let Err(error) = done {
            panic!("the TLS handshake: {error}");
        }
    }

    /// IDENTIFY and the first bytes of TLS in one go, then the rest of the handshake.
    #[track_caller]
    pub fn identify_and_hello(&mut self, mut wishes: Value, config: Arc<ClientConfig>) {
        if let Some(fields) = wishes.as_object_mut() {
            fields.insert("feature_negotiation".to_owned(), json!(true));
        }
        let (tls, hello) = Link::hello(config).unwrap_or_else(|error| panic!("TLS: {error}"));
        let body = wishes.to_string();
        self.send(&[b"IDENTIFY\n", &sized(body.as_bytes())[..], &hello].concat());
        let Some(size) = self.until_inbox(4).map(|()| u32_at(&self.inbox, 0).unwrap_or(0)) else {
            panic!("no answer to IDENTIFY");
        };
        let end = 4 + usize::try_from(size).unwrap_or(0);
        self.until_inbox(end);
        let early = self.inbox.split_off(end);
        self.inbox.clear();
        if let Err(error) = self.link.start_tls(tls, &early) {
            panic!("the TLS handshake: {error}");
        }
    }

    /// The text of an error frame that follows an alert of TLS, which comes in the clear.
    #[track_caller]
    pub fn receive_error_after_alert(&mut self) -> String {
        const ALERT_BYTES: usize = 7;
        self.until_inbox(ALERT_BYTES);
        assert_eq!(self.inbox.first(), Some(&21), "an alert: {:?}", self.inbox);
        self.inbox.drain(..ALERT_BYTES);
        match self.receive() {
            Frame::Error(text) => text,
            other => panic!("expected an error, got {other:?}"),
        }
    }

    /// Read until so many bytes are there that are not a frame yet.
    fn until_inbox(&mut self, bytes: usize) -> Option<()> {
        let limit = Instant::now() + PATIENCE;
        while self.inbox.len() < bytes && !self.is_closed && Instant::now() < limit {
            self.read_some(limit.saturating_duration_since(Instant::now()));
        }
        (self.inbox.len() >= bytes).then_some(())
    }

    /// Write bytes past the compression, if there is any.
    pub fn try_send_uncompressed(&mut self, bytes: &[u8]) -> bool {
        self.link.send_uncompressed(bytes).is_ok()
    }

    /// Write bytes to the socket itself.
    pub fn try_send_raw(&mut self, bytes: &[u8]) -> bool {
        self.link.socket.write_all(bytes).is_ok()
    }
}

/// Commands, each waiting for its answer where the protocol has one.
impl Peer {
    /// IDENTIFY with feature negotiation; gives what nsqd granted.
    #[track_caller]
    pub fn identify(&mut self, mut wishes: Value) -> Value {
        if let Some(fields) = wishes.as_object_mut() {
            fields.insert("feature_negotiation".to_owned(), Value::Bool(true));
        }
        self.line_and_body("IDENTIFY", wishes.to_string().as_bytes());
        match self.receive() {
            Frame::Response(text) => {
                serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error} in {text}"))
            }
            other => panic!("expected the answer to IDENTIFY, got {other:?}"),
        }
    }

    /// SUB.
    #[track_caller]
    pub fn subscribe(&mut self, topic: &str, channel: &str) {
        self.line(&format!("SUB {topic} {channel}"));
        self.expect_response("OK");
    }

    /// PUB.
    #[track_caller]
    pub fn publish(&mut self, topic: &str, body: impl AsRef<[u8]>) {
        self.line_and_body(&format!("PUB {topic}"), body.as_ref());
        self.expect_response("OK");
    }

    /// DPUB.
    #[track_caller]
    pub fn publish_deferred(&mut self, topic: &str, delay: Duration, body: impl AsRef<[u8]>) {
        self.line_and_body(&format!("DPUB {topic} {}", delay.as_millis()), body.as_ref());
        self.expect_response("OK");
    }

    /// MPUB.
    #[track_caller]
    pub fn publish_all<B: AsRef<[u8]>>(&mut self, topic: &str, bodies: &[B]) {
        self.line_and_body(&format!("MPUB {topic}"), &batch(bodies));
        self.expect_response("OK");
    }

    /// RDY.
    #[track_caller]
    pub fn ready(&mut self, count: u64) {
        self.line(&format!("RDY {count}"));
    }

    /// FIN.
    #[track_caller]
    pub fn finish(&mut self, message: &Message) {
        self.line(&format!("FIN {}", message.id));
    }

    /// REQ.
    #[track_caller]
    pub fn requeue(&mut self, message: &Message, delay: Duration) {
        self.line(&format!("REQ {} {}", message.id, delay.as_millis()));
    }

    /// TOUCH.
    #[track_caller]
    pub fn touch(&mut self, message: &Message) {
        self.line(&format!("TOUCH {}", message.id));
    }

    /// CLS, which is also a barrier: everything sent before it is done when this returns. Gives the messages that
    /// were on their way meanwhile.
    #[track_caller]
    pub fn close(&mut self) -> Vec<Message> {
        self.line("CLS");
        let mut late = Vec::new();
        loop {
            match self.receive() {
                Frame::Message(message) => late.push(message),
                Frame::Response(text) if text == "CLOSE_WAIT" => return late,
                other => panic!("expected CLOSE_WAIT, got {other:?}"),
            }
        }
    }
}

/// What comes back.
impl Peer {
    /// The next frame that is not a heartbeat; heartbeats are answered with NOP.
    #[track_caller]
    pub fn receive(&mut self) -> Frame {
        self.receive_within(PATIENCE).unwrap_or_else(|| panic!("no frame within {} s", PATIENCE.as_secs()))
    }

    /// Like [`Peer::receive`], or `None` when nothing comes in that time.
    #[track_caller]
    pub fn receive_within(&mut self, time: Duration) -> Option<Frame> {
        let limit = Instant::now() + time;
        loop {
            let frame = self.receive_raw(limit)?;
            if frame != Frame::Response("_heartbeat_".to_owned()) {
                return Some(frame);
            }
            self.try_send(b"NOP\n");
        }
    }

    /// The next frame, heartbeats included.
    #[track_caller]
    pub fn receive_raw(&mut self, limit: Instant) -> Option<Frame> {
        loop {
            if let Some(frame) = self.take_frame() {
                return Some(frame);
            }
            if self.is_closed {
                return Some(Frame::Closed);
            }
            let left = limit.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return None;
            }
            self.read_some(left);
        }
    }

    /// A delivery.
    #[track_caller]
    pub fn expect_message(&mut self) -> Message {
        match self.receive() {
            Frame::Message(message) => message,
            other => panic!("expected a message, got {other:?}"),
        }
    }

    /// That many deliveries.
    #[track_caller]
    pub fn expect_messages(&mut self, count: usize) -> Vec<Message> {
        (0..count).map(|_| self.expect_message()).collect()
    }

    /// This response.
    #[track_caller]
    pub fn expect_response(&mut self, text: &str) {
        assert_eq!(self.receive(), Frame::Response(text.to_owned()));
    }

    /// This error, to the letter.
    #[track_caller]
    pub fn expect_error(&mut self, text: &str) {
        assert_eq!(self.receive(), Frame::Error(text.to_owned()));
    }

    /// The end of the connection, and no frame before it.
    #[track_caller]
    pub fn expect_closed(&mut self) {
        assert_eq!(self.receive(), Frame::Closed);
    }

    /// That nothing comes during this time.
    #[track_caller]
    pub fn expect_nothing(&mut self, time: Duration) {
        assert_eq!(self.receive_within(time), None);
    }

    fn read_some(&mut self, wait: Duration) {
        match self.link.read(wait, &mut self.inbox) {
            Ok(()) => {}
            Err(error) if matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            // A reset is what a close looks like when nsqd did not read all that was sent.
            Err(_) => self.is_closed = true,
        }
    }

    /// `[u32 size][u32 type][data]`, where size counts the type too.
    fn take_frame(&mut self) -> Option<Frame> {
        let size = usize::try_from(u32_at(&self.inbox, 0)?).unwrap_or(usize::MAX);
        assert!((4..64 << 20).contains(&size), "a frame of {size} bytes");
        if self.inbox.len() < 4 + size {
            return None;
        }
        let bytes: Vec<u8> = self.inbox.drain(..4 + size).collect();
        let data = bytes.get(8..).unwrap_or_default();
        let text = || String::from_utf8_lossy(data).into_owned();
        match u32_at(&bytes, 4) {
            Some(0) => Some(Frame::Response(text())),
            Some(1) => Some(Frame::Error(text())),
            Some(2) => Some(Frame::Message(message(data))),
            other => panic!("a frame of type {other:?}: {}", text()),
        }
    }
}

/// `[u32 length][bytes]`.
fn sized(body: &[u8]) -> Vec<u8> {
    let length = u32::try_from(body.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), body].concat()
}

/// The body of an MPUB: `[u32 count]` and each message sized.
fn batch<B: AsRef<[u8]>>(bodies: &[B]) -> Vec<u8> {
    let count = u32::try_from(bodies.len()).unwrap_or(u32::MAX);
    let mut bytes = count.to_be_bytes().to_vec();
    for body in bodies {
        bytes.extend(sized(body.as_ref()));
    }
    bytes
}

fn message(data: &[u8]) -> Message {
    let (Some((timestamp, rest)), true) = (data.split_first_chunk::<8>(), data.len() >= 26) else {
        panic!("a message of {} bytes", data.len());
    };
    let attempts = rest.first_chunk::<2>().copied().unwrap_or_default();
    let id = String::from_utf8_lossy(rest.get(2..18).unwrap_or_default()).into_owned();
    let body = rest.get(18..).unwrap_or_default().to_vec();
    Message { timestamp: i64::from_be_bytes(*timestamp), attempts: u16::from_be_bytes(attempts), id, body }
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_be_bytes(*bytes.get(at..)?.first_chunk::<4>()?))
}
