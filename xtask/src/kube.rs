//! `cargo xtask kube`: a real Kubernetes of one to three nodes on this machine, in namespaces, from programs that were
//! built from source and images that were built from this checkout. This prepares what is needed and hands over to
//! tests/cluster/nodes/cluster.sh, which knows namespaces.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context as _, Result, bail};

use crate::step::{self, root};
use crate::{cache, images, setup};

const SCRIPT: &str = "tests/cluster/nodes/cluster.sh";
/// Those that a cluster of ours is made of.
const OURS: [&str; 3] = ["nsqd", "nsqlookupd", "nsq-operator"];
/// A file that each Debian package brings, by which one sees that it is there.
const PACKAGES: [(&str, &str); 5] = [
    ("runc", "/usr/sbin/runc"),
    ("containernetworking-plugins", "/usr/lib/cni/bridge"),
    ("nftables", "/usr/sbin/nft"),
    ("xfsprogs", "/usr/sbin/mkfs.xfs"),
    ("openssl", "/usr/bin/openssl"),
];
const TESTS: [&str; 8] = ["test", "--package", "tests", "--test", "nodes", "--features", "nodes", "--"];

/// `cargo xtask kube ...`
pub(crate) fn run(args: &[&str]) -> ExitCode {
    let outcome = match args {
        ["test", rest @ ..] => test(rest).map(|()| 0),
        ["with" | "up" | "load", ..] => prepare().and_then(|place| place.script(args)),
        _ => Place::named("up").and_then(|place| place.script(args)),
    };
    match outcome {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            eprintln!("\nerror: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// The tests that need nodes, on a cluster of three that ends with them; `rest` goes to the tests.
///
/// # Errors
/// Something is missing on this machine, or a test failed.
pub(crate) fn test(rest: &[&str]) -> Result<()> {
    // There is no way to a registry from inside: everything is built before.
    step::run("tests on nodes: build", &[&TESTS[..7], &["--no-run"]].concat(), &[])?;
    let place = prepare()?;
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let command = [&["with", "3", "--", &cargo], &TESTS[..], &["--test-threads=1"], rest].concat();
    match place.script(&command)? {
        0 => Ok(()),
        code => bail!("the tests on nodes failed ({code}). To run them alone: cargo xtask kube test"),
    }
}

/// The same where this machine can; where it cannot, a notice, and on CI an error.
///
/// # Errors
/// As of `test`.
pub(crate) fn test_where_possible() -> Result<()> {
    match able() {
        Err(error) if !step::is_ci() => {
            eprintln!("SKIPPED tests on nodes: {error:#}");
            Ok(())
        }
        _ => test(&[]),
    }
}

/// What the script is told.
struct Place {
    programs: PathBuf,
    images: PathBuf,
    state: PathBuf,
}

impl Place {
    fn named(name: &str) -> Result<Self> {
        Ok(Self {
            programs: setup::kubernetes()?,
            images: step::target_folder()?.join("images-of-tests"),
            state: cache::folder()?.join("nodes").join(name),
        })
    }

    fn script(&self, args: &[&str]) -> Result<u8> {
        // Whoever ends this ends the cluster of `with`.
        let status = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(root()?.join(SCRIPT))
            .args(args)
            .env("NSQUBE_NODES_PROGRAMS", &self.programs)
            .env("NSQUBE_NODES_IMAGES", &self.images)
            .env("NSQUBE_NODES_STATE", &self.state)
            .status()
            .context("cannot start setpriv, of the package util-linux")?;
        Ok(u8::try_from(status.code().unwrap_or(1)).unwrap_or(1))
    }
}

/// Everything that a cluster is made of. A cluster of `with` has files of its own, for two may run at once.
fn prepare() -> Result<Place> {
    able()?;
    install_packages()?;
    let name = if std::env::args().nth(2).is_some_and(|verb| verb == "up" || verb == "load") {
        "up".to_owned()
    } else {
        format!("with-{}", std::process::id())
    };
    let place = Place::named(&name)?;
    fs::create_dir_all(&place.images).with_context(|| format!("cannot create {}", place.images.display()))?;
    images::write(&OURS, &place.images, "nodes")?;
    program_image(&place.images, "pause", "1", &place.programs.join("pause"))?;
    program_image(&place.images, "traffic", env!("CARGO_PKG_VERSION"), &setup::traffic()?)?;
    Ok(place)
}

fn program_image(folder: &Path, name: &str, tag: &str, program: &Path) -> Result<()> {
    images::write_program(
        &folder.join(format!("{name}.tar")),
        &format!("localhost/nsqube/{name}:{tag}"),
        program,
    )
}

/// Says what this machine lacks, before anything is built for it.
fn able() -> Result<()> {
    let status = fs::read_to_string("/proc/self/status").context("this needs Linux")?;
    let is_root =
        status.lines().any(|line| line.starts_with("Uid:") && line.split_whitespace().nth(2) == Some("0"));
    if !is_root {
        bail!(
            "a Kubernetes with nodes needs root, for namespaces, mounts and control groups: run this as root"
        );
    }
    if !Path::new("/sys/fs/cgroup/memory").is_dir() {
        bail!(
            "a Kubernetes with nodes needs control groups of version 1 (also in hybrid mode) below /sys/fs/cgroup; this \
             machine has none. Any other cluster serves: docs/kubernetes-tests.md says how"
        );
    }
    Ok(())
}

fn install_packages() -> Result<()> {
    let missing: Vec<&str> =
        PACKAGES.iter().filter(|(_, file)| !Path::new(file).exists()).map(|(name, _)| *name).collect();
    if missing.is_empty() {
        return Ok(());
    }
    eprintln!("installing {}", missing.join(", "));
    let apt = |args: &[&str]| {
        let mut command = Command::new("apt-get");
        command.args(args).env("DEBIAN_FRONTEND", "noninteractive");
        command.stdout(std::process::Stdio::null()).status()
    };
    let install = [&["install", "--yes", "--no-install-recommends"], &missing[..]].concat();
    // What is known of packages may be too old, or not there: it is asked for when it did not do.
    let installed = |args: &[&str]| apt(args).is_ok_and(|status| status.success());
    if installed(&install) || (installed(&["update"]) && installed(&install)) {
        return Ok(());
    }
    bail!("cannot install {}: on Debian, `apt-get install {}`", missing.join(", "), missing.join(" "))
}
