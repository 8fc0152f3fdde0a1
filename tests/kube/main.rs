//! The operator on a real Kubernetes API (lane A of docs/kubernetes-tests.md): what it makes of resources, and that it
//! leaves alone what is as it should be. Pods are real nsqds and nsqlookupds on loopback addresses; containers are lane
//! B's.

#[cfg(test)]
mod charts;
#[cfg(test)]
mod cluster;
#[cfg(test)]
mod gitops;
#[cfg(test)]
mod kills;
#[cfg(test)]
mod many;
#[cfg(test)]
mod scale;
#[cfg(test)]
mod stage;
#[cfg(test)]
mod topics;
#[cfg(test)]
mod traces;
