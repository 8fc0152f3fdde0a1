//! What this machine calls itself. Whether others can reach it by that name is not known here.

/// The host's name, the default of every `--broadcast-address`; in a container the pod's name.
pub fn hostname() -> String {
    rustix::system::uname().nodename().to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn machine_has_a_name() {
        assert!(!hostname().is_empty());
    }
}
