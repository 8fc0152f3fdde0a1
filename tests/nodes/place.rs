//! Where a test happens: a namespace of its own on the cluster that all tests share, with the operator installed once.

use std::process::Command;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use harness::eventually_every;
use harness::kube::{Kube, condition};
use serde_json::Value;

/// What a node, a volume or a lease may take on a machine that is busy.
const LONG: Duration = Duration::from_secs(180);
const SYSTEM: &str = "nsqube-system";

/// The cluster of `$KUBECONFIG`, with the operator as `helm install` gives it.
pub(crate) fn cluster() -> &'static Kube {
    static CLUSTER: OnceLock<Kube> = OnceLock::new();
    CLUSTER.get_or_init(|| {
        let kube = of_environment();
        let began = Instant::now();
        let images = ["operator=nsq-operator", "broker=nsqd", "lookupd=nsqlookupd"].map(|pair| {
            let (key, name) = pair.split_once('=').unwrap();
            format!("--set=images.{key}={}", image(name))
        });
        let [operator, broker, lookupd] = &images;
        kube.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {SYSTEM}, labels: {{{RESTRICTED}}}}}}}"
        ));
        kube.helm(&[
            "upgrade",
            "--install",
            "nsq-operator",
            "charts/nsqube-operator",
            "--namespace",
            SYSTEM,
            operator,
            broker,
            lookupd,
            "--wait",
            "--timeout=3m",
        ]);
        println!(
            "helm install of the operator, until both pods are ready: {:.1} s",
            began.elapsed().as_secs_f64()
        );
        kube
    })
}

/// Its kubectl ends with the thread that started it, and a test's thread ends with the test: this one stays.
fn of_environment() -> Kube {
    let (give, take) = std::sync::mpsc::channel();
    std::thread::spawn(move || {
        give.send(Kube::of_environment()).unwrap();
        loop {
            std::thread::park();
        }
    });
    take.recv().unwrap()
}

/// An image of this checkout.
pub(crate) fn image(name: &str) -> String {
    tagged(name, env!("CARGO_PKG_VERSION"))
}

/// The same under another tag; `$NSQUBE_IMAGES` is where another cluster finds them.
pub(crate) fn tagged(name: &str, tag: &str) -> String {
    let of = std::env::var("NSQUBE_IMAGES").unwrap_or_else(|_| "localhost/nsqube".to_owned());
    format!("{of}/{name}:{tag}")
}

/// Everything in the namespace is held to the strictest rules that Kubernetes has for pods.
const RESTRICTED: &str = "pod-security.kubernetes.io/enforce: restricted";

/// A namespace that goes with its test.
pub(crate) struct Place {
    pub(crate) kube: &'static Kube,
    pub(crate) name: &'static str,
}

impl Place {
    #[track_caller]
    pub(crate) fn new(name: &'static str) -> Self {
        let kube = cluster();
        kube.apply(&format!(
            "{{apiVersion: v1, kind: Namespace, metadata: {{name: {name}, labels: {{{RESTRICTED}}}}}}}"
        ));
        Self { kube, name }
    }

    /// `kubectl` in this namespace.
    #[track_caller]
    pub(crate) fn kubectl(&self, arguments: &[&str]) -> String {
        self.kube.kubectl(&[&["--namespace", self.name], arguments].concat())
    }

    /// Applies a resource of ours; `spec` in YAML's short form.
    #[track_caller]
    pub(crate) fn declare(&self, kind: &str, name: &str, spec: &str) {
        let place = self.name;
        self.kube.apply(&format!(
            "{{apiVersion: nsqube.io/v1alpha1, kind: {kind}, metadata: {{name: {name}, namespace: {place}}}, spec: {spec}}}"
        ));
    }

    /// The cluster `prod` with this spec, ready, with topic `orders` and its channel `archive`.
    #[track_caller]
    pub(crate) fn prod(&self, spec: &str) {
        let began = Instant::now();
        self.declare("NsqCluster", "prod", spec);
        self.declare("NsqTopic", "orders", "{clusterRef: {name: prod}, settings: {durability: Fsync}}");
        self.declare("NsqChannel", "archive", "{topicRef: {name: orders}}");
        self.ready();
        self.becomes("nsqchannels/archive", "Ready", "True", "Declared");
        println!("{}: `kubectl apply` until all is ready: {:.1} s", self.name, began.elapsed().as_secs_f64());
    }

    #[track_caller]
    pub(crate) fn ready(&self) {
        self.becomes("nsqclusters/prod", "Ready", "True", "AllReady");
    }

