//! How near a consumer is to its broker, and deliveries counted by it. Who is served first is channel/dispatch.rs's.

/// How near a consumer is. The nearer ones are served first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Locality {
    /// In the broker's zone.
    Zone,
    /// In its region, but in another zone.
    Region,
    /// Elsewhere, or nobody knows where.
    Elsewhere,
}

impl Locality {
    /// From the zone and the region of the broker and of the consumer. Empty is nowhere.
    // nsqd: two empty names are equal, so without any of them everything counts as local.
    #[must_use]
    pub fn between(broker: (&str, &str), consumer: (&str, &str)) -> Self {
        let is_same = |ours: &str, theirs: &str| !ours.is_empty() && ours == theirs;
        if is_same(broker.0, consumer.0) {
            Self::Zone
        } else if is_same(broker.1, consumer.1) {
            Self::Region
        } else {
            Self::Elsewhere
        }
    }
}

/// Deliveries since the start, redeliveries included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LocalityCounts {
    /// To consumers of the broker's zone.
    pub zone: u64,
    /// To consumers of its region.
    pub region: u64,
    /// To all others; to everybody as long as nobody asks who is near.
    pub global: u64,
}

impl LocalityCounts {
    #[inline]
    pub(crate) fn count(&mut self, locality: Option<Locality>) {
        match locality {
            None | Some(Locality::Elsewhere) => self.global += 1,
            Some(Locality::Zone) => self.zone += 1,
            Some(Locality::Region) => self.region += 1,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_zone_is_nearer_than_a_region_and_no_name_is_near_nothing() {
        let broker = ("z1", "r1");
        for (consumer, expected) in [
            (("z1", "r1"), Locality::Zone),
            (("z1", ""), Locality::Zone),
            (("z2", "r1"), Locality::Region),
            (("", "r1"), Locality::Region),
            (("z2", "r2"), Locality::Elsewhere),
            (("", ""), Locality::Elsewhere),
        ] {
            assert_eq!(Locality::between(broker, consumer), expected, "{consumer:?}");
        }
        assert_eq!(Locality::between(("", ""), ("", "")), Locality::Elsewhere);
    }
}
