//! Files as people write them, and every problem as it is printed.

use super::Declaration;
use crate::plan;

const CLUSTER: &str = "\
apiVersion: nsqube.io/v1alpha1
kind: NsqCluster
metadata:
  name: prod
spec: {}
";

fn read(files: &[(&str, &str)]) -> Result<Declaration, Vec<String>> {
    let files: Vec<(String, String)> =
        files.iter().map(|(name, text)| ((*name).to_owned(), (*text).to_owned())).collect();
    Declaration::read(&files).map_err(|problems| problems.iter().map(ToString::to_string).collect())
}

/// One file `f.yaml`, and all problems it has, in order.
#[track_caller]
fn check(text: &str, expected: &[&str]) {
    let found = read(&[("f.yaml", text)]).err().unwrap_or_default();
    assert_eq!(found, expected, "{text}");
}

/// A cluster `prod` (lines 1 to 5), then a document per (kind, name, spec), each 6 lines with `---` first.
fn with_cluster(documents: &[(&str, &str, &str)]) -> String {
    let mut text = CLUSTER.to_owned();
    for (kind, name, spec) in documents {
        text += &format!(
            "---\napiVersion: nsqube.io/v1alpha1\nkind: {kind}\nmetadata:\n  name: {name}\nspec: {spec}\n"
        );
    }
    text
}

#[test]
fn the_quickstart_is_valid() {
    let file = concat!(env!("CARGO_MANIFEST_DIR"), "/../manifests/quickstart.yaml");
    let text = std::fs::read_to_string(file).unwrap();
    let plan = plan(&read(&[("quickstart.yaml", &text)]).unwrap());
    let cluster = &plan.clusters[0];
    assert_eq!((cluster.name.as_str(), cluster.brokers.len(), cluster.lookupds.len()), ("quickstart", 2, 1));
    let names: Vec<String> = cluster
        .topics
        .iter()
        .flat_map(|topic| topic.channels.iter().map(|channel| format!("{}/{}", topic.name, channel.name)))
        .collect();
    assert_eq!(names, ["events/archive", "orders/billing", "orders/shipping"]);
}

#[test]
fn files_without_resources_are_no_mistake() {
    for text in ["", "# nothing yet\n", "---\n---\n", "---\n# nothing\n---\nnull\n"] {
        check(text, &[]);
    }
}

#[test]
fn an_unknown_field_is_named_with_its_line_and_the_nearest_known_one() {
    let head = "apiVersion: nsqube.io/v1alpha1\nkind: NsqCluster\nmetadata:\n  name: quickstart\n";
    check(
        &format!("{head}spec:\n  brokers:\n    replcas: 2\n"),
        &[
            "f.yaml:7: unknown field \"replcas\" in spec.brokers of NsqCluster \"quickstart\"; did you mean \"replicas\"?",
        ],
    );
    check(
        &format!(
            "{head}spec:\n  brokers:\n    config:\n      mem-queue-size: 10\n      heartbeatInterval: {{min: 1s}}\n"
        ),
        &[
            "f.yaml:8: unknown field \"mem-queue-size\" in spec.brokers.config of NsqCluster \"quickstart\"; did you mean \"memQueueSize\"?",
            "f.yaml:9: unknown field \"min\" in spec.brokers.config.heartbeatInterval of NsqCluster \"quickstart\"; known here: max",
        ],
    );
    check(
        &format!("{head}specs: {{}}\nspec: {{storage: 1}}\n"),
        &[
            "f.yaml:5: unknown field \"specs\" in NsqCluster \"quickstart\"; did you mean \"spec\"?",
            "f.yaml:6: unknown field \"storage\" in spec of NsqCluster \"quickstart\"; known here: brokers, imagePullSecrets, lookupds, networkPolicy, observability, paused, topics",
        ],
    );
    check(
        &format!("{head}  namespce: shop\nspec: {{}}\n"),
        &[
            "f.yaml:5: unknown field \"namespce\" in metadata of NsqCluster \"quickstart\"; did you mean \"namespace\"?",
        ],
    );
}

#[test]
fn unknown_fields_are_found_in_every_kind() {
    let text = with_cluster(&[
        ("NsqTopic", "a", "{clusterRef: {name: prod, nam: x}}"),
        ("NsqChannel", "b", "{topicRef: {name: a}, pause: true}"),
    ]);
    check(
        &text,
        &[
            "f.yaml:11: unknown field \"nam\" in spec.clusterRef of NsqTopic \"a\"; did you mean \"name\"?",
            "f.yaml:17: unknown field \"pause\" in spec of NsqChannel \"b\"; did you mean \"paused\"?",
        ],
    );
}

