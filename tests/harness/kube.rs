//! A real Kubernetes API on loopback, without root: etcd, API server and controller manager as plain processes with
//! their data in a temporary folder, and `kubectl proxy` as the door for tests. There are no nodes; what a node would do
//! for pods of ours is in `kube/kubelet.rs`. Everything dies with the test, also when that is killed.

mod door;
mod kubelet;

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::{Value, json};

use crate::binaries::root;
use crate::clients::prepared;
use crate::http::{Reply, parse};
use crate::process::Process;
use crate::waiting::{PATIENCE, eventually};

pub use door::{Door, Shuts};
pub use kubelet::Kubelet;

/// A running API. Dropping it ends everything.
#[derive(Debug)]
pub struct Kube {
    door: SocketAddr,
    kubectl: PathBuf,
    config: PathBuf,
    // In the order in which they are to end.
    _processes: Vec<Process>,
    folder: tempfile::TempDir,
}

impl Kube {
    /// Starts one, with our resource definitions; `None` after a notice where the programs cannot be had.
    ///
    /// # Panics
    /// When it does not come up; on CI also when the programs cannot be had.
    #[track_caller]
    pub fn start() -> Option<Self> {
        let programs = prepared("kube")?;
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let parts = Parts { program: programs.join("kube"), dir: folder.path().to_path_buf() };
        parts.write_credentials();
        let (etcd_port, peer_port, api_port) = (free_port(), free_port(), free_port());
        let etcd = parts.start("etcd", &parts.etcd(etcd_port, peer_port));
        let api = parts.start("kube-apiserver", &parts.apiserver(etcd_port, api_port));
        let config = parts.write_config("admin", api_port);
        let kubectl = parts.program.clone();
        let ready = || kubectl_of(&kubectl, &config).args(["get", "--raw", "/readyz"]).output();
        eventually("the API server is ready", || ready().is_ok_and(|output| output.status.success()));
        let controllers =
            parts.start("kube-controller-manager", &parts.controllers(&parts.write_config("kcm", api_port)));
        let (proxy, door) = proxy(&kubectl, &config);
        let processes = vec![proxy, controllers, api, etcd];
        let kube = Self { door, kubectl, config, _processes: processes, folder };
        let crds = root().join("manifests/crds");
        kube.kubectl(&["apply", "-f", &crds.display().to_string()]);
        kube.kubectl(&[
            "wait",
            "--for=condition=Established",
            "--timeout=30s",
            "-f",
            &crds.display().to_string(),
        ]);
        // Its token is the last thing a new namespace gets: from then on pods may be made in it.
        eventually("the namespace default has its ServiceAccount", || {
            kube.get("/api/v1/namespaces/default/serviceaccounts/default").is_some()
        });
        Some(kube)
    }

    /// The cluster that `$KUBECONFIG` names: one of `cargo xtask kube`, or any other.
    ///
    /// # Panics
    /// When it names none, or nothing answers there.
    #[track_caller]
    pub fn of_environment() -> Self {
        let config = std::env::var_os("KUBECONFIG").map(PathBuf::from);
        let config =
            config.unwrap_or_else(|| panic!("KUBECONFIG names no cluster; see docs/kubernetes-tests.md"));
        let programs = std::env::var_os("NSQUBE_NODES_PROGRAMS").map(PathBuf::from);
        let kubectl = programs.map_or_else(|| PathBuf::from("kubectl"), |folder| folder.join("kube"));
        let folder = tempfile::tempdir().unwrap_or_else(|error| panic!("no temporary folder: {error}"));
        let (proxy, door) = proxy(&kubectl, &config);
        Self { door, kubectl, config, _processes: vec![proxy], folder }
    }

    /// What Helm prints when it runs in the checkout, and whether it succeeded.
    ///
    /// # Panics
    /// When there is no Helm.
    #[track_caller]
    pub fn try_helm(&self, arguments: &[&str]) -> (bool, String) {
        let program = if self.kubectl.is_absolute() { self.programs().join("helm") } else { "helm".into() };
        let mut command = Command::new(program);
        command.args(arguments).env("KUBECONFIG", &self.config).env("HOME", self.folder.path());
        let output = command.current_dir(root()).output();
        let output = output.unwrap_or_else(|error| panic!("helm does not start: {error}"));
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// The same.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn helm(&self, arguments: &[&str]) -> String {
        let (ok, text) = self.try_helm(arguments);
        assert!(ok, "helm {}: {text}", arguments.join(" "));
        text
    }

