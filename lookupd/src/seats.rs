//! How many connections there may be, in all and from one address. What is said on them is `session`'s.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use rustix::process::{Resource, getrlimit, setrlimit};

/// Files and HTTP connections need descriptors too.
const DESCRIPTORS_KEPT: usize = 256;

/// The connections there are; clones share one count.
#[derive(Debug, Clone)]
pub(crate) struct Seats {
    max: usize,
    max_per_ip: usize,
    taken: Arc<Mutex<HashMap<IpAddr, usize>>>,
}

impl Seats {
    /// For `max` connections, or as many as the limit of open files leaves if it is 0; `max_per_ip` of one address,
    /// or any number.
    pub(crate) fn new(max: usize, max_per_ip: usize) -> Self {
        let max = if max == 0 { descriptors_left() } else { max };
        Self { max, max_per_ip: if max_per_ip == 0 { max } else { max_per_ip }, taken: Arc::default() }
    }

    /// A place for a connection from there.
    ///
    /// # Errors
    /// There is none; the text names the flag.
    pub(crate) fn take(&self, ip: IpAddr) -> Result<Seat, String> {
        let mut taken = self.lock();
        if taken.values().sum::<usize>() >= self.max {
            return Err(format!("--max-connections={} are there", self.max));
        }
        let from_there = taken.entry(ip).or_insert(0);
        if *from_there >= self.max_per_ip {
            return Err(format!("--max-connections-per-ip={} are there", self.max_per_ip));
        }
        *from_there += 1;
        Ok(Seat { seats: self.clone(), ip })
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One connection's place, given back when it is dropped.
#[derive(Debug)]
pub(crate) struct Seat {
    seats: Seats,
    ip: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut taken = self.seats.lock();
        if let Some(count) = taken.get_mut(&self.ip) {
            *count -= 1;
        }
        taken.retain(|_, count| *count > 0);
    }
}

/// Go programs take all the file descriptors they may have, and so do we.
fn descriptors_left() -> usize {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "cannot raise the limit of open files");
    }
    let files = getrlimit(Resource::Nofile).current.and_then(|files| usize::try_from(files).ok());
    files.map_or(usize::MAX, |files| files.saturating_sub(DESCRIPTORS_KEPT).max(files / 2))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn seats_are_limited_by_address_and_in_all_and_given_back() {
        let seats = Seats::new(3, 2);
        let (one, other) = (IpAddr::from([10, 0, 0, 1]), IpAddr::from([10, 0, 0, 2]));
        let first = seats.take(one).unwrap();
        let _second = seats.take(one).unwrap();
        assert_eq!(seats.take(one).unwrap_err(), "--max-connections-per-ip=2 are there");
        let _third = seats.take(other).unwrap();
        assert_eq!(seats.take(other).unwrap_err(), "--max-connections=3 are there");
        drop(first);
        assert!(seats.take(other).is_ok());
        assert_eq!(seats.lock().len(), 2);
    }

    #[test]
    fn without_a_limit_open_files_are_the_limit() {
        let seats = Seats::new(0, 0);
        assert!(seats.max > 0 && seats.max_per_ip == seats.max);
    }
}
