//! The charts: what Helm makes of them is what `manifests/` has, wrong values are refused with their place, and a cluster
//! from the chart is one that the operator runs.

use harness::kube::Kube;
use harness::root;

#[test]
fn charts_are_sound_and_manifests_are_what_they_make() {
    let Some(kube) = Kube::start() else { return };
    for chart in ["charts/nsqube-operator", "charts/nsqube-cluster"] {
        let (ok, said) = kube.try_helm(&["lint", "--strict", chart]);
        assert!(ok, "{said}");
        println!("{said}");
    }
    let files: [(&str, &[&str]); 2] = [
        ("install.yaml", &["--namespace=nsqube-system"]),
        ("install-namespaced.yaml", &["--namespace=nsqube", "--set=watchNamespaces={nsqube}"]),
    ];
    for (file, arguments) in files {
        let all = [&["template", "nsq-operator", "charts/nsqube-operator", "--no-hooks"], arguments].concat();
        let (ok, made) = kube.try_helm(&all);
        let committed = std::fs::read_to_string(root().join("manifests").join(file)).unwrap();
        assert!(ok && committed.ends_with(&made), "manifests/{file} is stale: run `cargo xtask manifests`");
        kube.kubectl(&[
            "apply",
            "--server-side",
            "--dry-run=server",
            "--force-conflicts",
            "-f",
            &namespaced(&kube, &committed),
        ]);
    }
    // Of one namespace, it asks for no right beyond it, definitions aside.
    let made = std::fs::read_to_string(root().join("manifests/install-namespaced.yaml")).unwrap();
    assert!(!made.contains("kind: ClusterRole"), "a ClusterRole in the namespaced variant");
}

/// Without its Namespace, which a dry run does not make.
fn namespaced(kube: &Kube, text: &str) -> String {
    let path = kube.folder().join("manifest.yaml");
    for namespace in ["nsqube-system", "nsqube"] {
        kube.try_kubectl(&["create", "namespace", namespace]);
    }
    std::fs::write(&path, text).unwrap();
    path.display().to_string()
}

#[test]
fn wrong_values_are_refused_with_their_place() {
    let Some(kube) = Kube::start() else { return };
    let table = [
        ("charts/nsqube-operator", "--set=replicas=many", "/replicas"),
        ("charts/nsqube-operator", "--set=replica=1", "replica"),
        ("charts/nsqube-operator", "--set=images.pullPolicy=Sometimes", "/images/pullPolicy"),
        ("charts/nsqube-operator", "--set=watchNamespaces={Shop}", "/watchNamespaces"),
        ("charts/nsqube-cluster", "--set=name=1prod", "/name"),
        ("charts/nsqube-cluster", "--set=topics.a.clusterRef.name=x", "/topics/a"),
    ];
    for (chart, wrong, place) in table {
        let (ok, said) = kube.try_helm(&["template", "x", chart, wrong]);
        assert!(!ok && said.contains(place), "{chart} {wrong}: {said}");
    }
}

#[test]
fn a_cluster_from_the_chart_is_ready_and_its_release_goes_without_its_volumes() {
    let Some(stage) = crate::stage::Stage::set(51) else { return };
    let values = "--set-json=spec={\"brokers\":{\"replicas\":1},\"lookupds\":{\"replicas\":1}}";
    let more = [
        "--set-json=topics={\"orders\":{}}",
        "--set-json=channels={\"billing\":{\"topicRef\":{\"name\":\"orders\"}}}",
    ];
    let (ok, said) =
        stage.kube.try_helm(&["install", "prod", "charts/nsqube-cluster", values, more[0], more[1]]);
    assert!(ok, "{said}");
    stage.becomes("nsqclusters/prod", "Ready", "True", "AllReady");
    stage.becomes("nsqchannels/billing", "Ready", "True", "Declared");
    let (ok, said) = stage.kube.try_helm(&[
        "upgrade",
        "prod",
        "charts/nsqube-cluster",
        values,
        more[0],
        "--set-json=channels={}",
    ]);
    assert!(ok, "{said}");
    assert!(stage.of("nsqchannels/billing").is_none());
    let topic = stage.topic(0, "orders").unwrap();
    assert_eq!(topic["channels"][0]["channel_name"], "billing", "what is kept by default is kept");
    let (ok, said) = stage.kube.try_helm(&["uninstall", "prod"]);
    assert!(ok, "{said}");
    let claim = "/api/v1/namespaces/default/persistentvolumeclaims/data-prod-broker-0";
    assert!(stage.of("nsqclusters/prod").is_none() && stage.kube.get(claim).is_some());
}
