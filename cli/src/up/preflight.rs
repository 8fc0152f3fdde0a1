//! What is checked before anything starts: the data folder can be written, is ours alone, and the ports are
//! free. A failure here leaves nothing running.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Write};
use std::net::TcpListener;

use operator::plan::ClusterPlan;

use super::failure::{BusyPort, Failure};
use super::layout::{Layout, Name};
use crate::args::Ports;

/// Makes the folders and takes the data folder for this process until the file is dropped.
pub(crate) fn take_data_folder(layout: &Layout) -> Result<File, Failure> {
    let refused = |source| Failure::DataFolder { path: layout.data_dir.clone(), source };
    std::fs::create_dir_all(layout.log_folder()).map_err(refused)?;
    let path = layout.lock_file();
    // Not truncated on opening: if another process has it, the text is that process's id.
    let open = OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path);
    let mut file = open.map_err(refused)?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let pid = std::fs::read_to_string(&path).ok().map(|text| text.trim().to_owned());
            let pid = pid.filter(|pid| !pid.is_empty());
            return Err(Failure::Locked { path: layout.data_dir.clone(), pid });
        }
        Err(TryLockError::Error(source)) => return Err(refused(source)),
    }
    let mine = format!("{}\n", std::process::id());
    file.set_len(0).and_then(|()| file.write_all(mine.as_bytes())).map_err(refused)?;
    Ok(file)
}

/// Makes the folder of every declared broker: like Go nsqd, ours wants its data path to exist.
pub(crate) fn make_broker_folders(layout: &Layout, plan: &ClusterPlan) -> Result<(), Failure> {
    for broker in &plan.brokers {
        let path = layout.broker_folder(&plan.name, broker.ordinal);
        std::fs::create_dir_all(&path).map_err(|source| Failure::DataFolder { path, source })?;
    }
    Ok(())
}

/// Binds every port for a moment. Another process may still take one before the child does; then the child's
/// own message tells.
pub(crate) fn check_ports(layout: &Layout, plan: &ClusterPlan) -> Result<(), Failure> {
    if layout.ports == Ports::Auto {
        return Ok(());
    }
    let mut busy = Vec::new();
    for name in Name::declared(plan) {
        let addresses = layout.addresses(name);
        for (what, address) in [("tcp", addresses.tcp), ("http", addresses.http)] {
            if let Err(source) = TcpListener::bind(address) {
                busy.push(BusyPort { address, what, name, source });
            }
        }
    }
    if busy.is_empty() { Ok(()) } else { Err(Failure::Ports(busy)) }
}

/// Brokers that left data here earlier and are not in the plan.
pub(crate) fn undeclared_brokers(layout: &Layout, plan: &ClusterPlan) -> io::Result<Vec<u32>> {
    let mut names = Vec::new();
    for entry in std::fs::read_dir(layout.cluster_folder(&plan.name))? {
        names.push(std::path::PathBuf::from(entry?.file_name()));
    }
    Ok(super::layout::undeclared_brokers(plan, names.iter().map(std::path::PathBuf::as_path)))
}
