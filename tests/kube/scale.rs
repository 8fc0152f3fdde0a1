//! More brokers and fewer: nothing that was acknowledged is lost, what blocks is told, and what is raised again stays.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use harness::{Frame, Peer, eventually, request, try_request};

use crate::stage::{Stage, operator};
use harness::kube::condition;

const THREE: &str = "{brokers: {replicas: 3}, lookupds: {replicas: 1}}";
const TWO: &str = "{brokers: {replicas: 2}, lookupds: {replicas: 1}}";

/// Publishes to one broker after the other until it is told to stop, and tells what was acknowledged.
fn publisher(brokers: Vec<SocketAddr>, stop: Arc<AtomicBool>) -> std::thread::JoinHandle<BTreeSet<String>> {
    std::thread::spawn(move || {
        let mut acknowledged = BTreeSet::new();
        for at in 0.. {
            if stop.load(Ordering::Relaxed) {
                break;
            }
            let body = format!("message-{at}");
            let address = brokers[at % brokers.len()];
            // A broker that is gone or leaves refuses; the next message goes to the next one.
            let sent = try_request(address, "POST", "/pub?topic=orders", body.as_bytes());
            if sent.is_ok_and(|reply| reply.status == 200) {
                acknowledged.insert(body);
            }
        }
        acknowledged
    })
}

/// Takes everything that a broker has for `orders/billing`, until it is closed.
pub(crate) fn consume(address: SocketAddr) -> std::thread::JoinHandle<BTreeSet<String>> {
    std::thread::spawn(move || {
        let mut got = BTreeSet::new();
        let mut peer = Peer::connect(SocketAddr::new(address.ip(), 4150));
        peer.subscribe("orders", "billing");
        peer.ready(100);
        loop {
            match peer.receive_within(Duration::from_secs(60)) {
                Some(Frame::Message(message)) => {
                    got.insert(message.text());
                    peer.try_send(format!("FIN {}\n", message.id).as_bytes());
                }
                Some(Frame::Response(text)) if text == "_heartbeat_" => {
                    peer.try_send(b"NOP\n");
                }
                Some(Frame::Closed) | None => break,
                Some(_) => {}
            }
        }
        got
    })
}

#[test]
fn three_become_two_while_publishers_never_stop_and_nothing_is_lost() {
    let Some(stage) = Stage::set(41) else { return };
    stage.cluster(THREE);
    stage.declare("NsqTopic", "orders", "{clusterRef: {name: prod}}");
    stage.declare("NsqChannel", "billing", "{topicRef: {name: orders}}");
    stage.becomes("nsqchannels/billing", "Ready", "True", "Declared");
    let brokers: Vec<SocketAddr> = (0..3).map(|at| stage.broker(at)).collect();
    let stop = Arc::new(AtomicBool::new(false));
    let publishing = publisher(brokers.clone(), Arc::clone(&stop));
    eventually("there is a backlog", || {
        stage.topic(2, "orders").is_some_and(|it| it["channels"][0]["depth"].as_u64().unwrap() > 20)
    });
    stage.declare("NsqCluster", "prod", TWO);
    // Nobody consumes: it stays, refuses publishes, and says why.
    stage.becomes("nsqclusters/prod", "ScalingDown", "True", "NoConsumer");
    assert_eq!(request(brokers[2], "POST", "/pub?topic=orders", b"x").status, 503);
    println!("{}", stage.kube.kubectl(&["describe", "nsqc", "prod"]));
    let consuming: Vec<_> = brokers.iter().map(|address| consume(*address)).collect();
    let set = "/apis/apps/v1/namespaces/default/statefulsets/prod-broker";
    eventually("the third broker is taken away", || stage.kube.get(set).unwrap()["spec"]["replicas"] == 2);
    stage.becomes("nsqclusters/prod", "Ready", "True", "AllReady");
    let cluster = stage.of("nsqclusters/prod").unwrap();
    assert_eq!((condition(&cluster, "ScalingDown"), cluster["status"].get("drain")), (None, None));
    stop.store(true, Ordering::Relaxed);
    let acknowledged = publishing.join().unwrap();
    eventually("the others are empty", || {
        (0..2).all(|at| {
            let topic = stage.topic(at, "orders").unwrap();
            topic["channels"][0]["depth"] == 0 && topic["channels"][0]["in_flight_count"] == 0
        })
    });
    let claims = "/api/v1/namespaces/default/persistentvolumeclaims/data-prod-broker-2";
    assert!(stage.kube.get(claims).is_some(), "volumes are never deleted");
    drop(stage);
    let delivered: BTreeSet<String> =
        consuming.into_iter().flat_map(|thread| thread.join().unwrap()).collect();
    let lost: Vec<_> = acknowledged.difference(&delivered).collect();
    println!("acknowledged {}, delivered {}, lost {}", acknowledged.len(), delivered.len(), lost.len());
    assert!(lost.is_empty() && acknowledged.len() > 100, "{lost:?}");
}

