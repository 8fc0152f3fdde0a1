//! From files to the one cluster that `nsq up` runs. What the resources mean is crate `operator`'s matter.

use std::path::PathBuf;

use operator::Declaration;
use operator::plan::ClusterPlan;

use super::failure::Failure;
use super::layout::STABLE_BROKERS_MAX;
use crate::args::Ports;

/// The files as read: name and text of each.
pub(crate) type Texts = Vec<(String, String)>;

/// Reads all files, or says which one cannot be read.
pub(crate) fn read(files: &[PathBuf]) -> Result<Texts, Failure> {
    let text = |file: &PathBuf| match std::fs::read_to_string(file) {
        Ok(text) => Ok((file.display().to_string(), text)),
        Err(source) => Err(Failure::Unreadable { file: file.clone(), source }),
    };
    files.iter().map(text).collect()
}

/// The cluster that the files declare, if this machine can run it.
pub(crate) fn cluster(texts: &[(String, String)], ports: Ports) -> Result<ClusterPlan, Failure> {
    let declaration = Declaration::read(texts)
        .map_err(|problems| Failure::Declaration(problems.iter().map(ToString::to_string).collect()))?;
    let clusters = operator::plan(&declaration).clusters;
    let [cluster] = clusters.as_slice() else {
        return Err(Failure::Clusters(clusters.iter().map(|cluster| cluster.id().to_string()).collect()));
    };
    if ports == Ports::Stable && cluster.brokers.len() > STABLE_BROKERS_MAX as usize {
        return Err(Failure::TooManyBrokers(cluster.brokers.len()));
    }
    Ok(cluster.clone())
}