    /// Where Helm and the other programs are.
    pub fn programs(&self) -> &Path {
        self.kubectl.parent().unwrap_or(Path::new("."))
    }

    /// A kubeconfig of a ServiceAccount, with no more rights than it was given.
    ///
    /// # Panics
    /// When there is no such ServiceAccount.
    #[track_caller]
    pub fn config_of(&self, namespace: &str, account: &str) -> PathBuf {
        let token = self.kubectl(&["create", "token", account, "-n", namespace, "--duration=2h"]);
        let admin =
            std::fs::read_to_string(&self.config).unwrap_or_else(|error| panic!("kubeconfig: {error}"));
        let path = self.folder.path().join(format!("{account}.kubeconfig"));
        let config = admin.replace(ADMIN, token.trim());
        std::fs::write(&path, config).unwrap_or_else(|error| panic!("cannot write a kubeconfig: {error}"));
        path
    }

    /// A door before the API.
    pub fn new_door(&self) -> Door {
        Door::before(self.door)
    }

    /// A kubeconfig of an administrator who comes through `door`.
    ///
    /// # Panics
    /// When it cannot be written.
    #[track_caller]
    pub fn config_through(&self, door: &Door) -> PathBuf {
        let path = self.folder.path().join("door.kubeconfig");
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": { "server": format!("http://{}", door.address()) } }],
            "users": [{ "name": "u", "user": {} }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        });
        std::fs::write(&path, config.to_string())
            .unwrap_or_else(|error| panic!("cannot write a kubeconfig: {error}"));
        path
    }

    /// A kubeconfig of an administrator.
    pub fn config(&self) -> &Path {
        &self.config
    }

    /// A folder that goes with it.
    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// What kubectl prints.
    ///
    /// # Panics
    /// When it fails.
    #[track_caller]
    pub fn kubectl(&self, arguments: &[&str]) -> String {
        let (ok, text) = self.try_kubectl(arguments);
        assert!(ok, "kubectl {}: {text}", arguments.join(" "));
        text
    }

    /// What kubectl prints, and whether it succeeded.
    #[track_caller]
    pub fn try_kubectl(&self, arguments: &[&str]) -> (bool, String) {
        let output = kubectl_of(&self.kubectl, &self.config).args(arguments).output();
        let output = output.unwrap_or_else(|error| panic!("kubectl does not start: {error}"));
        let text = [output.stdout, output.stderr].concat();
        (output.status.success(), String::from_utf8_lossy(&text).into_owned())
    }

    /// `kubectl apply` of this YAML.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn apply(&self, yaml: &str) -> String {
        let (ok, text) = self.try_apply(yaml);
        assert!(ok, "{text}");
        text
    }

    /// The same, with whether it was taken.
    #[track_caller]
    pub fn try_apply(&self, yaml: &str) -> (bool, String) {
        let file = tempfile::NamedTempFile::new_in(self.folder.path());
        let mut file = file.unwrap_or_else(|error| panic!("no temporary file: {error}"));
        file.write_all(yaml.as_bytes()).unwrap_or_else(|error| panic!("cannot write YAML: {error}"));
        self.try_kubectl(&["apply", "-f", &file.path().display().to_string()])
    }

    /// An object or a list; `None` if there is none.
    ///
    /// # Panics
    /// When the API server says anything else.
    #[track_caller]
    pub fn get(&self, path: &str) -> Option<Value> {
        let reply = self.ask("GET", path, "", None);
        match reply.status {
            200 => Some(reply.json()),
            404 => None,
            status => panic!("GET {path}: {status} {}", reply.text()),
        }
    }

    /// Makes an object.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn create(&self, list: &str, object: &Value) {
        let reply = self.ask("POST", list, "application/json", Some(object));
        assert_eq!(reply.status, 201, "POST {list}: {}", reply.text());
    }

    /// Posts text, to a pod for example, through the API server's proxy.
    ///
    /// # Panics
    /// When there is no answer.
    #[track_caller]
    pub fn post(&self, path: &str, text: &str) -> Reply {
        self.exchange("POST", path, "text/plain", text)
    }

    /// A JSON merge patch; `None` if the object is not there.
    ///
    /// # Panics
    /// When it is refused.
    #[track_caller]
    pub fn merge(&self, path: &str, patch: &Value) -> Option<Value> {
        let reply = self.ask("PATCH", path, "application/merge-patch+json", Some(patch));
        match reply.status {
            200 => Some(reply.json()),
            404 => None,
            status => panic!("PATCH {path}: {status} {}", reply.text()),
        }
    }

    /// Deletes an object at once, without the grace of a pod. One that is not there is deleted already.
    pub fn delete_now(&self, path: &str) {
        let options = json!({ "kind": "DeleteOptions", "apiVersion": "v1", "gracePeriodSeconds": 0 });
        self.ask("DELETE", path, "application/json", Some(&options));
    }

    #[track_caller]
    fn ask(&self, method: &str, path: &str, content: &str, body: Option<&Value>) -> Reply {
        self.exchange(method, path, content, &body.map(Value::to_string).unwrap_or_default())
    }

    #[track_caller]
    fn exchange(&self, method: &str, path: &str, content: &str, body: &str) -> Reply {
        let length = body.len();
        // HTTP/1.0: an answer without chunks.
        let request = format!(
            "{method} {path} HTTP/1.0\r\nHost: {}\r\nContent-Type: {content}\r\nContent-Length: {length}\r\n\r\n{body}",
            self.door
        );
        let exchanged = || -> std::io::Result<Vec<u8>> {
            let mut stream = TcpStream::connect(self.door)?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(request.as_bytes())?;
            let mut bytes = Vec::new();
            stream.read_to_end(&mut bytes)?;
            Ok(bytes)
        };
        let bytes = exchanged().unwrap_or_else(|error| panic!("{method} {path}: {error}"));
        parse(&bytes).unwrap_or_else(|| panic!("{method} {path}: {}", String::from_utf8_lossy(&bytes)))
    }
}

