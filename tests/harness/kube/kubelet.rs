//! What a node does for pods of ours, without containers: each pod is one real nsqd or nsqlookupd on a loopback address
//! of its own, with the arguments, the volume, the Secret and the topology that its pod has. Readiness is what `/readyz`
//! or `/ping` says; a pod that is deleted is told to stop, and is gone when its process is.

use std::collections::BTreeMap;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use serde_json::{Value, json};

use super::Kube;
use crate::binaries::{nsqd, nsqlookupd};
use crate::http::{list, request};
use crate::process::{Process, Signal};

/// Runs the pods of an API until it is dropped.
#[derive(Debug)]
pub struct Kubelet {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Debug)]
struct Shared {
    kube: Arc<Kube>,
    stop: AtomicBool,
    pods: Mutex<BTreeMap<String, Pod>>,
    /// Which loopback network: several run at once.
    network: u8,
}

#[derive(Debug)]
struct Pod {
    uid: String,
    ip: Ipv4Addr,
    process: Process,
    is_ready: bool,
    is_stopping: bool,
}

impl Kubelet {
    /// Pods get addresses of 127.`network`.0.0/16: no two tests that run at once may have the same.
    pub fn start(kube: &Arc<Kube>, network: u8) -> Self {
        let (kube, stop) = (Arc::clone(kube), AtomicBool::new(false));
        let shared = Arc::new(Shared { kube, stop, pods: Mutex::default(), network });
        let own = Arc::clone(&shared);
        let thread = std::thread::spawn(move || {
            while !own.stop.load(Ordering::Relaxed) {
                own.pass();
                crate::waiting::pause(Duration::from_millis(100));
            }
        });
        Self { shared, thread: Some(thread) }
    }

    /// Where a pod is, as `namespace/name`; `None` if it does not run.
    pub fn ip(&self, pod: &str) -> Option<IpAddr> {
        self.shared.pods().get(pod).map(|pod| pod.ip.into())
    }

    /// kill -9 of the process of a pod, which is started again as a kubelet would.
    pub fn kill(&self, pod: &str) {
        if let Some(pod) = self.shared.pods().get_mut(pod) {
            pod.process.kill();
        }
    }
}

impl Drop for Kubelet {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ended = thread.join();
        }
        self.shared.pods().clear();
    }
}

impl Shared {
    fn pods(&self) -> MutexGuard<'_, BTreeMap<String, Pod>> {
        self.pods.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn pass(&self) {
        let Some(wanted) = self.kube.get("/api/v1/pods?labelSelector=nsqube.io/cluster") else { return };
        let wanted = list(&wanted, "items");
        self.bind_volumes();
        for pod in wanted {
            let key = key(pod);
            let is_going = pod.pointer("/metadata/deletionTimestamp").is_some();
            let known = self.pods().contains_key(&key);
            match (known, is_going) {
                (false, false) => self.start(&key, pod),
                (true, false) => self.look(&key, pod),
                (true, true) => self.stop(&key, pod),
                (false, true) => self.kube.delete_now(&path(pod)),
            }
        }
        let gone = |name: &String| !wanted.iter().any(|pod| key(pod) == *name);
        self.pods().retain(|name, _| !gone(name));
    }

    /// Every claim has its volume: a folder.
    fn bind_volumes(&self) {
        let claims = self.kube.get("/api/v1/persistentvolumeclaims").unwrap_or_default();
        for claim in list(&claims, "items").iter().filter(|claim| text(claim, "/status/phase") != "Bound") {
            let (namespace, name) = (text(claim, "/metadata/namespace"), text(claim, "/metadata/name"));
            let path = format!("/api/v1/namespaces/{namespace}/persistentvolumeclaims/{name}/status");
            self.kube.merge(&path, &json!({ "status": { "phase": "Bound" } }));
        }
    }

