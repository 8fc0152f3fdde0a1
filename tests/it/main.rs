//! The whole system under test: one binary, real daemons on loopback. Modules in reading order: first what keeps the
//! sources as they should be, then a message's life over the wire, then HTTP and discovery, then what survives a
//! crash, last the clients that others wrote.

#[cfg(test)]
mod tidy;

#[cfg(test)]
mod compose;
#[cfg(test)]
mod options;
#[cfg(test)]
mod startup;

#[cfg(test)]
mod publish;
#[cfg(test)]
mod subscribe;
#[cfg(test)]
mod topology;

#[cfg(test)]
mod requeue;
#[cfg(test)]
mod timeouts;

#[cfg(test)]
mod deferred;
#[cfg(test)]
mod flow_control;
#[cfg(test)]
mod pause;

#[cfg(test)]
mod ephemeral;
#[cfg(test)]
mod identify;

#[cfg(test)]
mod corpus;

#[cfg(test)]
mod floods;
#[cfg(test)]
mod layers;

#[cfg(test)]
mod http_api;
#[cfg(test)]
mod lookup;
#[cfg(test)]
mod lookup_peers;
#[cfg(test)]
mod metrics;
#[cfg(test)]
mod routes;
#[cfg(test)]
mod stats;
#[cfg(test)]
mod third_parties;
#[cfg(test)]
mod traces;

#[cfg(test)]
mod access;
#[cfg(test)]
mod auth;
#[cfg(test)]
mod control;
#[cfg(test)]
mod creation;
#[cfg(test)]
mod durability;
#[cfg(test)]
mod https;
#[cfg(test)]
mod levels;
#[cfg(test)]
mod limits;
#[cfg(test)]
mod memory;
#[cfg(test)]
mod slow_clients;
#[cfg(test)]
mod stock;

#[cfg(test)]
mod bench;
#[cfg(test)]
mod interop;

#[cfg(test)]
mod go_clients;
#[cfg(test)]
mod python_clients;
