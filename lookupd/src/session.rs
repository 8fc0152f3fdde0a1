//! One broker's connection: read what is there, obey it, answer in one write; at the end forget the broker.
//! The commands' bytes and error texts are `protocol::lookup`'s, what they change is `registry`'s.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Buf as _, BytesMut};
use protocol::lookup::{LookupCommand, PeerInfo, encode_reply};
use protocol::{ChannelName, Code, DecodeError, Error, MAGIC_V1, TopicName};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

// A line with a field of this name may come ten times a second, whoever causes it; the peer stands in its text.
use tracing::field::Empty;

use crate::state::State;

/// Serves the connection to its end, whatever the peer does.
pub(crate) async fn run(mut stream: TcpStream, peer: SocketAddr, state: Arc<State>) {
    prepare(&stream);
    tracing::debug!("TCP: new client({peer})");
    let mut session = Session { peer, state, is_identified: false };
    let ended = session.obey(&mut stream).await;
    // Before the farewell below, which may take a while: a refused broker is in no answer from now on.
    drop(session);
    match ended {
        Ok(()) => tracing::debug!("CLIENT({peer}): closing"),
        Err(End::Broken(error)) => tracing::debug!("CLIENT({peer}): {error}"),
        Err(End::Silent(why)) => tracing::debug!("CLIENT({peer}): {why}"),
        Err(End::Refused(error)) => {
            tracing::warn!(client = Empty, "CLIENT({peer}): refused: {error}");
            refuse(&mut stream, &error).await;
        }
    }
}

/// How long a peer may take for the first four bytes. nsqlookupd: for ever.
const MAGIC_WITHIN: Duration = Duration::from_secs(10);

/// How long a peer that did not say who it is may be silent. Brokers ping every 15 s; behind IDENTIFY there
/// is no limit, since an inactive broker is left out of answers anyway and a dead one is found by TCP
/// keep-alive.
const STRANGER_IDLE_MAX: Duration = Duration::from_secs(60);

/// How long a peer may leave its answers unread. nsqlookupd: for ever.
const ANSWERS_WITHIN: Duration = Duration::from_secs(10);

/// What is read at once, so that memory grows only with bytes that arrived.
const READ_BYTES: usize = 4096;

struct Session {
    peer: SocketAddr,
    state: Arc<State>,
    is_identified: bool,
}

// In Drop, so that a cancelled or panicking session is forgotten too.
impl Drop for Session {
    fn drop(&mut self) {
        if self.is_identified {
            self.state.registry().disconnect(self.peer);
            tracing::info!(client = Empty, "CLIENT({}): disconnected", self.peer);
        }
    }
}

/// Why a session ends other than by the peer's wish.
enum End {
    Refused(Error),
    Broken(io::Error),
    Silent(&'static str),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Refused(error)
    }
}

impl From<io::Error> for End {
    fn from(error: io::Error) -> Self {
        Self::Broken(error)
    }
}

impl Session {
    async fn obey(&mut self, stream: &mut TcpStream) -> Result<(), End> {
        let mut input = BytesMut::new();
        timeout(MAGIC_WITHIN, magic(stream, &mut input))
            .await
            .map_err(|_| End::Silent("no magic in time"))??;
        let mut output = Vec::new();
        loop {
            let obeyed = self.execute_all(&mut input, &mut output);
            timeout(ANSWERS_WITHIN, stream.write_all(&output))
                .await
                .map_err(|_| End::Silent("does not read its answers"))??;
            output.clear();
            obeyed?;
            if self.read(stream, &mut input).await? == 0 {
                return LookupCommand::truncated(&input, self.is_identified)
                    .map_or(Ok(()), |e| Err(e.into()));
            }
        }
    }

    async fn read(&self, stream: &mut TcpStream, input: &mut BytesMut) -> Result<usize, End> {
        input.reserve(READ_BYTES);
        if self.is_identified {
            return Ok(stream.read_buf(input).await?);
        }
        let read = timeout(STRANGER_IDLE_MAX, stream.read_buf(input)).await;
        Ok(read.map_err(|_| End::Silent("silent without IDENTIFY"))??)
    }

    /// Every whole command in `input`; the answers before an error stand in `output`.
    fn execute_all(&mut self, input: &mut BytesMut, output: &mut Vec<u8>) -> Result<(), End> {
        loop {
            let used = match LookupCommand::decode(input, self.is_identified) {
                Ok(None) => return Ok(()),
                Ok(Some((command, used))) => {
                    self.execute(command, output)?;
                    used
                }
                Err(DecodeError::Reply { error, .. }) => return Err(End::Refused(error)),
                Err(DecodeError::LineTooLong) => return Err(End::Silent("command line too long")),
            };
            input.advance(used.min(input.len()));
        }
    }

