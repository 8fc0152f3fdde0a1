//! A shard on the thread of a test, over a disk in memory, for the tests of sessions in `session/tests.rs`.

use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use daemon::options::{Parsed, parse};
use daemon::shutdown::Shutdown;
use protocol::{Frame, decode_frame};
use storage::{DataDir, Disk, FakeDisk};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::UnixStream;
use tokio::runtime::{Builder, Handle, LocalOptions};
use tokio::sync::mpsc;

use super::Shard;
use crate::broker::Broker;
use crate::guards::Guards;
use crate::listener::Arrival;
use crate::options::{Options, TABLE};
use crate::serve::context;
use crate::session::Session;
use crate::socket::{Peer, Stream};
use crate::traces::Traces;

/// A broker with one shard.
pub(crate) struct Here {
    /// Where its sessions are.
    pub shard: Rc<Shard>,
    _arrivals: mpsc::UnboundedSender<Arrival>,
}

/// The other end of a session's connection.
pub(crate) struct Client {
    stream: UnixStream,
    received: Vec<u8>,
}

/// What a client receives.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Got {
    /// A response, or an error.
    Text(String),
    /// A message: its id, body and attempts.
    Message { id: String, body: String, attempts: u16 },
    /// The end.
    Closed,
}

impl Here {
    /// Run a test with a broker that has these flags.
    pub(crate) fn run<T: AsyncFnOnce(Self)>(flags: &[&str], test: T) {
        let runtime =
            Builder::new_current_thread().enable_all().build_local(LocalOptions::default()).unwrap();
        let ended = runtime.block_on(async {
            tokio::time::timeout(Duration::from_secs(60), async { test(Self::start(flags)).await }).await
        });
        assert!(ended.is_ok(), "it takes for ever");
    }

    fn start(flags: &[&str]) -> Self {
        let Ok(Parsed::Run(values)) = parse("nsqd", "", TABLE, flags.iter().copied()) else {
            panic!("{flags:?}")
        };
        let options = Options::from_values(&values).unwrap();
        let guards = Guards::load(&options).unwrap();
        let (context, work) = context(&options, &Shutdown::new(), Traces::default());
        let disk: Arc<dyn Disk> = Arc::new(FakeDisk::default());
        let dir = DataDir::open_as(Arc::clone(&disk), Path::new("/data"), None).unwrap();
        let control = Handle::current();
        let broker = Broker::open(options, guards, Arc::clone(&context), control, disk, dir).unwrap();
        work.start(&context, None);
        let shard = Shard::new(broker, Arc::default(), Arc::default());
        let (arrivals, inbox) = mpsc::unbounded_channel();
        tokio::task::spawn_local(Rc::clone(&shard).run(inbox));
        Self { shard, _arrivals: arrivals }
    }

    /// A client that has said the magic, and its session.
    pub(crate) async fn connect(&self) -> (Client, Rc<Session>) {
        let (theirs, ours) = std::os::unix::net::UnixStream::pair().unwrap();
        theirs.set_nonblocking(true).unwrap();
        ours.set_nonblocking(true).unwrap();
        let place = self.shard.broker.admission.admit(None).unwrap();
        self.shard.accept(Arrival { stream: Stream::Unix(ours), peer: Peer::Unix, place });
        let newest =
            self.shard.sessions.borrow().iter().max_by_key(|(id, _)| **id).map(|(_, it)| Rc::clone(it));
        let mut client = Client { stream: UnixStream::from_std(theirs).unwrap(), received: Vec::new() };
        client.send(b"  V2").await;
        (client, newest.unwrap())
    }

    /// How many sessions there are.
    pub(crate) fn sessions(&self) -> usize {
        self.shard.sessions.borrow().len()
    }
}

impl Client {
    pub(crate) async fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).await.unwrap();
    }

    pub(crate) async fn publish(&mut self, topic: &str, body: &str) {
        let mut command = format!("PUB {topic}\n").into_bytes();
        command.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
        command.extend(body.as_bytes());
        self.send(&command).await;
        assert_eq!(self.receive().await, Got::Text("OK".to_owned()));
    }

    pub(crate) async fn consume(&mut self, topic: &str, channel: &str, ready: u64) {
        self.send(format!("SUB {topic} {channel}\n").as_bytes()).await;
        assert_eq!(self.receive().await, Got::Text("OK".to_owned()));
        self.send(format!("RDY {ready}\n").as_bytes()).await;
    }

    /// The next frame.
    pub(crate) async fn receive(&mut self) -> Got {
        loop {
            let decoded = decode_frame(&self.received, 1 << 24).unwrap();
            if let Some((frame, used)) = decoded {
                let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
                let got = match frame {
                    Frame::Response(bytes) | Frame::Error(bytes) => Got::Text(text(bytes)),
                    Frame::Message { head, body } => {
                        Got::Message { id: head.id.to_string(), body: text(body), attempts: head.attempts }
                    }
                };
                self.received.drain(..used);
                return got;
            }
            if self.stream.read_buf(&mut self.received).await.unwrap_or(0) == 0 {
                return Got::Closed;
            }
        }
    }
}
