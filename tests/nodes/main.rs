//! The whole product on a Kubernetes with nodes: installed by Helm, images from this checkout, go-nsq inside the cluster,
//! and what happens to nodes, disks and processes. `cargo xtask kube test` makes the cluster; any other one does, too
//! (docs/kubernetes-tests.md).

#[cfg(test)]
mod disks;
#[cfg(test)]
mod faults;
#[cfg(test)]
mod flow;
#[cfg(test)]
mod place;
#[cfg(test)]
mod traffic;
#[cfg(test)]
mod upgrade;
