//! The cache outside the checkout, where things that are slow to make survive a fresh clone. Each entry is a folder
//! named by the hash of what it was made from, so it is never stale and never needs to be asked for twice.

use std::fs::{self, File};
use std::hash::{DefaultHasher, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};

/// `$NSQUBE_CACHE`, else `nsqube` below `$XDG_CACHE_HOME` or `~/.cache`.
///
/// # Errors
/// When the environment names no home at all.
pub(crate) fn folder() -> Result<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    if let Some(cache) = set("NSQUBE_CACHE") {
        return Ok(cache);
    }
    if let Some(cache) = set("XDG_CACHE_HOME") {
        return Ok(cache.join("nsqube"));
    }
    let home = set("HOME").context("set NSQUBE_CACHE to a folder for built test clients: HOME is not set")?;
    Ok(home.join(".cache").join("nsqube"))
}

/// The folder of `name` for these inputs; `make` fills it if nobody has yet.
///
/// # Errors
/// When the folder cannot be written or `make` fails; a half-made folder is made anew by the next call.
pub(crate) fn entry(name: &str, inputs: &Inputs, make: impl FnOnce(&Path) -> Result<()>) -> Result<PathBuf> {
    let cache = folder()?;
    let place = cache.join(format!("{name}-{:016x}", inputs.0.finish()));
    let finished = place.join(".finished");
    fs::create_dir_all(&place)
        .with_context(|| format!("cannot create the cache folder {}", place.display()))?;
    // Two test runs may start at once: the second waits here and then finds the first one's work.
    let lock =
        File::create(place.join(".lock")).with_context(|| format!("cannot write in {}", place.display()))?;
    lock.lock().with_context(|| format!("cannot lock {}", place.display()))?;
    if !finished.exists() {
        make(&place)?;
        File::create(&finished).with_context(|| format!("cannot write in {}", place.display()))?;
    }
    Ok(place)
}

/// What an entry is made from, hashed. The hash need not be the same for another toolchain: the entry is then only
/// made once more.
#[derive(Default)]
pub(crate) struct Inputs(DefaultHasher);

impl Inputs {
    /// Anything that changes the result, such as the version of the tool that makes it.
    pub(crate) fn text(&mut self, text: &str) {
        self.0.write_usize(text.len());
        self.0.write(text.as_bytes());
    }

    /// The files directly in `folder`, in the order of their names.
    pub(crate) fn files(&mut self, folder: &Path) -> Result<()> {
        let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
        let mut paths: Vec<PathBuf> = entries.map(|entry| Ok(entry?.path())).collect::<Result<_>>()?;
        paths.sort();
        for path in paths.iter().filter(|path| path.is_file()) {
            self.text(&path.file_name().unwrap_or_default().to_string_lossy());
            let content = fs::read(path).with_context(|| format!("cannot read {}", path.display()))?;
            self.0.write_usize(content.len());
            self.0.write(&content);
        }
        Ok(())
    }
}
