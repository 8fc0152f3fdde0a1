//! `cargo xtask images [NAME ...]`: the images of the Containerfile without a container engine, as OCI archives in
//! images of the target folder: `ctr images import`, `podman load`, `skopeo copy oci-archive:...` and `docker load` take them.
//! What a blob and an archive are is in `archive`.

mod archive;

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use crate::step;
use archive::{Layer, write_image};

/// Who the programs run as: nobody on any machine, and the number that images without users agree on.
const USER: u64 = 65532;
const BIN: &str = "usr/local/bin";
const CERTIFICATES: &str = "etc/ssl/certs/ca-certificates.crt";

/// One image.
struct Image {
    name: &'static str,
    description: &'static str,
    /// The crates that its programs are from.
    packages: &'static [&'static str],
    binaries: &'static [&'static str],
    /// Also stands at `/NAME`, where stock NSQ's image has it.
    has_stock_paths: bool,
    has_data: bool,
    ports: &'static [u16],
    entrypoint: &'static [&'static str],
    command: &'static [&'static str],
}

const NSQ: Image = Image {
    name: "nsq",
    description: "NSQube: nsqd, nsqlookupd and nsq, at the paths of stock NSQ's image",
    packages: &["broker", "lookupd", "cli"],
    binaries: &["nsqd", "nsqlookupd", "nsq"],
    has_stock_paths: true,
    has_data: true,
    ports: &[4150, 4151, 4152, 4160, 4161],
    entrypoint: &[],
    command: &[],
};

const IMAGES: [Image; 4] = [
    Image {
        name: "nsqd",
        description: "NSQube's nsqd: receives, queues and delivers messages",
        packages: &["broker"],
        binaries: &["nsqd"],
        ports: &[4150, 4151, 4152],
        command: &["/nsqd", "--data-path=/data"],
        ..NSQ
    },
    Image {
        name: "nsqlookupd",
        description: "NSQube's nsqlookupd: tells consumers where topics are",
        packages: &["lookupd"],
        binaries: &["nsqlookupd"],
        has_data: false,
        ports: &[4160, 4161],
        command: &["/nsqlookupd"],
        ..NSQ
    },
    Image {
        name: "nsq-operator",
        description: "Runs NsqCluster, NsqTopic and NsqChannel on Kubernetes",
        packages: &["controller"],
        binaries: &["nsq-operator"],
        has_stock_paths: false,
        has_data: false,
        ports: &[],
        entrypoint: &["/usr/local/bin/nsq-operator"],
        ..NSQ
    },
    NSQ,
];

/// Build the images named, or all, and tell how large each is.
///
/// # Errors
/// Names an image that does not exist; or the build failed.
pub(crate) fn run(names: &[&str]) -> Result<()> {
    if let Some(unknown) = names.iter().find(|name| IMAGES.iter().all(|image| image.name != **name)) {
        let known: Vec<&str> = IMAGES.iter().map(|image| image.name).collect();
        bail!("there is no image {unknown}; there are {}", known.join(", "));
    }
    let folder = step::target_folder()?.join("images");
    write(names, &folder, "release")
}

/// The same, into a folder, from programs of a profile of Cargo.toml.
///
/// # Errors
/// The build failed, or the folder cannot be written.
pub(crate) fn write(names: &[&str], folder: &Path, profile: &str) -> Result<()> {
    let wanted: Vec<&Image> =
        IMAGES.iter().filter(|image| names.is_empty() || names.contains(&image.name)).collect();
    let binaries = build(&wanted, profile)?;
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for image in wanted {
        let path = folder.join(format!("{}.tar", image.name));
        let bytes = write_image(&path, &reference(image), &config(image), &layer(image, &binaries)?)?;
        eprintln!("{}  {:.1} MB  {}", path.display(), bytes as f64 / 1e6, reference(image));
    }
    Ok(())
}

/// An image of one program, for the tests: it runs as nobody, with the arguments that its pod gives.
///
/// # Errors
/// The program cannot be read or the image not be written.
pub(crate) fn write_program(path: &Path, reference: &str, program: &Path) -> Result<()> {
    let name = program.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let content = fs::read(program).with_context(|| format!("cannot read {}", program.display()))?;
    let mut layer = Layer::default();
    layer.file(&name, content, 0o755);
    let config = json!({ "User": format!("{USER}:{USER}"), "Entrypoint": [format!("/{name}")] });
    write_image(path, reference, &config, &layer).map(|_| ())
}

/// Under which name the image is known where it was loaded.
fn reference(image: &Image) -> String {
    format!("localhost/nsqube/{}:{}", image.name, env!("CARGO_PKG_VERSION"))
}

