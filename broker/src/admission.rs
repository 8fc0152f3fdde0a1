//! How many connections there may be, in all and from one address. Who is let in holds a place until the
//! connection ends.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Of the files a process may have open this part is not for connections: topics have files too.
const RESERVED_PART: u64 = 4;

/// The doorkeeper of one broker.
#[derive(Debug)]
pub(crate) struct Admission {
    max: usize,
    /// 0: any number.
    max_per_ip: usize,
    open: AtomicUsize,
    by_ip: Mutex<HashMap<IpAddr, usize>>,
    refused: AtomicU64,
}

/// A place that was taken. Dropping it gives it back.
#[derive(Debug)]
pub(crate) struct Admitted {
    admission: Arc<Admission>,
    ip: Option<IpAddr>,
}

/// Why a connection is not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Refused {
    /// There are as many as there may be.
    Full,
    /// There are as many from this address as there may be.
    FullForIp,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Full => "as many connections are open as --max-connections allows",
            Self::FullForIp => {
                "as many connections are open from this address as --max-connections-per-ip allows"
            }
        })
    }
}

impl Admission {
    /// With the limits of the options; 0 as `max` means what `files`, the limit of open files, leaves.
    pub(crate) fn new(max: usize, max_per_ip: usize, files: Option<u64>) -> Arc<Self> {
        let left = files
            .map_or(usize::MAX, |files| usize::try_from(files - files / RESERVED_PART).unwrap_or(usize::MAX));
        Arc::new(Self {
            max: if max == 0 { left } else { max },
            max_per_ip,
            open: AtomicUsize::new(0),
            by_ip: Mutex::default(),
            refused: AtomicU64::new(0),
        })
    }

    /// Let a connection in, if there is a place.
    pub(crate) fn admit(self: &Arc<Self>, ip: Option<IpAddr>) -> Result<Admitted, Refused> {
        let taken = self.take(ip);
        if taken.is_err() {
            self.refused.fetch_add(1, Ordering::Relaxed);
        }
        taken
    }

    /// Connections that are open now.
    pub(crate) fn open(&self) -> usize {
        self.open.load(Ordering::Relaxed)
    }

    /// Connections refused since the start.
    pub(crate) fn refused(&self) -> u64 {
        self.refused.load(Ordering::Relaxed)
    }

    fn take(self: &Arc<Self>, ip: Option<IpAddr>) -> Result<Admitted, Refused> {
        let ip = ip.filter(|_| self.max_per_ip > 0);
        // Only one thread admits, so nobody else takes the last place meanwhile.
        if self.open() >= self.max {
            return Err(Refused::Full);
        }
        if let Some(ip) = ip {
            let mut by_ip = self.by_ip();
            let count = by_ip.entry(ip).or_default();
            if *count >= self.max_per_ip {
                return Err(Refused::FullForIp);
            }
            *count += 1;
        }
        self.open.fetch_add(1, Ordering::Relaxed);
        Ok(Admitted { admission: Arc::clone(self), ip })
    }

    fn by_ip(&self) -> MutexGuard<'_, HashMap<IpAddr, usize>> {
        self.by_ip.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Admitted {
    fn drop(&mut self) {
        self.admission.open.fetch_sub(1, Ordering::Relaxed);
        let Some(ip) = self.ip else { return };
        let mut by_ip = self.admission.by_ip();
        if let Some(count) = by_ip.get_mut(&ip) {
            *count -= 1;
            if *count == 0 {
                by_ip.remove(&ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> Option<IpAddr> {
        Some(IpAddr::from([10, 0, 0, last]))
    }

    #[test]
    fn a_place_is_free_again_when_its_connection_ends() {
        let admission = Admission::new(2, 0, None);
        let (first, _second) = (admission.admit(ip(1)).unwrap(), admission.admit(None).unwrap());
        assert_eq!(admission.admit(ip(2)).unwrap_err(), Refused::Full);
        drop(first);
        assert!(admission.admit(ip(2)).is_ok());
        assert_eq!((admission.open(), admission.refused()), (1, 1));
    }

    #[test]
    fn one_address_does_not_take_the_places_of_others() {
        let admission = Admission::new(10, 1, None);
        let first = admission.admit(ip(1)).unwrap();
        assert_eq!(admission.admit(ip(1)).unwrap_err(), Refused::FullForIp);
        let _others =
            (admission.admit(ip(2)).unwrap(), admission.admit(None).unwrap(), admission.admit(None).unwrap());
        drop(first);
        let _again = admission.admit(ip(1)).unwrap();
        assert_eq!(admission.by_ip().len(), 2);
    }

    #[test]
    fn without_a_limit_a_quarter_of_the_files_is_left_for_messages() {
        assert_eq!(Admission::new(0, 0, Some(1024)).max, 768);
        assert_eq!(Admission::new(5000, 0, Some(1024)).max, 5000, "what is asked for is done");
        assert_eq!(Admission::new(0, 0, None).max, usize::MAX);
    }
}
