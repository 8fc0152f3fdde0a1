//! A running nsqd with a data folder of its own, and short ways to ask it for things.

use std::net::SocketAddr;
use std::path::Path;
use std::process::ExitStatus;

use serde_json::Value;
use tempfile::TempDir;

use crate::binaries;
use crate::http::{Reply, list, request};
use crate::peer::Peer;
use crate::process::Process;
use crate::waiting::eventually;

/// nsqd as a child process.
#[derive(Debug)]
pub struct Nsqd {
    process: Process,
    flags: Vec<String>,
    tcp: SocketAddr,
    http: SocketAddr,
    data: TempDir,
}

impl Nsqd {
    /// With default options, on ports the system chooses.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these flags too, such as `--msg-timeout=1s`.
    #[track_caller]
    pub fn with(flags: &[&str]) -> Self {
        let data = TempDir::new().unwrap_or_else(|error| panic!("a folder for nsqd's data: {error}"));
        Self::on(data, flags)
    }

    /// With its clients' listener at a path instead of a port.
    #[track_caller]
    pub fn with_unix(path: &Path, flags: &[&str]) -> Self {
        let data = TempDir::new().unwrap_or_else(|error| panic!("a folder for nsqd's data: {error}"));
        let mut flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        flags.push(format!("--tcp-address={}", path.display()));
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let process = launch(any, any, data.path(), &flags);
        let http = process.address("HTTP");
        Self { process, flags, tcp: any, http, data }
    }

    /// On a data folder that holds something already.
    #[track_caller]
    pub fn on(data: TempDir, flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        let process = launch(any, any, data.path(), &flags);
        let (tcp, http) = (process.address("TCP"), process.address("HTTP"));
        Self { process, flags, tcp, http, data }
    }

    /// Where it speaks the wire protocol.
    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Where it serves HTTP.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// Its data folder.
    pub fn data_path(&self) -> &Path {
        self.data.path()
    }

    /// The child process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// A new connection.
    #[track_caller]
    pub fn peer(&self) -> Peer {
        Peer::connect(self.tcp)
    }

    /// A new connection that subscribed and is ready for `count` messages.
    #[track_caller]
    pub fn consumer(&self, topic: &str, channel: &str, count: u64) -> Peer {
        let mut peer = self.peer();
        peer.subscribe(topic, channel);
        peer.ready(count);
        peer
    }

    /// kill -9, then a start with the same data and ports.
    #[track_caller]
    pub fn kill_and_restart(&mut self) {
        self.process.kill();
        self.restart();
    }

    /// kill -9, then a start with the same data and other flags.
    #[track_caller]
    pub fn kill_and_restart_with(&mut self, flags: &[&str]) {
        self.process.kill();
        self.flags = flags.iter().map(|flag| (*flag).to_owned()).collect();
        self.restart();
    }

    /// SIGTERM, then a start with the same data and ports. Gives how the first one ended.
    #[track_caller]
    pub fn terminate_and_restart(&mut self) -> ExitStatus {
        let status = self.process.terminate();
        self.restart();
        status
    }

    #[track_caller]
    fn restart(&mut self) {
        self.process = launch(self.tcp, self.http, self.data.path(), &self.flags);
        assert_eq!(self.process.address("TCP"), self.tcp);
        assert_eq!(self.process.address("HTTP"), self.http);
    }
}

/// Its HTTP API.
impl Nsqd {
    /// GET.
    #[track_caller]
    pub fn get(&self, target: &str) -> Reply {
        request(self.http, "GET", target, b"")
    }

    /// POST.
    #[track_caller]
    pub fn post(&self, target: &str, body: impl AsRef<[u8]>) -> Reply {
        request(self.http, "POST", target, body.as_ref())
    }

    /// A topic with channels, as /topic/create and /channel/create make them.
    #[track_caller]
    pub fn create(&self, topic: &str, channels: &[&str]) {
        // The # of #ephemeral would start a fragment.
        let topic = topic.replace('#', "%23");
        self.post(&format!("/topic/create?topic={topic}"), "").ok();
        for channel in channels {
            let channel = channel.replace('#', "%23");
            self.post(&format!("/channel/create?topic={topic}&channel={channel}"), "").ok();
        }
    }

    /// /stats as JSON.
    #[track_caller]
    pub fn stats(&self) -> Value {
        self.get("/stats?format=json").ok().json()
    }

    /// A topic in /stats; null when there is none.
    #[track_caller]
    pub fn topic(&self, topic: &str) -> Value {
        named(&self.stats(), "topics", "topic_name", topic)
    }

    /// A channel in /stats; null when there is none.
    #[track_caller]
    pub fn channel(&self, topic: &str, channel: &str) -> Value {
        named(&self.topic(topic), "channels", "channel_name", channel)
    }

    /// Wait until these fields of a channel in /stats have these values.
    #[track_caller]
    pub fn eventually_channel(&self, topic: &str, channel: &str, fields: &[(&str, u64)]) {
        eventually(&format!("{topic}/{channel} has {fields:?}"), || {
            let found = self.channel(topic, channel);
            fields.iter().all(|(name, value)| found.get(*name).is_some_and(|found| found == value))
        });
    }
}

fn named(object: &Value, items: &str, key: &str, name: &str) -> Value {
    let has_name = |item: &&Value| item.get(key).is_some_and(|found| found == name);
    list(object, items).iter().find(has_name).cloned().unwrap_or(Value::Null)
}

fn launch(tcp: SocketAddr, http: SocketAddr, data: &Path, flags: &[String]) -> Process {
    let mut args = vec![
        format!("--tcp-address={tcp}"),
        format!("--http-address={http}"),
        format!("--data-path={}", data.display()),
        "--broadcast-address=127.0.0.1".to_owned(),
    ];
    args.extend_from_slice(flags);
    Process::start(&binaries::nsqd(), &args)
}
