//! One nsqlookupd: connect, say who we are, register everything, then only what changes, and ping. After any
//! error the connection is made anew, with everything registered again.

use std::hash::{BuildHasher as _, RandomState};
use std::io;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use daemon::dial::connect_any;
use daemon::token::Token;
use protocol::lookup::{LookupCommand, LookupdInfo, PeerInfo, Secret, decode_reply};
use protocol::{ChannelName, MAGIC_V1, TopicName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::changes::News;
use super::channels::Asked;
use super::peers::PeerId;
use super::{Connected, Registrations, registrations, registrations_of};
use crate::broker::Broker;

/// nsqd: connecting, and each answer, may take a second.
const ANSWER_WITHIN: Duration = Duration::from_secs(1);

/// nsqd: a lookupd hears from us at least this often.
const PING_EVERY: Duration = Duration::from_secs(15);

/// Between tries to connect, growing to the second figure, so that a dead lookupd costs little and one that is back
/// has us soon.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(5));

/// A lookupd's answers are small; more than this is not a lookupd.
const ANSWER_BYTES_MAX: usize = 64 * 1024;

/// Commands sent before their answers are read: ten thousand topics one by one would take as many round trips.
const BATCH: usize = 64;

/// The task for one address.
pub(super) struct Peer {
    broker: Arc<Broker>,
    id: PeerId,
    /// As in logs.
    name: String,
    me: PeerInfo,
}

/// A connection on which we have identified ourselves.
struct Connection {
    stream: TcpStream,
    read: Vec<u8>,
    known: Registrations,
    /// How many changes of the broker are told; none on a new connection.
    told: Option<u64>,
    refused: usize,
    /// Something of ours was refused, and is to be told again.
    owes: bool,
}

impl Peer {
    pub(super) fn new(broker: &Arc<Broker>, id: &PeerId, me: &PeerInfo) -> Self {
        let name = match id.at {
            Some(at) => format!("{} ({at})", id.name),
            None => id.name.clone(),
        };
        Self { broker: Arc::clone(broker), id: id.clone(), name, me: me.clone() }
    }

    /// Keep the registration alive until the broker stops.
    pub(super) async fn run(self) {
        let stop = self.broker.context.shutdown.clone();
        tokio::select! {
            () = stop.wait() => {}
            () = self.run_for_ever() => {}
        }
        self.broker.lookups.left(&self.id);
    }

    async fn run_for_ever(&self) {
        let mut wait = RETRY.0;
        let mut is_told = false;
        loop {
            match self.connect().await {
                Ok(mut connection) => {
                    (wait, is_told) = (RETRY.0, false);
                    let Err(error) = self.stay(&mut connection).await;
                    tracing::error!(lookupd = self.name, %error, "lost the connection");
                }
                // A lookupd that stays away is told of once.
                Err(error) if !is_told => {
                    is_told = true;
                    tracing::error!(lookupd = self.name, %error, "cannot connect; trying again");
                }
                Err(_) => {}
            }
            self.broker.lookups.left(&self.id);
            tokio::time::sleep(jittered(wait)).await;
            wait = (wait * 2).min(RETRY.1);
        }
    }

    async fn connect(&self) -> io::Result<Connection> {
        let places: Vec<SocketAddr> = self.broker.lookups.places_of(&self.id);
        let stream = in_time(connect_any(&places)).await?;
        stream.set_nodelay(true)?;
        let at = stream.peer_addr()?;
        let mut connection = Connection {
            stream,
            read: Vec::new(),
            known: Registrations::new(),
            told: None,
            refused: 0,
            owes: false,
        };
        let mut out = MAGIC_V1.to_vec();
        LookupCommand::Identify { body: &self.who_we_are()? }.encode(&mut out);
        connection.send(&out).await?;
        let answer = connection.answer().await?;
        let info: LookupdInfo = serde_json::from_slice(&answer).map_err(|_| refused(&answer))?;
        let told = self.tell(&mut connection).await?;
        tracing::info!(lookupd = self.name, "connected and registered");
        let http = Arc::new(Asked::new(&info, at, &self.broker.options.lookupd_token_file));
        self.broker.lookups.joined(&self.id, Connected { at, http, told, owes: connection.owes });
        Ok(connection)
    }

    /// The body of IDENTIFY. The token's file is read each time, since tokens are changed.
    fn who_we_are(&self) -> io::Result<Vec<u8>> {
        let mut me = self.me.clone();
        let file = &self.broker.options.lookupd_token_file;
        if !file.is_empty() {
            let token = Token::read(Path::new(file)).map_err(io::Error::other)?;
            me.auth_token = Secret(token.reveal().to_owned());
        }
        serde_json::to_vec(&me).map_err(io::Error::other)
    }

    /// Tell changes as they come, and ping.
    async fn stay(&self, connection: &mut Connection) -> Result<std::convert::Infallible, io::Error> {
        let mut changes = self.broker.changes.watch();
        let mut ping = tokio::time::interval(PING_EVERY);
        ping.reset();
        loop {
            let told = self.tell(connection).await?;
            self.broker.lookups.told(&self.id, told, connection.owes);
            tokio::select! {
                changed = changes.changed() => changed.map_err(|_| io::Error::other("the broker is gone"))?,
                _ = ping.tick() => {
                    connection.order(&[LookupCommand::Ping]).await?;
                    if connection.owes {
                        // What it did not take it may have room for by now.
                        connection.told = None;
                    }
                }
                // A lookupd says nothing unasked: readable means closed.
                ready = connection.stream.readable() => {
                    ready?;
                    connection.check_open()?;
                }
            }
        }
    }

    /// Send what changed since the last time; up to which change is given back.
    async fn tell(&self, connection: &mut Connection) -> io::Result<u64> {
        let (news, count) = self.broker.changes.since(connection.told.unwrap_or(0));
        let news = if connection.told.is_none() { News::All } else { news };
        let is_all = matches!(news, News::All);
        let (known, wanted) = match news {
            News::All => (connection.known.clone(), registrations(&self.broker)),
            News::Of(topics) => {
                let mut part = (Registrations::new(), Registrations::new());
                for topic in topics {
                    part.0.extend(known_of(&connection.known, &topic));
                    let found = self.broker.topic(topic.as_str());
                    part.1.extend(found.iter().flat_map(|topic| registrations_of(&self.broker, topic)));
                }
                part
            }
        };
        let gone = known.difference(&wanted).cloned();
        let new = wanted.difference(&known).cloned();
        let gone = gone.map(|(topic, channel)| LookupCommand::Unregister { topic, channel });
        let new = new.map(|(topic, channel)| LookupCommand::Register { topic, channel });
        let orders: Vec<_> = gone.chain(new).collect();
        for orders in orders.chunks(BATCH) {
            connection.order(orders).await?;
        }
        let refused = std::mem::take(&mut connection.refused);
        if refused > 0 && !connection.owes {
            tracing::warn!(
                lookupd = self.name,
                refused,
                "it takes no more registrations of ours; trying again"
            );
        }
        connection.owes = refused > 0 || (connection.owes && !is_all);
        connection.told = Some(count);
        Ok(count)
    }
}

/// What of a topic is registered.
fn known_of(
    known: &Registrations,
    topic: &TopicName,
) -> impl Iterator<Item = (TopicName, Option<ChannelName>)> {
    let from = (topic.clone(), None);
    known.range(from..).take_while(move |(name, _)| name == topic).cloned()
}

impl Connection {
    /// Commands and their answers. A REGISTER that is refused leaves the connection as it is: a lookupd that does not
    /// want us any more closes it. Otherwise anything but OK is an error.
    async fn order(&mut self, commands: &[LookupCommand<'_>]) -> io::Result<()> {
        let mut out = Vec::new();
        commands.iter().for_each(|command| command.encode(&mut out));
        self.send(&out).await?;
        for command in commands {
            let is_taken = self.answer().await?;
            let is_taken = (is_taken == b"OK").then_some(()).ok_or(is_taken);
            match (command, is_taken) {
                // What is refused is not known there, so that it is told again when there may be room.
                (LookupCommand::Register { .. }, Err(_)) => self.refused += 1,
                (_, Err(answer)) => return Err(refused(&answer)),
                (LookupCommand::Register { topic, channel }, Ok(())) => {
                    self.known.insert((topic.clone(), channel.clone()));
                }
                (LookupCommand::Unregister { topic, channel }, Ok(())) => {
                    self.known.remove(&(topic.clone(), channel.clone()));
                }
                (LookupCommand::Identify { .. } | LookupCommand::Ping, Ok(())) => {}
            }
        }
        Ok(())
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

/// Between half of it and all of it, so that brokers do not come back to a restarted lookupd all at once.
fn jittered(wait: Duration) -> Duration {
    let random = RandomState::new().hash_one(0_u8) % 1024;
    wait / 2 + (wait / 2) * u32::try_from(random).unwrap_or(0) / 1024
}