#[test]
fn what_kubectl_shows_can_be_read_back() {
    let text = "apiVersion: nsqube.io/v1alpha1\nkind: NsqCluster\nmetadata:\n  name: c\n  namespace: shop\n  uid: x\n  \
                generation: 2\n  labels: {a: b}\n  managedFields: [{manager: kubectl, fieldsV1: {'f:spec': {}}}]\n\
                spec:\n  brokers: {replicas: 3, config: {}}\n";
    check(text, &[]);
}

#[test]
fn values_have_the_type_and_range_of_their_field() {
    let table = [
        (
            "{brokers: {replicas: two}}",
            "spec.brokers.replicas",
            "is the text \"two\", but must be a whole number",
        ),
        (
            "{brokers: {replicas: \"2\"}}",
            "spec.brokers.replicas",
            "is the text \"2\", but must be a whole number; leave out the quotes: 2",
        ),
        ("{brokers: {replicas: 513}}", "spec.brokers.replicas", "is 513, but must be 0 to 512"),
        ("{brokers: {replicas: -1}}", "spec.brokers.replicas", "is -1, but must be 0 to 512"),
        ("{lookupds: {replicas: 17}}", "spec.lookupds.replicas", "is 17, but must be 0 to 16"),
        ("{lookupds: 3}", "spec.lookupds", "is 3, but must be a map of fields"),
        (
            "{brokers: {config: {logLevel: warning}}}",
            "spec.brokers.config.logLevel",
            "is \"warning\", but must be one of debug, info, warn, error, fatal; did you mean \"warn\"?",
        ),
        (
            "{brokers: {config: {durability: fsync}}}",
            "spec.brokers.config.durability",
            "is \"fsync\", but must be one of Memory, Buffered, Fsync; did you mean \"Fsync\"?",
        ),
        (
            "{brokers: {config: {memoryLimit: 8Mi}}}",
            "spec.brokers.config.memoryLimit",
            "is \"8Mi\", which is out of range; write at least 16Mi",
        ),
        (
            "{brokers: {config: {extraFlags: {durability: fsync}}}}",
            "spec.brokers.config.extraFlags.durability",
            "has a field of its own; write it as spec.brokers.config.durability",
        ),
        (
            "{brokers: {config: {maxMessageSize: true}}}",
            "spec.brokers.config.maxMessageSize",
            "is true, but must be a whole number, or text as in 1Mi",
        ),
        (
            "{brokers: {config: {messageTimeout: 60}}}",
            "spec.brokers.config.messageTimeout",
            "is 60, but must be text; put it in quotes: \"60\"",
        ),
        (
            "{brokers: {config: {extraFlags: {sync-every: 1}}}}",
            "spec.brokers.config.extraFlags.sync-every",
            "is 1, but must be text; put it in quotes: \"1\"",
        ),
        (
            "{brokers: {config: {messageTimeout: 1d}}}",
            "spec.brokers.config.messageTimeout",
            "is \"1d\", which is no duration; write a number with ms, s, m or h, as in 60s or 1m30s",
        ),
        (
            "{brokers: {config: {extraFlags: {tcp-address: x}}}}",
            "spec.brokers.config.extraFlags.tcp-address",
            "belongs to the operator, which sets it itself; remove it",
        ),
    ];
    for (spec, field, message) in table {
        let text = CLUSTER.replace("{}", spec);
        check(&text, &[&format!("f.yaml:5: {field} of NsqCluster \"prod\" {message}")]);
    }
}

#[test]
fn a_level_of_a_topic_is_checked_like_that_of_its_cluster() {
    let text = with_cluster(&[
        ("NsqTopic", "a", "{clusterRef: {name: prod}, settings: {durability: Bufered}}"),
        ("NsqTopic", "b", "{clusterRef: {name: prod}, settings: {durabilty: Fsync}}"),
        ("NsqTopic", "c", "{clusterRef: {name: prod}, durability: Fsync}"),
        ("NsqTopic", "d", "{clusterRef: {name: prod}, settings: Fsync}"),
        ("NsqTopic", "e", "{clusterRef: {name: prod}, settings: {durability: true}}"),
        ("NsqTopic", "f", "{clusterRef: {name: prod}, settings: {durability: null}}"),
    ]);
    check(
        &text,
        &[
            "f.yaml:11: spec.settings.durability of NsqTopic \"a\" is \"Bufered\", but must be one of Memory, \
             Buffered, Fsync; did you mean \"Buffered\"?",
            "f.yaml:17: unknown field \"durabilty\" in spec.settings of NsqTopic \"b\"; did you mean \"durability\"?",
            "f.yaml:23: unknown field \"durability\" in spec of NsqTopic \"c\"; \
             known here: clusterRef, deletionPolicy, driftPolicy, paused, settings, topicName",
            "f.yaml:29: spec.settings of NsqTopic \"d\" is the text \"Fsync\", but must be a map of fields",
            "f.yaml:35: spec.settings.durability of NsqTopic \"e\" is true, but must be text; \
             write one of Memory, Buffered, Fsync",
        ],
    );
}