    fn execute(&mut self, command: LookupCommand<'_>, output: &mut Vec<u8>) -> Result<(), Error> {
        match command {
            LookupCommand::Identify { body } => return self.identify(body, output),
            LookupCommand::Register { topic, channel } => return self.register(topic, channel, output),
            LookupCommand::Unregister { topic, channel } => {
                if self.state.registry().unregister(self.peer, &topic, channel.as_ref()) {
                    let channel = channel.as_ref().map_or("", ChannelName::as_str);
                    tracing::info!(
                        client = Empty,
                        "DB: client({}) UNREGISTER topic({topic}) channel({channel})",
                        self.peer
                    );
                }
            }
            LookupCommand::Ping => self.state.registry().ping(self.peer, self.state.now()),
        }
        encode_reply(output, protocol::OK);
        Ok(())
    }

    /// A broker that has too much is told so and keeps what it has: were it closed, it would lose all of it. nsqd
    /// only logs such an answer.
    fn register(
        &self,
        topic: TopicName,
        channel: Option<ChannelName>,
        output: &mut Vec<u8>,
    ) -> Result<(), Error> {
        let told = format!("topic({topic}) channel({})", channel.as_ref().map_or("", ChannelName::as_str));
        let registered = self.state.registry().register(self.peer, topic, channel, self.state.now());
        match registered {
            Ok(is_new) => {
                if is_new {
                    tracing::info!(client = Empty, "DB: client({}) REGISTER {told}", self.peer);
                }
                encode_reply(output, protocol::OK);
            }
            Err(full) => {
                tracing::warn!(client = Empty, "DB: client({}) cannot REGISTER {told}: {full}", self.peer);
                let error = Error::new(Code::Invalid, format!("REGISTER failed {full}"));
                encode_reply(output, error.to_string().as_bytes());
            }
        }
        Ok(())
    }

    fn identify(&mut self, body: &[u8], output: &mut Vec<u8>) -> Result<(), Error> {
        let mut info = PeerInfo::parse(body)?;
        let given = std::mem::take(&mut info.auth_token);
        if !self.state.token.admits(&given.0) {
            return Err(Error::new(Code::Unauthorized, "IDENTIFY failed"));
        }
        let (peer, address) = (self.peer, &info.broadcast_address);
        tracing::info!(
            client = Empty,
            version = info.version,
            "CLIENT({peer}): IDENTIFY {address}:{}",
            info.tcp_port
        );
        self.state.registry().identify(self.peer, info, self.state.now());
        self.is_identified = true;
        let about = serde_json::to_vec(&self.state.about);
        encode_reply(output, about.as_deref().unwrap_or(protocol::OK));
        Ok(())
    }
}

/// Reads the four bytes every connection starts with; any others are refused.
async fn magic(stream: &mut TcpStream, input: &mut BytesMut) -> Result<(), End> {
    while input.len() < MAGIC_V1.len() {
        input.reserve(READ_BYTES);
        if stream.read_buf(input).await? == 0 {
            return Err(End::Silent("closed before its magic"));
        }
    }
    if !input.starts_with(MAGIC_V1) {
        return Err(End::Refused(Error::new(Code::BadProtocol, "")));
    }
    input.advance(MAGIC_V1.len());
    Ok(())
}

/// Sends the error and closes. Input that was never read would make the kernel reset the connection, and the
/// reset can overtake the error; so some of it is read away first.
async fn refuse(stream: &mut TcpStream, error: &Error) {
    const LINGER: Duration = Duration::from_millis(500);
    const LINGER_BYTES_MAX: u64 = 256 << 10;
    let mut reply = Vec::new();
    encode_reply(&mut reply, error.to_string().as_bytes());
    let farewell = async {
        stream.write_all(&reply).await?;
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES_MAX), &mut tokio::io::sink()).await
    };
    // Whether the peer heard it no longer matters.
    let _ = timeout(LINGER, farewell).await;
}

fn prepare(stream: &TcpStream) {
    use rustix::net::sockopt;
    const PROBE_EVERY: Duration = Duration::from_secs(15);
    // nsqd: Go switches keep-alive on for accepted connections; without it a broker whose host vanished would
    // stay connected for ever. A kernel that refuses costs only that.
    let _ = stream.set_nodelay(true);
    let _ = sockopt::set_socket_keepalive(stream, true);
    let _ = sockopt::set_tcp_keepidle(stream, PROBE_EVERY);
    let _ = sockopt::set_tcp_keepintvl(stream, PROBE_EVERY);
}