/// The programs, linked statically; tells their folder.
fn build(images: &[&Image], profile: &str) -> Result<PathBuf> {
    let target = host()?;
    let folder = step::target_folder()?.join("static");
    let place = folder.display().to_string();
    let mut args = vec![
        "build",
        "--profile",
        profile,
        "--locked",
        "--bins",
        "--target",
        &target,
        "--target-dir",
        &place,
    ];
    let packages: BTreeSet<&str> = images.iter().flat_map(|image| image.packages.iter().copied()).collect();
    args.extend(packages.iter().flat_map(|package| ["--package", package]));
    // With --target the flags are for the programs alone: a build script or a derive cannot be static.
    step::run("static programs", &args, &[("RUSTFLAGS", "-C target-feature=+crt-static")])?;
    Ok(folder.join(&target).join(profile))
}

/// What rustc calls this machine.
fn host() -> Result<String> {
    let output = std::process::Command::new("rustc").arg("-vV").output().context("cannot start rustc")?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let line = text.lines().find_map(|line| line.strip_prefix("host: "));
    line.map(str::to_owned).with_context(|| format!("rustc -vV names no host: {text}"))
}

/// The files of an image.
fn layer(image: &Image, binaries: &Path) -> Result<Layer> {
    let mut layer = Layer::default();
    for folder in ["usr", "usr/local", BIN] {
        layer.folder(folder, 0);
    }
    for name in image.binaries {
        let path = binaries.join(name);
        let content = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        layer.file(&format!("{BIN}/{name}"), content, 0o755);
        if image.has_stock_paths {
            layer.link(name, &format!("/{BIN}/{name}"));
        }
    }
    if image.has_data {
        layer.folder("data", USER);
    }
    // For auth servers and lookupds behind a public certificate. A machine without them makes an image without them.
    if let Ok(content) = fs::read(Path::new("/").join(CERTIFICATES)) {
        ["etc", "etc/ssl", "etc/ssl/certs"].iter().for_each(|folder| layer.folder(folder, 0));
        layer.file(CERTIFICATES, content, 0o644);
    }
    Ok(layer)
}

fn config(image: &Image) -> Value {
    let ports = image.ports.iter().map(|port| (format!("{port}/tcp"), json!({})));
    let labels = [
        ("title", image.name),
        ("description", image.description),
        ("licenses", "Apache-2.0"),
        ("version", env!("CARGO_PKG_VERSION")),
    ];
    let labels = labels.map(|(key, value)| (format!("org.opencontainers.image.{key}"), json!(value)));
    let mut config = vec![
        ("User", json!(format!("{USER}:{USER}"))),
        ("Env", json!([format!("PATH=/{BIN}")])),
        ("WorkingDir", json!("/")),
        ("ExposedPorts", Value::Object(ports.collect())),
        ("Labels", Value::Object(labels.into_iter().collect())),
    ];
    if image.has_data {
        config.push(("Volumes", json!({ "/data": {} })));
    }
    if !image.entrypoint.is_empty() {
        config.push(("Entrypoint", json!(image.entrypoint)));
    }
    if !image.command.is_empty() {
        config.push(("Cmd", json!(image.command)));
    }
    Value::Object(config.into_iter().map(|(key, value)| (key.to_owned(), value)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The lines of one target of the Containerfile.
    fn target(text: &str, name: &str) -> String {
        let from =
            text.find(&format!("FROM scratch AS {name}\n")).unwrap_or_else(|| panic!("no target {name}"));
        let rest = &text[from + 1..];
        rest[..rest.find("\nFROM ").unwrap_or(rest.len())].to_owned()
    }

    #[test]
    fn the_containerfile_says_the_same_of_each_image() {
        let text = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/../Containerfile")).unwrap();
        for image in &IMAGES {
            let lines = target(&text, image.name);
            let has = |line: &str| assert!(lines.contains(line), "{}: {line}\n{lines}", image.name);
            has(&format!("title=\"{}\"", image.name));
            has(&format!("description=\"{}\"", image.description));
            has(&format!("USER {USER}:{USER}\n"));
            has(&format!("ENV PATH=/{BIN}\n"));
            let json = |words: &[&str]| serde_json::to_string(words).unwrap().replace(',', ", ");
            assert_eq!(lines.contains("CMD"), !image.command.is_empty(), "{}", image.name);
            assert_eq!(lines.contains("ENTRYPOINT"), !image.entrypoint.is_empty(), "{}", image.name);
            assert_eq!(lines.contains("VOLUME /data\n"), image.has_data, "{}", image.name);
            if !image.command.is_empty() {
                has(&format!("CMD {}\n", json(image.command)));
            }
            if !image.entrypoint.is_empty() {
                has(&format!("ENTRYPOINT {}\n", json(image.entrypoint)));
            }
            if !image.ports.is_empty() {
                let ports: Vec<String> = image.ports.iter().map(u16::to_string).collect();
                has(&format!("EXPOSE {}\n", ports.join(" ")));
            }
        }
        assert!(text.trim_end().ends_with(target(&text, "nsq").trim_end()), "who names no target gets nsq");
    }

    #[test]
    fn both_ignore_files_are_the_same() {
        let read =
            |name: &str| fs::read(Path::new(env!("CARGO_MANIFEST_DIR")).join("..").join(name)).unwrap();
        assert_eq!(read(".containerignore"), read(".dockerignore"));
    }
}