    fn start(&self, key: &str, pod: &Value) {
        let Some(ip) = self.address(pod) else { return };
        let Some(arguments) = self.arguments(pod, ip) else { return };
        let program = if is_broker(pod) { nsqd() } else { nsqlookupd() };
        // A test that is killed takes its pods with it.
        let all = ["--pdeathsig", "KILL", &program.display().to_string()].map(str::to_owned).into_iter();
        let process = Process::start(Path::new("setpriv"), &all.chain(arguments).collect::<Vec<_>>());
        let uid = text(pod, "/metadata/uid");
        self.pods().insert(key.to_owned(), Pod { uid, ip, process, is_ready: false, is_stopping: false });
        self.report(pod, ip, false);
    }

    fn look(&self, key: &str, pod: &Value) {
        let (ip, port, path) = {
            let mut pods = self.pods();
            let Some(known) = pods.get_mut(key) else { return };
            if known.uid != text(pod, "/metadata/uid") || known.process.has_ended() {
                // Started again at the next pass.
                pods.remove(key);
                return;
            }
            (
                known.ip,
                if is_broker(pod) { 4151 } else { 4161 },
                if is_broker(pod) { "/readyz" } else { "/ping" },
            )
        };
        let address = SocketAddr::from((ip, port));
        let is_ready = std::net::TcpStream::connect_timeout(&address, Duration::from_millis(200)).is_ok()
            && request(address, "GET", path, b"").status == 200;
        let was_ready = {
            let mut pods = self.pods();
            let Some(known) = pods.get_mut(key) else { return };
            std::mem::replace(&mut known.is_ready, is_ready)
        };
        if is_ready != was_ready {
            self.report(pod, ip, is_ready);
        }
    }

    fn stop(&self, key: &str, pod: &Value) {
        let mut pods = self.pods();
        let Some(known) = pods.get_mut(key) else { return };
        if !std::mem::replace(&mut known.is_stopping, true) {
            known.process.signal(Signal::TERM);
        }
        if known.process.has_ended() {
            pods.remove(key);
            drop(pods);
            self.kube.delete_now(&path(pod));
        }
    }

    fn report(&self, pod: &Value, ip: Ipv4Addr, is_ready: bool) {
        let status = if is_ready { "True" } else { "False" };
        let now = now();
        let condition = |kind: &str| json!({ "type": kind, "status": status, "lastTransitionTime": now });
        let patch = json!({ "status": {
            "phase": "Running",
            "podIP": ip.to_string(),
            "podIPs": [{ "ip": ip.to_string() }],
            "conditions": [condition("Ready"), condition("ContainersReady")],
        }});
        self.kube.merge(&format!("{}/status", path(pod)), &patch);
    }

    /// 127.N.0.(10 + ordinal) for brokers, 127.N.1.(10 + ordinal) for lookupds; 100 further for those of a cluster that
    /// is not `prod`.
    fn address(&self, pod: &Value) -> Option<Ipv4Addr> {
        let name = text(pod, "/metadata/name");
        let ordinal: u8 = name.rsplit('-').next()?.parse().ok()?;
        let first = if name.starts_with("prod-") { 10 } else { 110 };
        Some(Ipv4Addr::new(127, self.network, u8::from(!is_broker(pod)), first + ordinal))
    }