/// Status and reason of a condition.
pub fn condition<'a>(object: &'a Value, kind: &str) -> Option<(&'a str, &'a str)> {
    let conditions = object.pointer("/status/conditions")?.as_array()?;
    let found = conditions.iter().find(|it| it.get("type").is_some_and(|found| found == kind))?;
    let reason = found.get("reason").and_then(Value::as_str).unwrap_or_default();
    Some((found.get("status")?.as_str()?, reason))
}

/// `kubectl proxy`, the door for whoever speaks plain HTTP, and where it is.
fn proxy(kubectl: &Path, config: &Path) -> (Process, SocketAddr) {
    let port = free_port();
    // A test that is killed takes it with it; the shell gives the program the name by which it knows what to be.
    let arguments = [
        "--pdeathsig",
        "KILL",
        "bash",
        "-c",
        r#"exec -a kubectl "$0" "$@""#,
        &kubectl.display().to_string(),
        "proxy",
        "--kubeconfig",
        &config.display().to_string(),
        "--port",
        &port.to_string(),
    ]
    .map(str::to_owned);
    let process = Process::start(Path::new("setpriv"), &arguments);
    let door = SocketAddr::from(([127, 0, 0, 1], port));
    eventually("kubectl proxy listens", || TcpStream::connect(door).is_ok());
    (process, door)
}

/// One program is all of Kubernetes, by the name it is called; where it is a kubectl, that is its name anyway.
fn kubectl_of(program: &Path, config: &Path) -> Command {
    let mut command = Command::new(program);
    command.arg0("kubectl").arg("--kubeconfig").arg(config);
    // What it caches is of an API server that is gone with the test.
    command.env("HOME", config.parent().unwrap_or(Path::new(".")));
    command
}

/// Given back by the system a moment before it is taken again; nobody else takes ports at random here.
fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").and_then(|listener| listener.local_addr());
    listener.unwrap_or_else(|error| panic!("no free port: {error}")).port()
}

