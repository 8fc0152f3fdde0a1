//! What every test here stands on: an API, somebody who runs pods, an operator, and short ways to ask for things.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;

use harness::kube::{Kube, Kubelet, condition};
use harness::{Process, eventually, nsq_operator_binary, request, root};
use serde_json::Value;

/// An API with an operator and pods that run.
pub(crate) struct Stage {
    pub(crate) operator: Process,
    pub(crate) kubelet: Kubelet,
    pub(crate) kube: Arc<Kube>,
}

impl Stage {
    /// `network` is the loopback network of its pods, another one for each test.
    #[track_caller]
    pub(crate) fn set(network: u8) -> Option<Self> {
        Self::set_with(network, &[])
    }

    /// The same with more flags for the operator.
    #[track_caller]
    pub(crate) fn set_with(network: u8, flags: &[String]) -> Option<Self> {
        let kube = Arc::new(Kube::start()?);
        let kubelet = Kubelet::start(&kube, network);
        // As users install it; its Deployment stays without pods, for there are no nodes.
        kube.kubectl(&[
            "apply",
            "--server-side",
            "-f",
            &root().join("manifests/install.yaml").display().to_string(),
        ]);
        let operator = operator_with(&kube.config_of("nsqube-system", "nsq-operator"), flags);
        Some(Self { operator, kubelet, kube })
    }

    /// Declares `prod`, with this spec, and waits until it is ready.
    #[track_caller]
    pub(crate) fn cluster(&self, spec: &str) {
        self.declare("NsqCluster", "prod", spec);
        self.becomes("nsqclusters/prod", "Ready", "True", "AllReady");
    }

    /// Applies a resource of ours; `spec` in YAML's short form.
    #[track_caller]
    pub(crate) fn declare(&self, kind: &str, name: &str, spec: &str) {
        self.kube.apply(&format!(
            "{{apiVersion: nsqube.io/v1alpha1, kind: {kind}, metadata: {{name: {name}, namespace: default}}, spec: {spec}}}"
        ));
    }

    /// A resource of ours, as `nsqtopics/orders`.
    #[track_caller]
    pub(crate) fn of(&self, what: &str) -> Option<Value> {
        self.kube.get(&format!("/apis/nsqube.io/v1alpha1/namespaces/default/{what}"))
    }

    /// Waits for a condition, about the generation that is there.
    #[track_caller]
    pub(crate) fn becomes(&self, what: &str, kind: &str, status: &str, reason: &str) {
        let mut last = Last(Value::Null);
        eventually(&format!("{what} has {kind}={status}/{reason}"), || {
            last.0 = self.of(what).unwrap_or_default();
            let last = &last.0;
            let generation = last.pointer("/metadata/generation");
            let is_current = last.pointer("/status/observedGeneration") == generation;
            let found = condition(last, kind);
            is_current && found.is_some_and(|(is, why)| is == status && why == reason)
        });
    }

    /// Where a broker's HTTP API is.
    pub(crate) fn broker(&self, ordinal: u32) -> SocketAddr {
        let mut ip = None;
        eventually(&format!("broker {ordinal} runs"), || {
            ip = self.kubelet.ip(&format!("default/prod-broker-{ordinal}"));
            ip.is_some()
        });
        SocketAddr::new(ip.unwrap(), 4151)
    }

    /// What a broker says of a topic, if it has it.
    pub(crate) fn topic(&self, ordinal: u32, name: &str) -> Option<Value> {
        let stats =
            request(self.broker(ordinal), "GET", &format!("/stats?format=json&topic={name}"), b"").json();
        stats.pointer("/topics/0").cloned()
    }

    /// The sum of all figures of the operator whose line begins so.
    pub(crate) fn figure(&self, start: &str) -> u64 {
        let page = request(self.operator.address("HTTP"), "GET", "/metrics", b"").ok().text();
        let figures = page.lines().filter(|line| line.starts_with(start));
        figures.map(|line| line.rsplit(' ').next().unwrap().parse::<f64>().unwrap() as u64).sum()
    }

    /// How many writes the operator has made, leases and events aside.
    pub(crate) fn writes(&self) -> u64 {
        self.figure("nsq_operator_writes_total")
    }

    #[track_caller]
    pub(crate) fn publish(&self, ordinal: u32, topic: &str, body: &str) {
        request(self.broker(ordinal), "POST", &format!("/pub?topic={topic}"), body.as_bytes()).ok();
    }
}

/// What was seen last, which a test that fails shows.
struct Last(Value);

impl Drop for Last {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("--- as it was last ---\n{:#}", self.0.pointer("/status").unwrap_or(&Value::Null));
        }
    }
}

/// An operator for `kube`, with the rights of the chart and no more.
pub(crate) fn operator(kube: &Kube) -> Process {
    operator_with(&kube.config_of("nsqube-system", "nsq-operator"), &[])
}

/// One with the rights of a kubeconfig, and with more flags.
pub(crate) fn operator_with(config: &Path, flags: &[String]) -> Process {
    let arguments = ["run", "--http-address=127.0.0.1:0", "--log-format=text", "--namespace=nsqube-system"];
    let arguments = [arguments.map(str::to_owned).to_vec(), flags.to_vec()].concat();
    let config = config.display().to_string();
    Process::start_in(&nsq_operator_binary(), &arguments, &[("KUBECONFIG", &config)])
}
