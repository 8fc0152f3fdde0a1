//! Messages inside the cluster: go-nsq publishers that never give one up, and a go-nsq consumer that finds brokers
//! through nsqlookupd. Both count; what is lost is what one has an OK for and the other never got.

use std::collections::BTreeMap;

use serde_json::Value;

use crate::place::{Place, are_ours, image};

/// What became of all messages.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) acknowledged: u64,
    pub(crate) delivered: u64,
    pub(crate) lost: u64,
    pub(crate) duplicated: u64,
    pub(crate) refused: u64,
    pub(crate) attempts: u64,
    pub(crate) longest_ms: u64,
}

impl Place {
    /// Three publishers, `pause` apart, through the Service of the brokers.
    #[track_caller]
    pub(crate) fn publishers(&self, pause: &str) {
        let pause = format!("--pause={pause}");
        self.pod("publisher", &["publish", "--to=prod-broker:4150", &pause]);
    }

    #[track_caller]
    pub(crate) fn consumer(&self) {
        self.pod("consumer", &["consume", "--lookupd=prod-lookupd:4161"]);
    }

    #[track_caller]
    fn pod(&self, name: &str, arguments: &[&str]) {
        let arguments = serde_json::to_string(arguments).unwrap();
        let (place, image) = (self.name, image("traffic"));
        // On the one node that no test strikes: what it has seen must not be lost with that.
        let node = if are_ours() { "{kubernetes.io/hostname: node1}" } else { "{}" };
        self.kube.apply(&format!(
            "
apiVersion: v1
kind: Pod
metadata: {{name: {name}, namespace: {place}}}
spec:
  restartPolicy: Never
  terminationGracePeriodSeconds: 0
  nodeSelector: {node}
  tolerations: [{{operator: Exists}}]
  securityContext: {{runAsNonRoot: true, runAsUser: 65532, seccompProfile: {{type: RuntimeDefault}}}}
  containers:
  - name: {name}
    image: {image}
    args: {arguments}
    ports: [{{containerPort: 8080}}]
    readinessProbe: {{httpGet: {{path: /counts, port: 8080}}, periodSeconds: 1}}
    securityContext: {{allowPrivilegeEscalation: false, readOnlyRootFilesystem: true, capabilities: {{drop: [ALL]}}}}
"
        ));
        self.waits(&format!("{name} runs"), || self.pod_is_ready(name));
    }

    /// What a pod of ours has counted.
    pub(crate) fn counts(&self, pod: &str) -> Value {
        self.core(&format!("pods/{pod}:8080/proxy/counts")).unwrap_or_default()
    }

    /// How many messages have an OK.
    pub(crate) fn acknowledged(&self) -> u64 {
        by_publisher(&self.counts("publisher")["acknowledged"], |last| last.as_u64()).values().sum()
    }

    /// Waits until so many more have one.
    #[track_caller]
    pub(crate) fn more(&self, messages: u64) {
        let from = self.acknowledged();
        self.waits(&format!("{messages} more messages are acknowledged"), || {
            self.acknowledged() >= from + messages
        });
    }

    /// Stops the publishers, waits until all that they published has come, and counts.
    #[track_caller]
    pub(crate) fn tally(&self) -> Tally {
        self.core("pods/publisher:8080/proxy/stop");
        self.waits("the publishers stop", || self.counts("publisher")["stopped"] == 3);
        let published = self.counts("publisher");
        let acknowledged = by_publisher(&published["acknowledged"], Value::as_u64);
        self.waits("everything acknowledged is delivered", || self.missing(&acknowledged) == 0);
        let consumed = self.counts("consumer");
        assert_eq!(consumed["unknown"], 0, "messages that nobody published");
        let distinct: u64 =
            by_publisher(&consumed["publishers"], |it| it["distinct"].as_u64()).values().sum();
        let number = |at: &str| published[at].as_u64().unwrap();
        let tally = Tally {
            acknowledged: acknowledged.values().sum(),
            delivered: distinct,
            lost: self.missing(&acknowledged),
            duplicated: consumed["received"].as_u64().unwrap() - distinct,
            refused: number("refused"),
            attempts: number("attempts"),
            longest_ms: number("longest"),
        };
        println!("{}: {tally:?}", self.name);
        tally
    }

    /// How many of the acknowledged have not come.
    fn missing(&self, acknowledged: &BTreeMap<String, u64>) -> u64 {
        let consumed = self.counts("consumer");
        let whole = by_publisher(&consumed["publishers"], |it| it["whole"].as_u64());
        let got = by_publisher(&consumed["publishers"], |it| it["distinct"].as_u64());
        let missing = |(name, last): (&String, &u64)| match whole.get(name) {
            Some(whole) if whole >= last => 0,
            _ => last.saturating_sub(got.get(name).copied().unwrap_or(0)).max(1),
        };
        acknowledged.iter().map(missing).sum()
    }
}

fn by_publisher(map: &Value, number: impl Fn(&Value) -> Option<u64>) -> BTreeMap<String, u64> {
    let entries = map.as_object().into_iter().flatten();
    entries.filter_map(|(name, value)| Some((name.clone(), number(value)?))).collect()
}
