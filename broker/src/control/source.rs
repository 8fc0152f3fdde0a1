//! The file of `--topology-file`: read, and looked at now and then. In a folder that Kubernetes mounts, the file is
//! swapped behind a link, so that what is compared is what the link leads to.

use std::fs::{self, File};
use std::io::Read as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use flate2::read::GzDecoder;
use protocol::control::Topology;

/// A topology that is larger is none, in a file and over HTTP.
pub(super) const TOPOLOGY_BYTES_MAX: usize = 32 << 20;

/// In a folder.
const FILE: &str = "topology.json";
/// In a folder, where it is too large for a ConfigMap as it is.
const PACKED: &str = "topology.json.gz";

/// Where the file is.
#[derive(Debug, Clone)]
pub(super) struct Source {
    path: PathBuf,
}

/// What tells one content of the file from another: device, inode, length and time of change in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Stamp(u64, u64, u64, i128);

impl Source {
    /// From the option's value; none if it is empty.
    pub(super) fn new(path: &str) -> Option<Self> {
        (!path.is_empty()).then(|| Self { path: path.into() })
    }

    /// The stamp of what is there now; none if there is nothing.
    pub(super) fn stamp(&self) -> Option<Stamp> {
        let found = fs::metadata(self.file()).ok()?;
        let at = i128::from(found.mtime()) * 1_000_000_000 + i128::from(found.mtime_nsec());
        Some(Stamp(found.dev(), found.ino(), found.len(), at))
    }

    /// What the file says.
    ///
    /// # Errors
    /// It cannot be read, or is no topology; the sentence names it and says what to do.
    pub(super) fn read(&self) -> Result<Topology, String> {
        let path = self.file();
        let told = |why: String| format!("--topology-file={}: {why}", path.display());
        let file = File::open(&path).map_err(|error| told(error.to_string()))?;
        let mut bytes = Vec::new();
        let most = TOPOLOGY_BYTES_MAX as u64 + 1;
        let is_packed = path.extension().is_some_and(|extension| extension == "gz");
        let read = match is_packed {
            true => GzDecoder::new(file).take(most).read_to_end(&mut bytes),
            false => file.take(most).read_to_end(&mut bytes),
        };
        read.map_err(|error| told(error.to_string()))?;
        if bytes.len() > TOPOLOGY_BYTES_MAX {
            return Err(told("it is larger than 32 MiB".to_owned()));
        }
        serde_json::from_slice(&bytes).map_err(|error| told(format!("it is no topology: {error}")))
    }

    fn file(&self) -> PathBuf {
        if !self.path.is_dir() {
            return self.path.clone();
        }
        let packed = self.path.join(PACKED);
        if packed.exists() { packed } else { Path::new(&self.path).join(FILE) }
    }
}
