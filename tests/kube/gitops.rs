//! What users keep in Git: the examples are taken by a real API server, and Argo CD's script judges what the operator
//! says of them.

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use harness::{prepared, root};
use serde_json::Value;

use crate::stage::Stage;

/// What Argo CD would say of a resource.
fn health(lua: &Path, resource: &Value) -> String {
    let mut command = Command::new(lua);
    command.arg(root().join("manifests/argocd/health.lua")).stdin(Stdio::piped()).stdout(Stdio::piped());
    let mut child = command.spawn().unwrap();
    child.stdin.take().unwrap().write_all(resource.to_string().as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success());
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[test]
fn argo_cd_and_flux_see_what_the_operator_says() {
    let (Some(lua), Some(stage)) = (prepared("lua"), Stage::set(48)) else { return };
    let judged = |what: &str| health(&lua, &stage.of(what).unwrap());
    let waits = |what: &str, kind: &str| {
        let (ok, said) =
            stage.kube.try_kubectl(&["wait", &format!("--for=condition={kind}"), what, "--timeout=60s"]);
        assert!(ok, "{said}");
    };
    stage.cluster("{brokers: {replicas: 1}, lookupds: {replicas: 1}}");
    assert!(judged("nsqclusters/prod").starts_with("Healthy: AllReady"), "{}", judged("nsqclusters/prod"));
    stage.declare("NsqTopic", "orders", "{clusterRef: {name: prod}}");
    waits("nsqtopic/orders", "Ready");
    assert!(judged("nsqtopics/orders").starts_with("Healthy: Declared"), "{}", judged("nsqtopics/orders"));
    stage.declare("NsqTopic", "lost", "{clusterRef: {name: nowhere}}");
    waits("nsqtopic/lost", "Stalled");
    assert!(
        judged("nsqtopics/lost").starts_with("Degraded: ClusterNotFound"),
        "{}",
        judged("nsqtopics/lost")
    );
    // What was said of another generation says nothing.
    let mut edited = stage.of("nsqclusters/prod").unwrap();
    edited["metadata"]["generation"] = 99.into();
    assert!(health(&lua, &edited).starts_with("Progressing: "));
    stage.declare("NsqCluster", "prod", "{paused: true, brokers: {replicas: 1}, lookupds: {replicas: 1}}");
    waits("nsqcluster/prod", "Paused");
    assert!(
        judged("nsqclusters/prod").starts_with("Suspended: PausedBySpec"),
        "{}",
        judged("nsqclusters/prod")
    );
}

#[test]
fn the_patch_for_argo_cd_has_its_script_three_times() {
    let read = |name: &str| std::fs::read_to_string(root().join("manifests/argocd").join(name)).unwrap();
    let patch: Value = serde_saphyr::from_str(&read("argocd-cm.yaml")).unwrap();
    for kind in ["NsqCluster", "NsqTopic", "NsqChannel"] {
        let script =
            patch["data"][format!("resource.customizations.health.nsqube.io_{kind}")].as_str().unwrap();
        assert_eq!(script.trim(), read("health.lua").trim(), "{kind}");
    }
}

fn examples() -> Vec<PathBuf> {
    let files = std::fs::read_dir(root().join("manifests/examples")).unwrap();
    let mut files: Vec<PathBuf> = files.map(|file| file.unwrap().path()).collect();
    files.push(root().join("manifests/quickstart.yaml"));
    files
}

#[test]
fn every_example_is_taken_as_it_is_and_each_field_is_explained() {
    let Some(kube) = harness::kube::Kube::start() else { return };
    for file in examples() {
        let (ok, said) = kube.try_kubectl(&[
            "apply",
            "--dry-run=server",
            "--validate=strict",
            "-f",
            &file.display().to_string(),
        ]);
        assert!(ok, "{}: {said}", file.display());
    }
    for path in ["nsqcluster.spec.brokers", "nsqtopic.spec", "nsqchannel.spec"] {
        let said = kube.kubectl(&["explain", path]);
        println!("{said}");
        assert!(said.contains("FIELDS:") && !said.contains("<no description>"), "{said}");
    }
}
