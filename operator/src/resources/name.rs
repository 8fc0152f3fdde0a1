//! What NSQ takes as the name of a topic or a channel, for resources: as on the wire, but never `#ephemeral`,
//! because what is declared stays and what is ephemeral goes with its last consumer.

/// Characters a name may have at most.
pub const LENGTH_MAX: usize = 64;

/// The rule as CEL, on a string.
pub(crate) const CEL_RULE: &str = "self.matches('^[.a-zA-Z0-9_-]{1,64}$')";

/// What the rule says when it fails.
pub(crate) const RULE: &str = "an NSQ name has 1 to 64 characters out of A-Z a-z 0-9 . _ - (no #ephemeral)";

/// Whether a topic or channel of this name can be declared.
pub fn is_legal(name: &str) -> bool {
    let is_legal_byte = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    (1..=LENGTH_MAX).contains(&name.len()) && name.bytes().all(is_legal_byte)
}

/// What to write instead of an illegal `name`.
pub(crate) fn hint(name: &str) -> String {
    match name.strip_suffix("#ephemeral") {
        Some(stem) if is_legal(stem) => {
            format!(
                "ephemeral topics and channels cannot be declared: write {stem:?}, or let clients create it"
            )
        }
        _ => RULE.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use super::{hint, is_legal};

    #[test]
    fn names_are_those_of_nsq_without_the_ephemeral_ones() {
        let longest = "a".repeat(64);
        for name in ["a", "Orders.created", "_-.9", longest.as_str()] {
            assert!(is_legal(name), "{name}");
        }
        let too_long = "a".repeat(65);
        for name in ["", "a b", "orders#ephemeral", "a/b", "\u{e9}", too_long.as_str()] {
            assert!(!is_legal(name), "{name}");
        }
    }

    #[test]
    fn ephemeral_names_get_a_hint_of_their_own() {
        assert!(hint("orders#ephemeral").contains("write \"orders\""));
        assert!(!hint("or ders").contains("ephemeral topics"));
    }
}