#[test]
fn sizes_have_the_units_of_kubernetes() {
    check(
        &CLUSTER.replace("{}", "{brokers: {config: {minFree: 256MiB}}}"),
        &["f.yaml:5: spec.brokers.config.minFree of NsqCluster \"prod\" is \"256MiB\", which is no size; \
           write bytes, or a number with k, M, G, Ki, Mi or Gi, as in 1Mi"],
    );
}

#[test]
fn null_is_an_absent_field() {
    check(&CLUSTER.replace("{}", "{brokers: null, lookupds: {config: ~}}"), &[]);
    check(
        &CLUSTER.replace(" {}", ""),
        &["f.yaml:1: field \"spec\" is missing in NsqCluster \"prod\"; write `spec: {}` for the defaults"],
    );
    let text = with_cluster(&[("NsqTopic", "t", "{clusterRef: {name: }, paused: null}")]);
    check(&text, &["f.yaml:11: field \"name\" is missing in spec.clusterRef of NsqTopic \"t\""]);
}

#[test]
fn yes_is_not_true() {
    let text = with_cluster(&[("NsqTopic", "t", "{clusterRef: {name: prod}, paused: yes}")]);
    check(
        &text,
        &[
            "f.yaml:11: spec.paused of NsqTopic \"t\" is the text \"yes\", but must be true or false; write true",
        ],
    );
}

#[test]
fn names_nsq_or_kubernetes_does_not_take_are_refused() {
    let text = with_cluster(&[
        ("NsqTopic", "a", "{clusterRef: {name: prod}, topicName: \"or ders\"}"),
        ("NsqChannel", "Billing", "{topicRef: {name: a}, channelName: billing#ephemeral}"),
    ]);
    check(
        &text,
        &[
            "f.yaml:11: spec.topicName of NsqTopic \"a\" is \"or ders\", which NSQ does not take as a name; \
             an NSQ name has 1 to 64 characters out of A-Z a-z 0-9 . _ - (no #ephemeral)",
            "f.yaml:16: metadata.name of NsqChannel \"Billing\" is \"Billing\", which Kubernetes takes for no name; \
             write a-z, 0-9, - and ., with a letter or digit at both ends",
            "f.yaml:17: spec.channelName of NsqChannel \"Billing\" is \"billing#ephemeral\", which NSQ does not take \
             as a name; ephemeral topics and channels cannot be declared: write \"billing\", or let clients create it",
        ],
    );
}

#[test]
fn a_resource_is_declared_once_over_all_files() {
    let other = "\n\n".to_owned() + CLUSTER;
    let found = read(&[("a.yaml", CLUSTER), ("b.yaml", &other)]).unwrap_err();
    assert_eq!(found, ["b.yaml:6: NsqCluster \"prod\" is declared twice; the first is at a.yaml:4"]);
    let elsewhere = CLUSTER.replace("  name: prod", "  name: prod\n  namespace: shop");
    assert!(read(&[("a.yaml", CLUSTER), ("b.yaml", &elsewhere)]).is_ok());
}

#[test]
fn two_resources_cannot_be_one_topic_or_channel() {
    let text = with_cluster(&[
        ("NsqTopic", "a", "{clusterRef: {name: prod}, topicName: orders}"),
        ("NsqTopic", "orders", "{clusterRef: {name: prod}}"),
        ("NsqChannel", "c1", "{topicRef: {name: a}, channelName: x}"),
        ("NsqChannel", "c2", "{clusterRef: {name: prod}, topicName: orders, channelName: x}"),
    ]);
    check(
        &text,
        &[
            "f.yaml:16: metadata.name of NsqTopic \"orders\" makes it topic \"orders\" of cluster \"prod\", \
             which NsqTopic \"a\" is already; keep one of them; the other is at f.yaml:10",
            "f.yaml:29: spec.channelName of NsqChannel \"c2\" makes it channel \"x\" of topic \"orders\" of cluster \
             \"prod\", which NsqChannel \"c1\" is already; keep one of them; the other is at f.yaml:22",
        ],
    );
}

