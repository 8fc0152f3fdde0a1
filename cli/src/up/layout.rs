//! Where everything is: names of the children, their ports, folders, logs and arguments. Values only: nothing
//! here touches the disk or a socket.

use std::fmt;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};

use operator::plan::{BrokerPlan, ClusterPlan, LookupdPlan};

use crate::args::Ports;

/// Stable ports of broker i and broker i+1 are this far apart; 4152+100i stays free for HTTPS.
const PORT_STEP: u32 = 100;
/// nsqd 50 would leave the registered range people expect (4150 to 9161) and 50 local brokers are plenty.
pub(crate) const STABLE_BROKERS_MAX: u32 = 50;

/// Which daemon a child is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Role {
    Nsqlookupd,
    Nsqd,
}

/// A child as people read it: `nsqd 0`. nsqlookupds sort before brokers, as they start and are listed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct Name {
    pub(crate) role: Role,
    pub(crate) ordinal: u32,
}

impl Name {
    /// The child that runs broker `ordinal` of the plan.
    pub(crate) fn nsqd(ordinal: u32) -> Self {
        Self { role: Role::Nsqd, ordinal }
    }

    /// The child that runs nsqlookupd `ordinal` of the plan.
    pub(crate) fn nsqlookupd(ordinal: u32) -> Self {
        Self { role: Role::Nsqlookupd, ordinal }
    }

    /// Every child that `plan` declares, nsqlookupds first.
    pub(crate) fn declared(plan: &ClusterPlan) -> Vec<Self> {
        let lookupds = plan.lookupds.iter().map(|lookupd| Self::nsqlookupd(lookupd.ordinal));
        lookupds.chain(plan.brokers.iter().map(|broker| Self::nsqd(broker.ordinal))).collect()
    }
}

impl fmt::Display for Name {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let role = match self.role {
            Role::Nsqlookupd => "nsqlookupd",
            Role::Nsqd => "nsqd",
        };
        write!(f, "{role} {}", self.ordinal)
    }
}

/// The two listening addresses of a child. Port 0: the child chooses.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Addresses {
    pub(crate) tcp: SocketAddr,
    pub(crate) http: SocketAddr,
}

/// Where the children of one `nsq up` live.
#[derive(Debug, Clone)]
pub(crate) struct Layout {
    pub(crate) data_dir: PathBuf,
    pub(crate) ports: Ports,
}

impl Layout {
    /// The addresses `name` is told to listen on.
    pub(crate) fn addresses(&self, name: Name) -> Addresses {
        let base = match name.role {
            Role::Nsqd => 4150_u32,
            Role::Nsqlookupd => 4160,
        };
        let port = |offset: u32| match self.ports {
            Ports::Auto => 0,
            // The plan is refused before this when a port would not fit (`declared_cluster`).
            Ports::Stable => u16::try_from(base + offset + PORT_STEP * name.ordinal).unwrap_or(0),
        };
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        Addresses { tcp: at(port(0)), http: at(port(1)) }
    }

    /// All data of the cluster: one folder per broker.
    pub(crate) fn cluster_folder(&self, cluster: &str) -> PathBuf {
        self.data_dir.join(cluster)
    }

    /// The messages of broker `ordinal`.
    pub(crate) fn broker_folder(&self, cluster: &str, ordinal: u32) -> PathBuf {
        self.cluster_folder(cluster).join(format!("broker-{ordinal}"))
    }

    /// The folder of all logs.
    pub(crate) fn log_folder(&self) -> PathBuf {
        self.data_dir.join("logs")
    }

    /// What `name` has said so far, over all its starts.
    pub(crate) fn log_file(&self, name: Name) -> PathBuf {
        self.log_folder().join(name.to_string().replace(' ', "-") + ".log")
    }

    /// The file whose lock says that an `nsq up` uses the data folder; it holds the process id.
    pub(crate) fn lock_file(&self) -> PathBuf {
        self.data_dir.join("nsq-up.lock")
    }

    /// How to start nsqlookupd `plan`.
    pub(crate) fn lookupd_launch(&self, plan: &LookupdPlan) -> Launch {
        let name = Name::nsqlookupd(plan.ordinal);
        let mut flags = vec!["--broadcast-address=127.0.0.1".to_owned()];
        flags.extend(plan.flags.iter().map(flag));
        Launch { name, addresses: self.addresses(name), flags }
    }

    /// How to start broker `plan`, which registers with every nsqlookupd of `lookupds`.
    pub(crate) fn broker_launch(&self, cluster: &str, plan: &BrokerPlan, lookupds: &[SocketAddr]) -> Launch {
        let name = Name::nsqd(plan.ordinal);
        let folder = self.broker_folder(cluster, plan.ordinal);
        let mut flags = vec![
            format!("--data-path={}", folder.display()),
            format!("--node-id={}", plan.node_id),
            "--broadcast-address=127.0.0.1".to_owned(),
        ];
        flags.extend(lookupds.iter().map(|address| format!("--lookupd-tcp-address={address}")));
        flags.extend(plan.flags.iter().map(flag));
        Launch { name, addresses: self.addresses(name), flags }
    }
}

/// Everything that decides how a child runs: two equal values need no restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Launch {
    pub(crate) name: Name,
    pub(crate) addresses: Addresses,
    pub(crate) flags: Vec<String>,
}

impl Launch {
    /// The flags of one start. `kept`: the ports it chose at an earlier start of this run.
    pub(crate) fn arguments(&self, kept: Option<Addresses>) -> Vec<String> {
        let Addresses { tcp, http } = kept.unwrap_or(self.addresses);
        let mut arguments = vec![format!("--tcp-address={tcp}"), format!("--http-address={http}")];
        arguments.extend(self.flags.iter().cloned());
        arguments
    }
}

/// Ordinals of brokers whose data are in the cluster's folder though the plan has no such broker. `entries`
/// are the names in that folder.
pub(crate) fn undeclared_brokers<'a>(
    plan: &ClusterPlan,
    entries: impl Iterator<Item = &'a Path>,
) -> Vec<u32> {
    let ordinal = |entry: &Path| entry.file_name()?.to_str()?.strip_prefix("broker-")?.parse().ok();
    let mut found: Vec<u32> = entries.filter_map(ordinal).collect();
    found.retain(|ordinal| plan.brokers.iter().all(|broker| broker.ordinal != *ordinal));
    found.sort_unstable();
    found
}

fn flag((name, value): &(String, String)) -> String {
    format!("--{name}={value}")
}

#[cfg(test)]
mod tests;
