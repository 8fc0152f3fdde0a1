//! A client connection of the generator: commands are packed and sent in one write, frames are read in place.

use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use bytes::{Buf as _, BytesMut};
use protocol::{Command, Frame, HEARTBEAT, MAGIC_V2, OK, decode_frame};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time::timeout;

/// What one read takes: enough for a batch of answers, so that the generator's reads do not count.
const READ_BYTES: usize = 256 * 1024;

/// Larger than any message a work sends.
const FRAME_BYTES_MAX: usize = 16 << 20;

/// A server that says nothing for so long is taken for dead, so that no run hangs.
const ANSWER_WITHIN: Duration = Duration::from_secs(30);

/// A connection that has said its magic.
#[derive(Debug)]
pub(super) struct Connection {
    stream: TcpStream,
    input: BytesMut,
    output: Vec<u8>,
}

impl Connection {
    /// Connect.
    pub(super) async fn open(address: &str) -> Result<Self> {
        let stream = timeout(ANSWER_WITHIN, TcpStream::connect(address)).await;
        let stream = stream.context("timed out").and_then(|connected| Ok(connected?));
        let mut stream = stream.with_context(|| format!("cannot connect to {address}"))?;
        stream.set_nodelay(true)?;
        stream.write_all(MAGIC_V2).await?;
        Ok(Self { stream, input: BytesMut::new(), output: Vec::new() })
    }

    /// Add a command to what the next `flush` sends.
    pub(super) fn pack(&mut self, command: &Command<'_>) {
        command.encode(&mut self.output);
    }

    /// Send what was packed.
    pub(super) async fn flush(&mut self) -> Result<()> {
        self.stream.write_all(&self.output).await.context("nsqd closed the connection")?;
        self.output.clear();
        Ok(())
    }

    /// Send these bytes, which are whole commands.
    pub(super) async fn send(&mut self, commands: &[u8]) -> Result<()> {
        self.stream.write_all(commands).await.context("nsqd closed the connection")
    }

    /// Wait for `count` OKs.
    pub(super) async fn oks(&mut self, count: usize) -> Result<()> {
        let mut missing = count;
        while missing > 0 {
            let mut refused = None;
            let mut beats = 0;
            let arrived = self.frames(|frame| match frame {
                Frame::Response(data) if data == OK => missing = missing.saturating_sub(1),
                Frame::Response(data) if data == HEARTBEAT => beats += 1,
                other => refused = Some(format!("{other:?}")),
            });
            arrived.await?;
            if let Some(frame) = refused {
                bail!("nsqd answered {frame} instead of OK");
            }
            self.beat(beats).await?;
        }
        Ok(())
    }

    /// Wait for bytes and look at every whole frame in what is there.
    pub(super) async fn frames(&mut self, mut look: impl FnMut(Frame<'_>)) -> Result<()> {
        self.input.reserve(READ_BYTES);
        let read = timeout(ANSWER_WITHIN, self.stream.read_buf(&mut self.input)).await;
        if read.context("nsqd did not answer within 30 s")?.context("the connection broke")? == 0 {
            bail!("nsqd closed the connection");
        }
        while let Some((frame, taken)) = decode_frame(&self.input, FRAME_BYTES_MAX).map_err(say)? {
            look(frame);
            self.input.advance(taken);
        }
        Ok(())
    }

    /// Answer heartbeats, or nsqd would close the connection.
    pub(super) async fn beat(&mut self, beats: usize) -> Result<()> {
        if beats > 0 {
            self.pack(&Command::Nop);
            self.flush().await?;
        }
        Ok(())
    }
}

fn say(error: protocol::FrameError) -> anyhow::Error {
    anyhow::anyhow!("nsqd sent what is no frame: {error}")
}
