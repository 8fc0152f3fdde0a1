//! `cargo xtask crds`: manifests/crds and the chart's definitions are what `nsq-operator crds` prints, one file per
//! resource. The types in crate operator are the only source; nobody edits the files. `cargo xtask manifests` is in
//! manifests.rs.

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::step::{cargo, root};

/// Rewrite the files and remove those of resources that no longer exist.
pub(crate) fn write() -> Result<()> {
    let wanted = generate(None)?;
    folders()?.iter().try_for_each(|folder| write_into(folder, &wanted))
}

fn write_into(folder: &Path, wanted: &BTreeMap<String, String>) -> Result<()> {
    fs::create_dir_all(folder).with_context(|| format!("cannot create {}", folder.display()))?;
    for name in present(folder)?.keys().filter(|name| !wanted.contains_key(*name)) {
        fs::remove_file(folder.join(name)).with_context(|| format!("cannot remove {name}"))?;
    }
    for (name, text) in wanted {
        fs::write(folder.join(name), text).with_context(|| format!("cannot write {name}"))?;
    }
    Ok(())
}

/// Compare without writing, with what `operator`, or else a fresh build of it, prints.
///
/// # Errors
/// Names every file that is missing, stale or left over.
pub(crate) fn check(operator: Option<&Path>) -> Result<()> {
    let wanted = generate(operator)?;
    folders()?.iter().try_for_each(|folder| compare(folder, &wanted))
}

fn compare(folder: &Path, wanted: &BTreeMap<String, String>) -> Result<()> {
    let found = present(folder)?;
    let stale: Vec<&str> = wanted
        .keys()
        .chain(found.keys().filter(|name| !wanted.contains_key(*name)))
        .filter(|name| wanted.get(*name) != found.get(*name))
        .map(String::as_str)
        .collect();
    if stale.is_empty() {
        return Ok(());
    }
    bail!(
        "{} is not what the operator's types give ({}). Run `cargo xtask crds`",
        folder.display(),
        stale.join(", ")
    )
}

/// The chart has its own: Helm packs nothing from outside its folder.
fn folders() -> Result<[PathBuf; 2]> {
    let root = root()?;
    Ok([root.join("manifests/crds"), root.join("charts/nsqube-operator/definitions")])
}

fn present(folder: &Path) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    if !folder.is_dir() {
        return Ok(files);
    }
    for entry in fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))? {
        let entry = entry?;
        let text = fs::read_to_string(entry.path())
            .with_context(|| format!("cannot read {}", entry.path().display()))?;
        files.insert(entry.file_name().to_string_lossy().into_owned(), text);
    }
    Ok(files)
}

/// What `nsq-operator crds` prints, cut into one document per file, each named for its resource.
fn generate(operator: Option<&Path>) -> Result<BTreeMap<String, String>> {
    let mut command = match operator {
        Some(built) => Command::new(built),
        None => cargo(&["run", "--quiet", "--package", "controller", "--"])?,
    };
    command.arg("crds").stderr(Stdio::inherit());
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    if !output.status.success() {
        bail!("{command:?} failed ({})", output.status);
    }
    let printed =
        String::from_utf8(output.stdout).context("the operator printed something that is not UTF-8")?;
    split(&printed)
}

fn split(printed: &str) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    let mut document = String::new();
    for line in printed.lines().chain(["---"]) {
        if line != "---" {
            document.push_str(line);
            document.push('\n');
            continue;
        }
        if !document.trim().is_empty() {
            let name = resource_name(&document).context("a CRD without metadata.name")?;
            files.insert(format!("{name}.yaml"), std::mem::take(&mut document));
        }
        document.clear();
    }
    if files.is_empty() {
        bail!("the operator printed no CRD");
    }
    Ok(files)
}

/// The line `  name: nsqtopics.nsqube.io` below `metadata:`.
fn resource_name(document: &str) -> Option<&str> {
    let metadata = document.lines().skip_while(|line| *line != "metadata:").skip(1);
    metadata.take_while(|line| line.starts_with(' ')).find_map(|line| line.strip_prefix("  name: "))
}

#[cfg(test)]
mod tests {
    use super::split;

    #[test]
    fn each_printed_document_becomes_a_file_named_for_its_resource() {
        let printed =
            "---\nkind: A\nmetadata:\n  name: as.x.io\nspec: 1\n---\nkind: B\nmetadata:\n  name: bs.x.io\n";
        let files = split(printed).unwrap();
        let names: Vec<&str> = files.keys().map(String::as_str).collect();
        assert_eq!(names, ["as.x.io.yaml", "bs.x.io.yaml"]);
        assert_eq!(files["bs.x.io.yaml"], "kind: B\nmetadata:\n  name: bs.x.io\n");
    }

    #[test]
    fn printing_nothing_is_an_error_and_not_an_empty_folder() {
        assert!(split("").is_err());
    }
}