    /// The arguments of the pod, with what a node fills in: names, mounted folders, addresses behind names.
    fn arguments(&self, pod: &Value, ip: Ipv4Addr) -> Option<Vec<String>> {
        let name = text(pod, "/metadata/name");
        let ordinal = name.rsplit('-').next().unwrap_or_default().to_owned();
        let folder = self.folder(pod);
        self.mount(pod, &folder)?;
        let mut arguments = Vec::new();
        for argument in pod.pointer("/spec/containers/0/args").and_then(Value::as_array).into_iter().flatten()
        {
            let argument = text(argument, "").replace("$(POD_NAME)", &name).replace("$(POD_INDEX)", &ordinal);
            match argument.split_once('=') {
                Some(("--data-path", _)) => {
                    arguments.push(format!("--data-path={}", folder.join("data").display()))
                }
                Some(("--control-token-file", _)) => {
                    arguments.push(format!("--control-token-file={}", folder.join("token").display()));
                }
                Some(("--topology-file", _)) => {
                    arguments.push(format!("--topology-file={}", folder.join("topology").display()));
                }
                Some(("--control-address", _)) => arguments.push(format!("--control-address={ip}:4153")),
                Some(("--lookupd-tcp-address", _)) => {
                    let lookupd =
                        |at: u8| format!("--lookupd-tcp-address=127.{}.1.{}:4160", self.network, 10 + at);
                    arguments.extend((0..2).map(lookupd));
                }
                Some(("--broadcast-address", _)) => arguments.push(format!("--broadcast-address={ip}")),
                _ => arguments.push(argument),
            }
        }
        let [tcp, http] = if is_broker(pod) { [4150, 4151] } else { [4160, 4161] };
        arguments.extend([format!("--tcp-address={ip}:{tcp}"), format!("--http-address={ip}:{http}")]);
        Some(arguments)
    }

    /// A volume belongs to the claim, and outlives its pod.
    fn folder(&self, pod: &Value) -> PathBuf {
        let (namespace, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
        self.kube.folder().join("volumes").join(format!("{namespace}-{name}"))
    }

    /// Writes what a pod has mounted; `None` while a Secret that it needs is not there.
    fn mount(&self, pod: &Value, folder: &Path) -> Option<()> {
        let namespace = text(pod, "/metadata/namespace");
        let made = std::fs::create_dir_all(folder.join("data"))
            .and_then(|()| std::fs::create_dir_all(folder.join("topology")));
        made.unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
        for volume in pod.pointer("/spec/volumes").and_then(Value::as_array).into_iter().flatten() {
            if let Some(name) = volume.pointer("/secret/secretName").and_then(Value::as_str) {
                let secret = self.kube.get(&format!("/api/v1/namespaces/{namespace}/secrets/{name}"))?;
                write(&folder.join("token"), &base64(&text(&secret, "/data/token")));
            }
            if let Some(name) = volume.pointer("/configMap/name").and_then(Value::as_str) {
                let map = self.kube.get(&format!("/api/v1/namespaces/{namespace}/configmaps/{name}"));
                let map = map.unwrap_or_default();
                if let Some(topology) = map.pointer("/data/topology.json").and_then(Value::as_str) {
                    write(&folder.join("topology/topology.json"), topology.as_bytes());
                }
                if let Some(topology) = map.pointer("/binaryData/topology.json.gz").and_then(Value::as_str) {
                    write(&folder.join("topology/topology.json.gz"), &base64(topology));
                }
            }
        }
        Some(())
    }
}

fn write(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
}

fn key(pod: &Value) -> String {
    format!("{}/{}", text(pod, "/metadata/namespace"), text(pod, "/metadata/name"))
}

fn path(pod: &Value) -> String {
    let (namespace, name) = (text(pod, "/metadata/namespace"), text(pod, "/metadata/name"));
    format!("/api/v1/namespaces/{namespace}/pods/{name}")
}

/// The text at a JSON pointer, or none.
fn text(value: &Value, at: &str) -> String {
    value.pointer(at).and_then(Value::as_str).unwrap_or_default().to_owned()
}

fn is_broker(pod: &Value) -> bool {
    text(pod, "/spec/containers/0/name") == "nsqd"
}

/// This moment, as Kubernetes writes it.
fn now() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%Y-%m-%dT%H:%M:%SZ"]).output();
    let output = output.unwrap_or_else(|error| panic!("date does not start: {error}"));
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn base64(text: &str) -> Vec<u8> {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let mut bytes = Vec::new();
    let (mut bits, mut count) = (0u32, 0);
    for digit in text.bytes().filter_map(|byte| DIGITS.iter().position(|digit| *digit == byte)) {
        bits = bits << 6 | u32::try_from(digit).unwrap_or_default();
        count += 6;
        if count >= 8 {
            count -= 8;
            bytes.push((bits >> count & 0xff) as u8);
        }
    }
    bytes
}
