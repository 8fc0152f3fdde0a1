//! A running nsqlookupd.

use std::net::SocketAddr;

use serde_json::Value;

use crate::binaries;
use crate::http::{Reply, list, request};
use crate::process::Process;

/// nsqlookupd as a child process.
#[derive(Debug)]
pub struct Lookupd {
    process: Process,
    flags: Vec<String>,
    tcp: SocketAddr,
    http: SocketAddr,
}

impl Lookupd {
    /// With default options, on ports the system chooses.
    #[track_caller]
    pub fn start() -> Self {
        Self::with(&[])
    }

    /// With these flags too.
    #[track_caller]
    pub fn with(flags: &[&str]) -> Self {
        Self::at([127, 0, 0, 1], flags)
    }

    /// On this address of the loopback.
    #[track_caller]
    pub fn at(ip: [u8; 4], flags: &[&str]) -> Self {
        let flags: Vec<String> = flags.iter().map(|&flag| flag.to_owned()).collect();
        let any = SocketAddr::from((ip, 0));
        let process = launch(any, any, &flags);
        let (tcp, http) = (process.address("TCP"), process.address("HTTP"));
        Self { process, flags, tcp, http }
    }

    /// The child process.
    pub fn process(&mut self) -> &mut Process {
        &mut self.process
    }

    /// Where brokers register.
    pub fn tcp(&self) -> SocketAddr {
        self.tcp
    }

    /// Where clients ask.
    pub fn http(&self) -> SocketAddr {
        self.http
    }

    /// kill -9, then a start on the same ports: it knows nothing any more.
    #[track_caller]
    pub fn kill_and_restart(&mut self) {
        self.process.kill();
        self.process = launch(self.tcp, self.http, &self.flags);
        assert_eq!(self.process.address("TCP"), self.tcp);
        assert_eq!(self.process.address("HTTP"), self.http);
    }

    /// GET.
    #[track_caller]
    pub fn get(&self, target: &str) -> Reply {
        request(self.http, "GET", target, b"")
    }

    /// POST.
    #[track_caller]
    pub fn post(&self, target: &str) -> Reply {
        request(self.http, "POST", target, b"")
    }

    /// The TCP ports of those that /lookup names for a topic, sorted; none for a topic it does not know.
    #[track_caller]
    pub fn ports(&self, topic: &str) -> Vec<u16> {
        let answer = self.get(&format!("/lookup?topic={topic}"));
        if answer.status == 404 {
            return Vec::new();
        }
        let found = answer.ok().json();
        let port = |producer: &Value| producer.get("tcp_port")?.as_u64()?.try_into().ok();
        let mut ports: Vec<u16> = list(&found, "producers").iter().filter_map(port).collect();
        ports.sort_unstable();
        ports
    }

    /// The strings of a list in an answer, sorted, such as `channels` of `/channels?topic=t`.
    #[track_caller]
    pub fn names(&self, target: &str, name: &str) -> Vec<String> {
        let answer = self.get(target).ok().json();
        let mut names: Vec<String> =
            list(&answer, name).iter().filter_map(|n| n.as_str().map(str::to_owned)).collect();
        names.sort_unstable();
        names
    }
}

fn launch(tcp: SocketAddr, http: SocketAddr, flags: &[String]) -> Process {
    let mut args = vec![
        format!("--tcp-address={tcp}"),
        format!("--http-address={http}"),
        format!("--broadcast-address={}", tcp.ip()),
    ];
    args.extend_from_slice(flags);
    Process::start(&binaries::nsqlookupd(), &args)
}
