//! A real Kubernetes from source: every program of a test cluster, built once per content of tests/cluster and version
//! of Go. Cold that is about ten minutes on two cores; there is no registry that gives them.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use super::{succeed, version_of};
use crate::cache::{self, Inputs};
use crate::step::root;

const FOLDER: &str = "tests/cluster";
/// As in go.mod: charts ask the API server for its version.
const KUBERNETES: &str = "v1.36.3";
const CONTAINERD: &str = "v2.3.7";
const HELM: &str = "v4.2.4";

/// The folder with `kube`, `pause`, `coredns`, `helm`, `containerd`, its shim and `ctr`.
pub(super) fn programs() -> Result<PathBuf> {
    let sources = root()?.join(FOLDER);
    let version = version_of("go", "version").context(
        "Kubernetes for the tests needs Go 1.26.8 or newer: install a release of Go, and have `go` in PATH",
    )?;
    let mut inputs = Inputs::default();
    [&version, KUBERNETES, CONTAINERD, HELM].into_iter().for_each(|text| inputs.text(text));
    for folder in ["", "kube", "dns", "pause"] {
        inputs.files(&sources.join(folder))?;
    }
    cache::entry("kube", &inputs, |place| {
        eprintln!(
            "building Kubernetes {KUBERNETES} for the tests; cold that is about ten minutes on two cores"
        );
        build(&sources, place, "kube", &["./kube"], &kube_flags())?;
        build(&sources, place, "coredns", &["./dns"], "")?;
        build(&sources, place, "pause", &["./pause"], "")?;
        let helm = format!("-X helm.sh/helm/v4/internal/version.version={HELM}");
        build(&sources, place, "helm", &["helm.sh/helm/v4/cmd/helm"], &helm)?;
        let own = "github.com/containerd/containerd/v2";
        let commands =
            ["containerd", "ctr", "containerd-shim-runc-v2"].map(|name| format!("{own}/cmd/{name}"));
        let commands: Vec<&str> = commands.iter().map(String::as_str).collect();
        build(&sources, place, "", &commands, &format!("-X {own}/version.Version={CONTAINERD}"))
    })
}

fn kube_flags() -> String {
    let of = "k8s.io/component-base/version";
    format!(
        "-X {of}.gitVersion={KUBERNETES} -X {of}.gitMajor=1 -X {of}.gitMinor=36 -X {of}.gitTreeState=clean -X \
         k8s.io/client-go/pkg/version.gitVersion={KUBERNETES}"
    )
}

fn build(sources: &Path, place: &Path, name: &str, packages: &[&str], flags: &str) -> Result<()> {
    let mut build = Command::new("go");
    // Neither symbols nor paths: the same sources are the same programs.
    build.args(["build", "-trimpath", "-ldflags", &format!("-s -w {flags}"), "-o"]);
    // With a slash, several programs go into the folder under their own names.
    build.arg(if name.is_empty() { place.join("") } else { place.join(name) });
    build.args(packages).current_dir(sources).env("CGO_ENABLED", "0");
    succeed(build, "building Kubernetes (it downloads its Go modules when they are not cached)")
}