#[test]
fn a_statefulset_that_is_deleted_in_the_middle_of_it_takes_no_broker_with_it() {
    let Some(stage) = Stage::set(44) else { return };
    stage.cluster(THREE);
    stage.publish(2, "orders", "kept");
    stage.declare("NsqCluster", "prod", TWO);
    stage.becomes("nsqclusters/prod", "ScalingDown", "True", "NoConsumer");
    let set = "/apis/apps/v1/namespaces/default/statefulsets/prod-broker";
    let uid = stage.kube.get(set).unwrap()["metadata"]["uid"].clone();
    stage.kube.kubectl(&["delete", "sts", "prod-broker", "--cascade=orphan"]);
    eventually("the StatefulSet is back", || {
        stage.kube.get(set).is_some_and(|found| found["metadata"]["uid"] != uid)
    });
    assert_eq!(stage.kube.get(set).unwrap()["spec"]["replicas"], 3, "the third broker still holds a message");
    stage.becomes("nsqclusters/prod", "ScalingDown", "True", "NoConsumer");
}

#[test]
fn raising_the_number_again_ends_a_drain() {
    let Some(stage) = Stage::set(42) else { return };
    stage.cluster(THREE);
    stage.publish(2, "orders", "kept");
    stage.declare("NsqCluster", "prod", TWO);
    stage.becomes("nsqclusters/prod", "ScalingDown", "True", "NoConsumer");
    stage.declare("NsqCluster", "prod", THREE);
    stage.becomes("nsqclusters/prod", "Ready", "True", "AllReady");
    stage.publish(2, "orders", "again");
    assert_eq!(stage.topic(2, "orders").unwrap()["depth"], 2);
}

#[test]
fn an_operator_that_is_killed_again_and_again_scales_all_the_same() {
    let Some(mut stage) = Stage::set(43) else { return };
    stage.cluster(THREE);
    stage.declare("NsqCluster", "prod", "{brokers: {replicas: 1}, lookupds: {replicas: 1}}");
    let set = "/apis/apps/v1/namespaces/default/statefulsets/prod-broker";
    let mut kills = 0;
    let replicas = |stage: &Stage| stage.kube.get(set).unwrap()["spec"]["replicas"].as_u64().unwrap();
    // Killed in the middle of it, as soon as each of its steps shows.
    for step in ["step=drain", "step=retire"] {
        if replicas(&stage) > 1 {
            stage.operator.wait_for_line(step);
            stage.operator.kill();
            kills += 1;
            stage.kube.kubectl(&[
                "delete",
                "lease",
                "nsq-operator",
                "-n",
                "nsqube-system",
                "--ignore-not-found",
            ]);
            stage.operator = operator(&stage.kube);
        }
    }
    eventually("one broker is left", || replicas(&stage) == 1);
    stage.becomes("nsqclusters/prod", "Ready", "True", "AllReady");
    println!("{kills} kills");
}