/// What the processes are made from.
struct Parts {
    program: PathBuf,
    dir: PathBuf,
}

const ADMIN: &str = "admin-token";

impl Parts {
    fn start(&self, name: &str, arguments: &[String]) -> Process {
        // A test that is killed takes them with it.
        let program = self.program.display().to_string();
        let all = ["--pdeathsig", "KILL", &program, name].map(str::to_owned).into_iter();
        Process::start(Path::new("setpriv"), &all.chain(arguments.iter().cloned()).collect::<Vec<_>>())
    }

    fn path(&self, name: &str) -> String {
        self.dir.join(name).display().to_string()
    }

    fn write(&self, name: &str, text: &str) {
        std::fs::write(self.dir.join(name), text)
            .unwrap_or_else(|error| panic!("cannot write {name}: {error}"));
    }

    fn write_credentials(&self) {
        let key = rcgen::KeyPair::generate().unwrap_or_else(|error| panic!("no key: {error}"));
        self.write("service-accounts.key", &key.serialize_pem());
        self.write("service-accounts.pub", &key.public_key_pem());
        self.write("tokens.csv", &format!("{ADMIN},admin,admin,system:masters\n"));
    }

    fn write_config(&self, name: &str, port: u16) -> PathBuf {
        let config = json!({
            "apiVersion": "v1", "kind": "Config", "current-context": "c",
            "clusters": [{ "name": "c", "cluster": {
                "server": format!("https://127.0.0.1:{port}"), "insecure-skip-tls-verify": true,
            }}],
            "users": [{ "name": "u", "user": { "token": ADMIN } }],
            "contexts": [{ "name": "c", "context": { "cluster": "c", "user": "u" } }],
        });
        let name = format!("{name}.kubeconfig");
        self.write(&name, &config.to_string());
        self.dir.join(name)
    }

    fn etcd(&self, port: u16, peer: u16) -> Vec<String> {
        let (own, peer) = (format!("http://127.0.0.1:{port}"), format!("http://127.0.0.1:{peer}"));
        [
            "--name=e".to_owned(),
            format!("--data-dir={}", self.path("etcd")),
            format!("--listen-client-urls={own}"),
            format!("--advertise-client-urls={own}"),
            format!("--listen-peer-urls={peer}"),
            format!("--initial-advertise-peer-urls={peer}"),
            format!("--initial-cluster=e={peer}"),
            // Its data lives as long as the test.
            "--unsafe-no-fsync".to_owned(),
            "--log-level=warn".to_owned(),
        ]
        .into()
    }

    fn apiserver(&self, etcd: u16, port: u16) -> Vec<String> {
        [
            format!("--etcd-servers=http://127.0.0.1:{etcd}"),
            "--bind-address=127.0.0.1".to_owned(),
            "--advertise-address=127.0.0.1".to_owned(),
            format!("--secure-port={port}"),
            format!("--cert-dir={}", self.path("certificates")),
            format!("--token-auth-file={}", self.path("tokens.csv")),
            "--authorization-mode=RBAC".to_owned(),
            "--endpoint-reconciler-type=none".to_owned(),
            "--service-cluster-ip-range=198.18.64.0/20".to_owned(),
            "--service-account-issuer=https://kubernetes.default.svc".to_owned(),
            format!("--service-account-key-file={}", self.path("service-accounts.pub")),
            format!("--service-account-signing-key-file={}", self.path("service-accounts.key")),
        ]
        .into()
    }

    fn controllers(&self, config: &Path) -> Vec<String> {
        [
            format!("--kubeconfig={}", config.display()),
            format!("--authentication-kubeconfig={}", config.display()),
            format!("--authorization-kubeconfig={}", config.display()),
            "--secure-port=0".to_owned(),
            "--leader-elect=false".to_owned(),
            // Volumes are bound by the kubelet of the tests, which has folders for them.
            "--controllers=*,-persistentvolume-binder-controller".to_owned(),
            "--use-service-account-credentials=false".to_owned(),
            format!("--service-account-private-key-file={}", self.path("service-accounts.key")),
            "--kube-api-qps=500".to_owned(),
            "--kube-api-burst=1000".to_owned(),
        ]
        .into()
    }
}