#[test]
fn references_lead_to_declared_resources_of_the_same_namespace() {
    let text = with_cluster(&[
        ("NsqTopic", "orders", "{clusterRef: {name: prd}}"),
        ("NsqChannel", "a", "{topicRef: {name: order}}"),
        ("NsqChannel", "b", "{clusterRef: {name: test}, topicName: orders}"),
    ]);
    let elsewhere = "---\napiVersion: nsqube.io/v1alpha1\nkind: NsqTopic\nmetadata: {name: orders, namespace: shop}\n\
                     spec: {clusterRef: {name: prod}}\n";
    check(
        &(text + elsewhere),
        &[
            "f.yaml:11: spec.clusterRef.name of NsqTopic \"orders\" is \"prd\", but no NsqCluster of this name is \
             declared; did you mean \"prod\"?",
            "f.yaml:17: spec.topicRef.name of NsqChannel \"a\" is \"order\", but no NsqTopic of this name is declared; \
             did you mean \"orders\"?",
            "f.yaml:23: spec.clusterRef.name of NsqChannel \"b\" is \"test\", but no NsqCluster of this name is \
             declared; declared in the same namespace: prod",
            "f.yaml:28: spec.clusterRef.name of NsqTopic \"shop/orders\" is \"prod\", but no NsqCluster of this name \
             is declared; declare an NsqCluster, in the same namespace",
        ],
    );
}

#[test]
fn a_broken_document_is_no_reason_to_call_references_to_it_missing() {
    let broken =
        with_cluster(&[("NsqTopic", "t", "{clusterRef: {name: prod}}")]).replace("spec: {}", "spec: []");
    check(&broken, &["f.yaml:5: spec of NsqCluster \"prod\" is a list, but must be a map of fields"]);
    let topic = "apiVersion: nsqube.io/v1alpha1\nkind: NsqTopic\nmetadata: {name: t}\nspec: {clusterRef: {name: prod}}\n";
    let found = read(&[("a.yaml", "a: [\n"), ("b.yaml", topic)]).unwrap_err();
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(found[0].starts_with("a.yaml:1: not YAML: "), "{found:?}");
}

#[test]
fn documents_of_other_kinds_are_named() {
    check(
        "apiVersion: nsqube.io/v1alpha1\nkind: NsqTopics\n",
        &["f.yaml:2: unknown kind \"NsqTopics\"; did you mean \"NsqTopic\"?"],
    );
    check(
        "apiVersion: apps/v1\nkind: Deployment\n",
        &["f.yaml:2: unknown kind \"Deployment\"; known here: NsqCluster, NsqTopic, NsqChannel"],
    );
    check(
        "kind: NsqTopic\napiVersion: nsqube.io/v1\n",
        &["f.yaml:2: unknown apiVersion \"nsqube.io/v1\" of NsqTopic; write apiVersion: nsqube.io/v1alpha1"],
    );
    check(
        "kind: NsqTopic\n",
        &["f.yaml:1: NsqTopic without apiVersion; write apiVersion: nsqube.io/v1alpha1"],
    );
    check("a: b\n", &["f.yaml:1: a document without kind; write one of NsqCluster, NsqTopic, NsqChannel"]);
    check(
        "- a\n",
        &["f.yaml:1: a document that is no resource; a document has apiVersion, kind, metadata and spec"],
    );
}

#[test]
fn a_resource_without_a_name_is_no_resource() {
    check(
        "apiVersion: nsqube.io/v1alpha1\nkind: NsqCluster\nspec: {}\n",
        &["f.yaml:1: field \"metadata\" is missing in an NsqCluster without a name; \
           every resource has a name: metadata: {name: ...}"],
    );
    check(
        &CLUSTER.replace("name: prod", "name: 12"),
        &[
            "f.yaml:4: metadata.name of an NsqCluster without a name is 12, but must be text; put it in quotes: \"12\"",
        ],
    );
}

#[test]
fn a_field_that_is_twice_is_named_with_both_lines() {
    check(
        &CLUSTER.replace("spec: {}", "spec:\n  brokers: {replicas: 1}\n  brokers: {replicas: 2}"),
        &["f.yaml:7: field \"brokers\" is twice in spec of NsqCluster \"prod\"; the first is on line 6"],
    );
}

#[test]
fn all_problems_come_at_once_sorted_by_file_and_line() {
    let bad = with_cluster(&[("NsqTopic", "t", "{clusterRef: {name: x}, topicName: a b, pausd: 1}")]);
    let found = read(&[("b.yaml", &bad.replace("{}", "{brokr: 1}")), ("a.yaml", "a: 'x")]).unwrap_err();
    let places: Vec<&str> = found.iter().map(|problem| problem.split(": ").next().unwrap()).collect();
    assert_eq!(places, ["a.yaml:1", "b.yaml:5", "b.yaml:11", "b.yaml:11"]);
}

#[test]
fn a_thousand_topics_are_read_in_one_go() {
    let topics: String = (0..1000)
        .map(|i| {
            format!("---\n{}", CLUSTER.replace("NsqCluster", "NsqTopic").replace("prod", &format!("t{i}")))
        })
        .map(|text| text.replace("spec: {}", "spec: {clusterRef: {name: prod}}"))
        .collect();
    let declaration = read(&[("a.yaml", CLUSTER), ("b.yaml", &topics)]).unwrap();
    assert_eq!(plan(&declaration).clusters[0].topics.len(), 1000);
}
