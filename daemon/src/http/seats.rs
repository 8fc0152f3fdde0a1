//! How many connections one address may have to an HTTP listener: a single host must not keep probes out.

use std::collections::BTreeMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// A quarter of what a listener serves.
const PER_IP_MAX: usize = 1024;

/// The connections there are from each address.
#[derive(Debug, Clone, Default)]
pub(super) struct Seats(Arc<Mutex<BTreeMap<IpAddr, usize>>>);

/// A connection's place, given back when it ends.
#[derive(Debug)]
pub(super) struct Seat {
    seats: Seats,
    ip: Option<IpAddr>,
}

impl Seats {
    /// A place for a connection from there, if there is one; always for what has no address.
    pub(super) fn take(&self, ip: Option<IpAddr>) -> Option<Seat> {
        if let Some(ip) = ip {
            let mut taken = self.lock();
            let count = taken.entry(ip).or_default();
            if *count >= PER_IP_MAX {
                return None;
            }
            *count += 1;
        }
        Some(Seat { seats: self.clone(), ip })
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<IpAddr, usize>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let Some(ip) = self.ip else { return };
        let mut taken = self.seats.lock();
        let Some(count) = taken.get_mut(&ip) else { return };
        *count -= 1;
        if *count == 0 {
            taken.remove(&ip);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_address_cannot_take_the_places_of_others() {
        let seats = Seats::default();
        let (one, other) = (Some(IpAddr::from([10, 0, 0, 1])), Some(IpAddr::from([10, 0, 0, 2])));
        let mut taken: Vec<_> = (0..PER_IP_MAX).map(|_| seats.take(one).unwrap()).collect();
        assert!(seats.take(one).is_none());
        assert!(seats.take(other).is_some() && seats.take(None).is_some());
        taken.pop();
        assert!(seats.take(one).is_some(), "a place is free again");
        drop(taken);
        assert!(seats.lock().is_empty());
    }
}
