//! Which connections there should be, by the names that were given and the addresses they have. Pure: resolving is
//! `resolve`'s, connecting `peer`'s.

use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;

/// A connection there should be.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct PeerId {
    /// As given in the options.
    pub name: String,
    /// Which of the name's addresses; none for a name that has only one, which may change between two connections.
    pub at: Option<SocketAddr>,
}

/// Names and what they resolved to last.
pub(super) type Addresses = BTreeMap<String, Vec<SocketAddr>>;

/// The connections there should be. A name with several addresses, as a headless Service has, means one for each: they
/// know nothing of each other. `connected` are those that stand now, and where; they are kept as long as their name is
/// wanted, because an address that DNS stopped to name may be one of many it names in turn.
// nsqd: one connection per name, whatever it resolves to.
pub(super) fn desired(
    names: &[String],
    addresses: &Addresses,
    connected: &BTreeMap<PeerId, SocketAddr>,
) -> BTreeSet<PeerId> {
    let mut peers = BTreeSet::new();
    for name in names {
        let Some(found) = addresses.get(name).map(|found| of_one_family(found)) else { continue };
        let standing = || connected.iter().filter(|(peer, _)| peer.name == *name);
        peers.extend(standing().map(|(peer, _)| peer.clone()));
        if found.len() > 1 {
            let is_reached = |address: &SocketAddr| standing().any(|(_, at)| at == address);
            let missing = found.into_iter().filter(|address| !is_reached(address));
            peers.extend(missing.map(|address| PeerId { name: name.clone(), at: Some(address) }));
        } else if standing().next().is_none() {
            peers.insert(PeerId { name: name.clone(), at: None });
        }
    }
    peers
}

/// A host has an address of each family: were both taken, it would be told of us twice. One of each is one host, and
/// stands for "try both".
fn of_one_family(found: &[SocketAddr]) -> BTreeSet<SocketAddr> {
    let of = |is_v4: bool| found.iter().copied().filter(move |address| address.is_ipv4() == is_v4);
    let (v4, v6): (BTreeSet<_>, BTreeSet<_>) = (of(true).collect(), of(false).collect());
    if v4.len() >= v6.len() { v4 } else { v6 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const V6: &str = "[fd00::1]:4160";

    fn at(address: &str) -> SocketAddr {
        let whole = if address.contains(':') { address.to_owned() } else { format!("10.0.0.{address}:4160") };
        whole.parse().unwrap()
    }

    /// `n` is the connection to whatever n has, `n@1` the one to 10.0.0.1.
    fn peer(text: &str) -> PeerId {
        match text.split_once('@') {
            Some((name, address)) => PeerId { name: name.to_owned(), at: Some(at(address)) },
            None => PeerId { name: text.to_owned(), at: None },
        }
    }

    /// `connected` are pairs of a connection and where it stands.
    fn check(addresses: &[&str], connected: &[(&str, &str)], expected: &[&str]) {
        let all = BTreeMap::from([("n".to_owned(), addresses.iter().map(|address| at(address)).collect())]);
        let connected = connected.iter().map(|(id, address)| (peer(id), at(address))).collect();
        let wanted: BTreeSet<_> = expected.iter().map(|text| peer(text)).collect();
        let found = desired(&["n".to_owned()], &all, &connected);
        assert_eq!(found, wanted, "{addresses:?} {connected:?}");
    }

    #[test]
    fn a_name_with_one_address_is_one_connection_that_stays_while_it_stands() {
        check(&["1"], &[], &["n"]);
        check(&["1", "1"], &[], &["n"]);
        check(&["1"], &[("n", "1")], &["n"]);
        check(&["2"], &[("n", "1")], &["n"]);
    }

    #[test]
    fn a_name_with_several_addresses_is_a_connection_to_each() {
        check(&["1", "2", "3"], &[], &["n@1", "n@2", "n@3"]);
        check(&["2", "3"], &[("n@2", "2")], &["n@2", "n@3"]);
    }

    #[test]
    fn what_stands_is_kept_when_addresses_come_and_go() {
        check(&["1", "2"], &[("n", "1")], &["n", "n@2"]);
        check(&["1"], &[("n", "1"), ("n@2", "2")], &["n", "n@2"]);
        check(&["1", "3"], &[("n@1", "1"), ("n@2", "2")], &["n@1", "n@2", "n@3"]);
        // What lost its connection and its address is not tried any more.
        check(&["1"], &[("n@1", "1")], &["n@1"]);
        check(&["3"], &[], &["n"]);
    }

    #[test]
    fn a_host_with_an_address_of_each_family_is_one_host() {
        check(&["1", V6], &[], &["n"]);
        check(&[V6], &[], &["n"]);
        check(&["1", "2", V6, "[fd00::2]:4160"], &[], &["n@1", "n@2"]);
        check(&[V6, "[fd00::2]:4160"], &[], &["n@[fd00::1]:4160", "n@[fd00::2]:4160"]);
    }

    #[test]
    fn a_name_that_was_never_resolved_or_is_not_wanted_any_more_has_no_connection() {
        let connected = BTreeMap::from([(peer("old"), at("1")), (peer("old@2"), at("2"))]);
        let addresses = BTreeMap::from([("old".to_owned(), vec![at("1")])]);
        assert_eq!(desired(&["new".to_owned()], &addresses, &connected), BTreeSet::new());
        assert_eq!(desired(&[], &addresses, &connected), BTreeSet::new());
    }
}
