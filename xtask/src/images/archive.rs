//! An OCI image with one layer, written as one archive. The same files give the same bytes, whenever and by whomever: no
//! times, no names of users, a fixed order.

use std::fs::File;
use std::io::Write as _;
use std::path::Path;

use anyhow::{Context as _, Result};
use serde_json::{Value, json};
use sha2::{Digest as _, Sha256};
use tar::{Builder, EntryType, Header};

const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
const CONFIG: &str = "application/vnd.oci.image.config.v1+json";
const LAYER: &str = "application/vnd.oci.image.layer.v1.tar";

/// What an image's root holds, in the order it was put there: folders before what is in them.
#[derive(Default)]
pub(super) struct Layer {
    entries: Vec<(String, Entry)>,
}

enum Entry {
    Folder { user: u64 },
    File { content: Vec<u8>, mode: u32 },
    Link { to: String },
}

impl Layer {
    /// A folder that belongs to `user`; paths have no slash in front.
    pub(super) fn folder(&mut self, path: &str, user: u64) {
        self.entries.push((format!("{path}/"), Entry::Folder { user }));
    }

    /// A file of root.
    pub(super) fn file(&mut self, path: &str, content: Vec<u8>, mode: u32) {
        self.entries.push((path.to_owned(), Entry::File { content, mode }));
    }

    /// A symbolic link.
    pub(super) fn link(&mut self, path: &str, to: &str) {
        self.entries.push((path.to_owned(), Entry::Link { to: to.to_owned() }));
    }

    fn tar(&self) -> Result<Vec<u8>> {
        let mut tar = Builder::new(Vec::new());
        for (path, entry) in &self.entries {
            match entry {
                Entry::Folder { user } => put(&mut tar, path, EntryType::Directory, *user, 0o755, &[])?,
                Entry::File { content, mode } => put(&mut tar, path, EntryType::Regular, 0, *mode, content)?,
                Entry::Link { to } => {
                    let mut header = header(EntryType::Symlink, 0, 0o777, 0);
                    tar.append_link(&mut header, path, to).with_context(|| format!("cannot link {path}"))?;
                }
            }
        }
        tar.into_inner().context("cannot end the layer")
    }
}

fn header(kind: EntryType, user: u64, mode: u32, bytes: u64) -> Header {
    let mut header = Header::new_gnu();
    header.set_entry_type(kind);
    header.set_uid(user);
    header.set_gid(user);
    header.set_mode(mode);
    header.set_mtime(0);
    header.set_size(bytes);
    header
}

fn put(
    tar: &mut Builder<impl std::io::Write>,
    path: &str,
    kind: EntryType,
    user: u64,
    mode: u32,
    content: &[u8],
) -> Result<()> {
    let mut header = header(kind, user, mode, content.len() as u64);
    tar.append_data(&mut header, path, content).with_context(|| format!("cannot put {path} into the archive"))
}

/// Write the image to `path`. `reference` is its full name with a tag, `config` what runs in it and how. Tells how many
/// bytes the image has.
///
/// # Errors
/// The file cannot be written.
pub(super) fn write_image(path: &Path, reference: &str, config: &Value, layer: &Layer) -> Result<u64> {
    let archive = archive(reference, config, layer)?;
    let mut file = File::create(path).with_context(|| format!("cannot write {}", path.display()))?;
    file.write_all(&archive).with_context(|| format!("cannot write {}", path.display()))?;
    Ok(archive.len() as u64)
}

fn archive(reference: &str, config: &Value, layer: &Layer) -> Result<Vec<u8>> {
    let layer = Blob::new(LAYER, layer.tar()?);
    let config = Blob::json(
        CONFIG,
        &json!({
            "architecture": architecture(),
            "os": "linux",
            "config": config,
            "rootfs": { "type": "layers", "diff_ids": [layer.digest()] },
        }),
    )?;
    let manifest = Blob::json(
        MANIFEST,
        &json!({
            "schemaVersion": 2,
            "mediaType": MANIFEST,
            "config": config.descriptor(),
            "layers": [layer.descriptor()],
        }),
    )?;
    let tag = reference.rsplit(':').next().unwrap_or_default();
    let named = json!({
        "mediaType": manifest.kind,
        "digest": manifest.digest(),
        "size": manifest.content.len(),
        // The first is containerd's, the other everybody's.
        "annotations": { "io.containerd.image.name": reference, "org.opencontainers.image.ref.name": tag },
    });
    let index = json!({ "schemaVersion": 2, "manifests": [named] });
    let mut tar = Builder::new(Vec::new());
    let mut file = |path: &str, content: &[u8]| put(&mut tar, path, EntryType::Regular, 0, 0o644, content);
    file("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#)?;
    file("index.json", &serde_json::to_vec(&index)?)?;
    for blob in [&manifest, &config, &layer] {
        file(&format!("blobs/sha256/{}", blob.hash), &blob.content)?;
    }
    tar.into_inner().context("cannot end the archive")
}

/// What Go calls this processor.
fn architecture() -> &'static str {
    match std::env::consts::ARCH {
        "x86_64" => "amd64",
        "aarch64" => "arm64",
        other => other,
    }
}

/// Content that is called by its hash.
struct Blob {
    kind: &'static str,
    hash: String,
    content: Vec<u8>,
}

impl Blob {
    fn new(kind: &'static str, content: Vec<u8>) -> Self {
        let hash = Sha256::digest(&content).iter().map(|byte| format!("{byte:02x}")).collect();
        Self { kind, hash, content }
    }

    fn json(kind: &'static str, value: &Value) -> Result<Self> {
        Ok(Self::new(kind, serde_json::to_vec(value)?))
    }

    fn digest(&self) -> String {
        format!("sha256:{}", self.hash)
    }

    fn descriptor(&self) -> Value {
        json!({ "mediaType": self.kind, "digest": self.digest(), "size": self.content.len() })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::io::Read as _;

    use super::*;

    fn image() -> Vec<u8> {
        let mut layer = Layer::default();
        layer.folder("data", 65532);
        layer.file("bin/nsqd", b"program".to_vec(), 0o755);
        layer.link("nsqd", "/bin/nsqd");
        archive("localhost/x:1", &json!({ "User": "65532:65532" }), &layer).unwrap()
    }

    fn files(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
        let mut tar = tar::Archive::new(archive);
        let entries = tar.entries().unwrap().map(|entry| {
            let mut entry = entry.unwrap();
            let mut content = Vec::new();
            entry.read_to_end(&mut content).unwrap();
            (entry.path().unwrap().display().to_string(), content)
        });
        entries.collect()
    }

    #[test]
    fn every_part_is_found_by_the_digest_that_names_it() {
        let files = files(&image());
        let json = |content: &[u8]| serde_json::from_slice::<Value>(content).unwrap();
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().unwrap().replace("sha256:", "blobs/sha256/");
            let content = &files[&digest];
            assert_eq!(descriptor["size"], content.len());
            content
        };
        let index = json(&files["index.json"]);
        assert_eq!(index["manifests"][0]["annotations"]["io.containerd.image.name"], "localhost/x:1");
        let manifest = json(blob(&index["manifests"][0]));
        let config = json(blob(&manifest["config"]));
        assert_eq!(config["config"]["User"], "65532:65532");
        assert_eq!(config["rootfs"]["diff_ids"][0], manifest["layers"][0]["digest"]);
        let layer = self::files(blob(&manifest["layers"][0]));
        assert_eq!(layer["bin/nsqd"], b"program");
    }

    #[test]
    fn the_same_files_make_the_same_image() {
        assert_eq!(image(), image());
    }
}