    /// A resource of ours, as `nsqtopics/orders`.
    pub(crate) fn of(&self, what: &str) -> Option<Value> {
        self.kube.get(&format!("/apis/nsqube.io/v1alpha1/namespaces/{}/{what}", self.name))
    }

    /// An object of Kubernetes' first group, as `pods/prod-broker-0`.
    pub(crate) fn core(&self, what: &str) -> Option<Value> {
        self.kube.get(&format!("/api/v1/namespaces/{}/{what}", self.name))
    }

    /// How many brokers the StatefulSet is to have.
    pub(crate) fn brokers(&self) -> Option<u64> {
        let set = format!("/apis/apps/v1/namespaces/{}/statefulsets/prod-broker", self.name);
        self.kube.get(&set)?.pointer("/spec/replicas")?.as_u64()
    }

    /// Waits for a condition, about the generation that is there.
    #[track_caller]
    pub(crate) fn becomes(&self, what: &str, kind: &str, status: &str, reason: &str) {
        self.waits(&format!("{what} has {kind}={status}/{reason}"), || {
            let Some(found) = self.of(what) else { return false };
            let is_current =
                found.pointer("/status/observedGeneration") == found.pointer("/metadata/generation");
            is_current && condition(&found, kind).is_some_and(|(is, why)| is == status && why == reason)
        });
    }

    /// Waits, and shows what there is when it was in vain.
    #[track_caller]
    pub(crate) fn waits(&self, what: &str, so: impl FnMut() -> bool) {
        let shown = Shown(self);
        eventually_every(Duration::from_millis(100), LONG, what, so);
        std::mem::forget(shown);
    }

    #[track_caller]
    pub(crate) fn pod_is_ready(&self, name: &str) -> bool {
        let pod = self.core(&format!("pods/{name}")).unwrap_or_default();
        let going = pod.pointer("/metadata/deletionTimestamp").is_some();
        !going && condition(&pod, "Ready").is_some_and(|(status, _)| status == "True")
    }

    pub(crate) fn uid(&self, pod: &str) -> Option<String> {
        Some(self.core(&format!("pods/{pod}"))?.pointer("/metadata/uid")?.as_str()?.to_owned())
    }

    /// The node that a pod is on.
    #[track_caller]
    pub(crate) fn node_of(&self, pod: &str) -> String {
        let pod = self.core(&format!("pods/{pod}")).unwrap_or_default();
        pod.pointer("/spec/nodeName").and_then(Value::as_str).unwrap_or_default().to_owned()
    }
}

/// Says what a namespace looked like when a wait was in vain.
struct Shown<'a>(&'a Place);

impl Drop for Shown<'_> {
    fn drop(&mut self) {
        let all = [
            &["get", "nsqc,nsqt,nsqch,sts,pods,pvc", "-o", "wide"][..],
            &["describe", "nsqc"],
            &["get", "events", "--sort-by=.lastTimestamp"],
            &["logs", "publisher", "--tail=20"],
            &["logs", "consumer", "--tail=20"],
        ];
        for arguments in all {
            let (_, text) = self.0.kube.try_kubectl(&[&["--namespace", self.0.name], arguments].concat());
            eprintln!("--- kubectl {}\n{text}", arguments.join(" "));
        }
        let log = [
            "--namespace",
            SYSTEM,
            "logs",
            "--prefix",
            "--tail=60",
            "--selector=app.kubernetes.io/name=nsq-operator",
        ];
        eprintln!("--- the operator\n{}", self.0.kube.try_kubectl(&log).1);
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        // Nobody waits: that takes as long as Kubernetes gives pods to end.
        self.kube.try_kubectl(&["delete", "namespace", self.name, "--wait=false"]);
    }
}

/// What can be done to nodes of `cargo xtask kube`, and of no other cluster.
pub(crate) struct Nodes(String);

impl Nodes {
    /// None after a notice, where the nodes are somebody else's.
    pub(crate) fn ours() -> Option<Self> {
        if !are_ours() {
            println!("SKIPPED: only nodes of `cargo xtask kube` can be struck");
        }
        std::env::var("NSQUBE_NODES").ok().map(Self)
    }

    /// A verb of tests/cluster/nodes/cluster.sh.
    #[track_caller]
    pub(crate) fn strike(&self, verb: &str, what: &str) {
        let output = Command::new(&self.0).args([verb, what]).output();
        let output = output.unwrap_or_else(|error| panic!("{}: {error}", self.0));
        assert!(output.status.success(), "{verb} {what}: {}", String::from_utf8_lossy(&output.stderr));
    }
}

/// Whether the cluster is one of `cargo xtask kube`.
pub(crate) fn are_ours() -> bool {
    std::env::var_os("NSQUBE_NODES").is_some()
}
