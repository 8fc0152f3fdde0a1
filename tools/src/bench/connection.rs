//! A client connection of the generator: commands are packed and sent in one write, frames are read in place.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::{Buf as _, BytesMut};
use protocol::{Command, Frame, HEARTBEAT, MAGIC_V2, OK, decode_frame};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::layers::{Layer, Link};
use super::target::Target;

/// Larger than any message a work sends.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// A server that says nothing for so long is taken for dead, so that no run hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A connection that has said its magic, with the layer of the work.
#[derive(Debug)]
pub(super) struct Connection {
    link: Link,
    input: BytesMut,
    output: Vec<u8>,
}

impl Connection {
    /// Connect.
    pub(super) async fn open(target: &Target) -> Result<Self> {
        let address = &target.tcp;
        let stream = timeout(ANSWER_WITHIN, TcpStream::connect(address)).await;
        let stream = stream.context("timed out").and_then(|connected| connected.map_err(explain));
        let stream = stream.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        let mut connection = Self { link: Link::new(stream), input: BytesMut::new(), output: Vec::new() };
        connection.send(MAGIC_V2).await?;
        if let Some(body) = target.layer.identify() {
            connection.upgrade(target, body).await.context("IDENTIFY")?;
        }
        Ok(connection)
    }

    /// Add a command to what the next `flush` sends.
    pub(super) fn pack(&mut self, command: &Command<'_>) {
        command.encode(&mut self.output);
    }

    /// Send what was packed.
    pub(super) async fn flush(&mut self) -> Result<()> {
        if self.output.is_empty() {
            return Ok(());
        }
        self.link.send(&self.output).await?;
        self.output.clear();
        Ok(())
    }

    /// Send these bytes, which are whole commands.
    pub(super) async fn send(&mut self, commands: &[u8]) -> Result<()> {
        self.link.send(commands).await
    }

    /// Wait until at least `count` OKs have come, and tell how many did: those that are there already are taken too.
    pub(super) async fn oks(&mut self, count: usize) -> Result<usize> {
        let mut come = 0;
        while come < count {
            let mut refused = None;
            let mut beats = 0;
            let arrived = self.frames(|frame| match frame {
                Frame::Response(data) if data == OK => come += 1,
                Frame::Response(data) if data == HEARTBEAT => beats += 1,
                other => refused = Some(format!("{other:?}")),
            });
            arrived.await?;
            if let Some(frame) = refused {
                bail!("nsqd answered {frame} instead of OK");
            }
            self.beat(beats).await?;
        }
        Ok(come)
    }

    /// Wait for bytes and look at every whole frame in what is there.
    pub(super) async fn frames(&mut self, mut look: impl FnMut(Frame<'_>)) -> Result<()> {
        // The answer to an upgrade may have come with what was before it.
        if self.input.is_empty() {
            self.receive().await?;
        }
        loop {
            let mut seen = 0;
            while let Some((frame, taken)) = decode_frame(&self.input, FRAME_BYTES_MAX).map_err(say)? {
                look(frame);
                self.input.advance(taken);
                seen += 1;
            }
            if seen > 0 {
                return Ok(());
            }
            self.receive().await?;
        }
    }

    /// Answer heartbeats, or nsqd would close the connection.
    pub(super) async fn beat(&mut self, beats: usize) -> Result<()> {
        if beats > 0 {
            self.pack(&Command::Nop);
            self.flush().await?;
        }
        Ok(())
    }

    async fn receive(&mut self) -> Result<()> {
        let received = timeout(ANSWER_WITHIN, self.link.receive(&mut self.input)).await;
        if !received.context("nsqd did not answer within 30 s")?? {
            bail!("nsqd closed the connection");
        }
        Ok(())
    }

    /// IDENTIFY, then the layer it was granted, which nsqd confirms with OK through that layer.
    async fn upgrade(&mut self, target: &Target, body: &[u8]) -> Result<()> {
        self.pack(&Command::Identify { body });
        self.flush().await?;
        self.granted(target.layer).await?;
        match target.layer {
            Layer::Plain => return Ok(()),
            Layer::Tls => self.link.start_tls(target.certificate.as_ref()).await?,
            Layer::Snappy | Layer::Deflate => {
                let early = self.input.split();
                self.link.start_compression(target.layer, early, &mut self.input)?;
            }
        }
        self.oks(1).await.map(|_| ())
    }

    /// The one frame that answers IDENTIFY: what follows it is in the layer.
    async fn granted(&mut self, layer: Layer) -> Result<()> {
        loop {
            if let Some((frame, taken)) = decode_frame(&self.input, FRAME_BYTES_MAX).map_err(say)? {
                let Frame::Response(answer) = frame else { bail!("nsqd answered {frame:?}") };
                let answer: serde_json::Value = serde_json::from_slice(answer).context("its answer")?;
                let key = match layer {
                    Layer::Plain => return Ok(()),
                    Layer::Tls => "tls_v1",
                    Layer::Snappy => "snappy",
                    Layer::Deflate => "deflate",
                };
                let is_granted = answer.get(key).and_then(serde_json::Value::as_bool) == Some(true);
                anyhow::ensure!(is_granted, "nsqd does not grant {key}");
                self.input.advance(taken);
                return Ok(());
            }
            self.receive().await?;
        }
    }
}

fn say(error: protocol::FrameError) -> anyhow::Error {
    anyhow::anyhow!("nsqd sent what is no frame: {error}")
}

/// The one refusal of the kernel that a flag of the shell mends.
fn explain(error: std::io::Error) -> anyhow::Error {
    let is_out = error.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error());
    let error = anyhow::Error::from(error);
    if is_out { error.context("too few file descriptors: raise `ulimit -n` of this shell") } else { error }
}
