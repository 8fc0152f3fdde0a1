//! From an applied resource to the broker: one trace, of the caller, the operator and the broker.

use harness::Collector;
use serde_json::json;

use crate::stage::Stage;

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";
const CALLER: &str = "00f067aa0ba902b7";

#[test]
fn an_applied_topic_is_traced_from_its_annotation_to_its_creation_on_the_broker() {
    let collector = Collector::start();
    let endpoint = format!("--otel-endpoint={}", collector.endpoint());
    let Some(stage) = Stage::set_with(71, &[endpoint, "--otel-sampling-ratio=0".to_owned()]) else { return };
    let tracing = json!({ "endpoint": collector.endpoint(), "samplingRatio": "0" });
    let sizes = "brokers: {replicas: 1}, lookupds: {replicas: 1}";
    stage.cluster(&format!("{{{sizes}, observability: {{tracing: {tracing}}}}}"));
    assert!(collector.spans().is_empty(), "nobody asked for a trace: {:?}", collector.spans());
    stage.kube.apply(&format!(
        "{{apiVersion: nsqube.io/v1alpha1, kind: NsqTopic, metadata: {{name: orders, namespace: default, \
         annotations: {{nsqube.io/traceparent: 00-{TRACE}-{CALLER}-01}}}}, spec: {{clusterRef: {{name: prod}}}}}}"
    ));
    stage.becomes("nsqtopics/orders", "Ready", "True", "Declared");
    let created = collector.span(TRACE, "create topic orders");
    let topic = collector.span(TRACE, "reconcile NsqTopic");
    assert_eq!((topic.service.as_str(), topic.parent.as_str()), ("nsq-operator", CALLER));
    assert_eq!(topic.attribute("nsqube.resource.name"), "orders");
    assert_eq!(
        (topic.attribute("nsqube.resource.generation"), topic.attribute("nsqube.outcome")),
        ("1", "ok")
    );
    let names = ["apply topology", "PUT /control/topology", "reconcile NsqCluster", "reconcile NsqTopic"];
    for name in names {
        collector.span(TRACE, name);
    }
    // Up from what was made to who asked for it.
    let spans = collector.spans();
    let above = |id: &str| spans.iter().find(|span| span.id == id).unwrap_or_else(|| panic!("no span {id}"));
    let mut span = &created;
    for name in names {
        span = above(&span.parent);
        assert_eq!(span.name, name);
    }
    assert_eq!(span.id, topic.id);
    for name in ["observe", "validate", "build", "apply", "push", "status"] {
        assert_eq!(collector.span(TRACE, name).service, "nsq-operator", "{name}");
    }
    println!("{}", collector.drawn(TRACE));
}
