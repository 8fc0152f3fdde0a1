//! One nsqlookupd: connect, say who we are, register everything, then only what changes, and ping. After any
//! error the connection is made anew, with everything registered again.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use protocol::MAGIC_V1;
use protocol::lookup::{LookupCommand, LookupdInfo, PeerInfo, decode_reply};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::{Registrations, registrations};
use crate::broker::Broker;

/// nsqd: connecting, and each answer, may take a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// nsqd: a lookupd hears from us at least this often.
const PING_EVERY: Duration = Duration::from_secs(15);

/// Between tries to connect, growing to the second figure, so that a dead lookupd costs little.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// A lookupd's answers are small; more than this is not a lookupd.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// The task for one address.
pub(super) struct Peer {
    broker: Arc<Broker>,
    address: String,
    me: Vec<u8>,
}

/// A connection on which we have identified ourselves.
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    known: Registrations,
}

impl Peer {
    pub(super) fn new(broker: &Arc<Broker>, address: &str, me: &PeerInfo) -> Self {
        let me = serde_json::to_vec(me).unwrap_or_default();
        Self { broker: Arc::clone(broker), address: address.to_owned(), me }
    }

    /// Keep the registration alive until the broker stops.
    pub(super) async fn run(self) {
        let stop = self.broker.context.shutdown.clone();
        tokio::select! {
            () = stop.wait() => {}
            () = self.run_for_ever() => {}
        }
        self.broker.lookups.left(&self.address);
    }

    async fn run_for_ever(&self) {
        let mut wait = RETRY.0;
        let mut is_told = false;
        loop {
            match self.connect().await {
                Ok(mut connection) => {
                    (wait, is_told) = (RETRY.0, false);
                    let Err(error) = self.stay(&mut connection).await;
                    self.broker.lookups.left(&self.address);
                    tracing::error!(lookupd = self.address, %error, "lost the connection");
                }
                // A lookupd that stays away is told of once.
                Err(error) if !is_told => {
                    is_told = true;
                    tracing::error!(lookupd = self.address, %error, "cannot connect; trying again");
                }
                Err(_) => {}
            }
            tokio::time::sleep(wait).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }

    async fn connect(&self) -> io::Result<Connection> {
        let stream = in_time(TcpStream::connect(&self.address)).await?;
        stream.set_nodelay(true)?;
        let mut connection = Connection { stream, read: Vec::new(), known: Registrations::new() };
        let mut out = MAGIC_V1.to_vec();
        LookupCommand::Identify { body: &self.me }.encode(&mut out);
        connection.send(&out).await?;
        let answer = connection.answer().await?;
        let info: LookupdInfo = serde_json::from_slice(&answer).map_err(|_| refused(&answer))?;
        self.tell(&mut connection).await?;
        tracing::info!(lookupd = self.address, "connected and registered");
        self.broker.lookups.joined(&self.address, info);
        Ok(connection)
    }

    /// Tell changes as they come, and ping.
    async fn stay(&self, connection: &mut Connection) -> Result<std::convert::Infallible, io::Error> {
        let mut changes = self.broker.watch_changes();
        let mut ping = tokio::time::interval(PING_EVERY);
        ping.reset();
        loop {
            self.tell(connection).await?;
            tokio::select! {
                changed = changes.changed() => changed.map_err(|_| io::Error::other("the broker is gone"))?,
                _ = ping.tick() => connection.order(&LookupCommand::Ping).await?,
                // A lookupd says nothing unasked: readable means closed.
                ready = connection.stream.readable() => {
                    ready?;
                    connection.check_open()?;
                }
            }
        }
    }

    /// Send what changed since the last time.
    async fn tell(&self, connection: &mut Connection) -> io::Result<()> {
        let wanted = registrations(&self.broker);
        let gone: Vec<_> = connection.known.difference(&wanted).cloned().collect();
        let new: Vec<_> = wanted.difference(&connection.known).cloned().collect();
        for (topic, channel) in gone {
            connection.order(&LookupCommand::Unregister { topic, channel }).await?;
        }
        for (topic, channel) in new {
            connection.order(&LookupCommand::Register { topic, channel }).await?;
        }
        connection.known = wanted;
        Ok(())
    }
}

impl Connection {
    /// One command; anything but OK is an error.
    async fn order(&mut self, command: &LookupCommand<'_>) -> io::Result<()> {
        let mut out = Vec::new();
        command.encode(&mut out);
        self.send(&out).await?;
        let answer = self.answer().await?;
        if answer == b"OK" { Ok(()) } else { Err(refused(&answer)) }
    }

    async fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        in_time(self.stream.write_all(bytes)).await
    }

    async fn answer(&mut self) -> io::Result<Vec<u8>> {
        loop {
            let whole = decode_reply(&self.read, ANSWER_BYTES_MAX)
                .map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error.to_string()))?
                .map(|(answer, used)| (answer.to_vec(), used));
            if let Some((answer, used)) = whole {
                self.read.drain(..used);
                return Ok(answer);
            }
            if in_time(self.stream.read_buf(&mut self.read)).await? == 0 {
                return Err(io::ErrorKind::UnexpectedEof.into());
            }
        }
    }

    fn check_open(&mut self) -> io::Result<()> {
        match self.stream.try_read_buf(&mut self.read) {
            Ok(0) => Err(io::ErrorKind::UnexpectedEof.into()),
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(()),
            Err(error) => Err(error),
        }
    }
}

async fn in_time<T>(work: impl Future<Output = io::Result<T>>) -> io::Result<T> {
    timeout(ANSWER_WITHIN, work).await.map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?
}

fn refused(answer: &[u8]) -> io::Error {
    io::Error::other(format!("it answered {}", answer.escape_ascii()))
}
