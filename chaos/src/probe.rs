//! A topic of the driver's own beside the load: does a publish get through, and do waiting messages come?

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use protocol::{ChannelName, Command, Frame, HEARTBEAT, TopicName};

use crate::diary::Clock;
use crate::http;
use crate::wire::{Came, Connection};

const TOPIC: &str = "probe";
const CHANNEL: &str = "driver";
const PATIENCE: Duration = Duration::from_secs(10);

/// The topic, while it is there.
#[derive(Debug)]
pub struct Probe {
    tcp: SocketAddr,
    http: SocketAddr,
    clock: Clock,
}

impl Probe {
    /// Make the topic with one channel.
    ///
    /// # Errors
    /// nsqd refuses, or does not answer.
    pub fn start(tcp: SocketAddr, http: SocketAddr, clock: Clock) -> Result<Self> {
        http::post(http, &format!("/topic/create?topic={TOPIC}"))?;
        http::post(http, &format!("/channel/create?topic={TOPIC}&channel={CHANNEL}"))?;
        Ok(Self::at(tcp, http, clock))
    }

    /// The topic that an earlier probe made.
    pub fn at(tcp: SocketAddr, http: SocketAddr, clock: Clock) -> Self {
        Self { tcp, http, clock }
    }

    /// Publish over HTTP. Says whether it was answered with OK; not so: it was refused.
    ///
    /// # Errors
    /// nsqd does not answer.
    pub fn publish(&self, body: &[u8]) -> Result<bool> {
        let about = || format!("POST /pub at {}", self.http);
        let mut stream = TcpStream::connect_timeout(&self.http, PATIENCE).with_context(about)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        let length = body.len();
        let head = format!(
            "POST /pub?topic={TOPIC} HTTP/1.1\r\nHost: nsqd\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(&[head.as_bytes(), body].concat()).with_context(about)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).with_context(about)?;
        match answer.get(9..12) {
            Some(b"200") => Ok(true),
            Some(b"503" | b"500") => Ok(false),
            _ => bail!("{}: {}", about(), String::from_utf8_lossy(&answer)),
        }
    }

    /// Receive and finish what there is, until nothing came for a moment. Gives how many messages.
    ///
    /// # Errors
    /// The connection breaks.
    pub fn drain(&self, limit: Duration) -> Result<usize> {
        let mut connection = Connection::open(self.tcp, self.clock, None)?;
        let mut out = Vec::new();
        let (topic, channel) = (TopicName::new(TOPIC)?, ChannelName::new(CHANNEL)?);
        Command::Subscribe { topic, channel }.encode(&mut out);
        connection.send(&out)?;
        connection.expect_ok()?;
        out.clear();
        Command::Ready { count: 50 }.encode(&mut out);
        let began = Instant::now();
        let (mut count, mut last) = (0, Instant::now());
        while began.elapsed() < limit && last.elapsed() < Duration::from_millis(500) {
            connection.send(&out)?;
            out.clear();
            if connection.read() == Came::End {
                bail!("nsqd closed the connection of a consumer while the disk was full");
            }
            while let Some((frame, _)) = connection.frame()? {
                match frame {
                    Frame::Message { head, .. } => {
                        Command::Finish { id: head.id }.encode(&mut out);
                        (count, last) = (count + 1, Instant::now());
                    }
                    Frame::Response(HEARTBEAT) => Command::Nop.encode(&mut out),
                    Frame::Response(_) => {}
                    Frame::Error(error) => bail!("a consumer was told {}", String::from_utf8_lossy(error)),
                }
            }
        }
        Ok(count)
    }

    /// Delete the topic.
    ///
    /// # Errors
    /// nsqd refuses, or does not answer.
    pub fn end(self) -> Result<()> {
        http::post(self.http, &format!("/topic/delete?topic={TOPIC}"))
    }
}
