//! Durability levels: what the OK to a publish means. A topic has its own level, or the broker's default.

/// What has happened to a message by the time its publish is answered.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Durability {
    /// It was accepted. Nothing is ever synced for it: a power cut may take anything of the topic. nsqd's own level.
    Memory,
    /// The kernel has it: it survives a killed process. It is synced at most 200 ms later.
    Buffered,
    /// It is synced: it survives a power cut. Publishes that come together share one sync.
    Fsync,
}

impl Durability {
    /// The level of that name, in lower case.
    pub(crate) fn from_name(name: &str) -> Option<Self> {
        [Self::Memory, Self::Buffered, Self::Fsync].into_iter().find(|level| level.name() == name)
    }

    /// As people write it.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Buffered => "buffered",
            Self::Fsync => "fsync",
        }
    }

    /// As the journal stores it.
    pub(crate) fn to_byte(self) -> u8 {
        match self {
            Self::Memory => 1,
            Self::Buffered => 2,
            Self::Fsync => 3,
        }
    }

    /// What the journal stored; none for "the default", or for a level of a later version.
    pub(crate) fn from_byte(byte: u8) -> Option<Self> {
        [Self::Memory, Self::Buffered, Self::Fsync].into_iter().find(|level| level.to_byte() == byte)
    }
}

#[cfg(test)]
mod tests {
    use super::Durability;

    #[test]
    fn every_level_is_read_back_from_its_name_and_from_its_byte() {
        for level in [Durability::Memory, Durability::Buffered, Durability::Fsync] {
            assert_eq!(Durability::from_name(level.name()), Some(level));
            assert_eq!(Durability::from_byte(level.to_byte()), Some(level));
        }
        assert_eq!(Durability::from_name("Fsync"), None);
        assert_eq!(Durability::from_byte(0), None, "0 is the default of the broker");
    }
}
