//! Names of topics and channels: one rule for both, checked once when a name is made.
//! Which topics exist, and who may use them, is not decided here.

use std::borrow::Borrow;
use std::fmt;
use std::sync::Arc;

use crate::text;

/// Ends the name of what lives in memory only and is deleted with its last user.
const EPHEMERAL: &[u8] = b"#ephemeral";

/// Longest name in bytes, `#ephemeral` included.
const NAME_BYTES_MAX: usize = 64;

/// Whether `name` may name a topic or a channel: 1 to 64 bytes of `[.a-zA-Z0-9_-]`, `#ephemeral` allowed at
/// the end.
pub fn is_valid_name(name: &[u8]) -> bool {
    if name.len() > NAME_BYTES_MAX {
        return false;
    }
    let stem = name.strip_suffix(EPHEMERAL).unwrap_or(name);
    !stem.is_empty() && stem.iter().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'.' | b'_' | b'-'))
}

/// Declares one kind of name, so that a channel's name is never taken for a topic's.
macro_rules! name_type {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Takes a name as it came from a command or a URL.
            ///
            /// # Errors
            /// The name breaks the rule of [`is_valid_name`].
            pub fn new(name: &str) -> Result<Self, InvalidName> {
                if is_valid_name(name.as_bytes()) {
                    return Ok(Self(name.into()));
                }
                Err(InvalidName { name: name.into() })
            }

            /// The name as it stands on the wire.
            pub fn as_str(&self) -> &str {
                &self.0
            }

            /// Whether it ends in `#ephemeral`: kept in memory only, gone with its last user.
            pub fn is_ephemeral(&self) -> bool {
                self.0.as_bytes().ends_with(EPHEMERAL)
            }
        }

        impl AsRef<str> for $name {
            fn as_ref(&self) -> &str {
                &self.0
            }
        }

        // Maps keyed by names are looked up with the `&str` of a command, without making a name of it.
        impl Borrow<str> for $name {
            fn borrow(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Debug::fmt(&self.0, f)
            }
        }
    };
}

name_type! {
    /// A topic's name, valid by construction; cloning shares it.
    TopicName
}
name_type! {
    /// A channel's name, valid by construction; cloning shares it.
    ChannelName
}

/// A text that cannot name a topic or a channel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct InvalidName {
    /// What was given.
    pub name: String,
}

impl fmt::Display for InvalidName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = text::quote(self.name.as_bytes());
        write!(
            f,
            "{name} is not a valid name: use 1 to {NAME_BYTES_MAX} of the characters a-z A-Z 0-9 . _ -"
        )?;
        f.write_str(", with #ephemeral at the end if it is to live in memory only")
    }
}

impl std::error::Error for InvalidName {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_rule_of_nsqd() {
        let long = "a".repeat(64);
        let too_long = "a".repeat(65);
        let long_ephemeral = format!("{}#ephemeral", "a".repeat(54));
        let too_long_ephemeral = format!("{}#ephemeral", "a".repeat(55));
        let cases: &[(&str, bool)] = &[
            ("a", true),
            ("Orders.eu-west_1", true),
            ("a#ephemeral", true),
            (&long, true),
            (&long_ephemeral, true),
            ("", false),
            ("#ephemeral", false),
            ("a#ephemeral#ephemeral", false),
            ("a#Ephemeral", false),
            ("a#", false),
            ("a$b", false),
            ("a b", false),
            ("a\n", false),
            ("\u{e4}", false),
            (&too_long, false),
            (&too_long_ephemeral, false),
        ];
        for (name, valid) in cases {
            assert_eq!(is_valid_name(name.as_bytes()), *valid, "{name:?}");
            assert_eq!(TopicName::new(name).is_ok(), *valid, "{name:?}");
            assert_eq!(ChannelName::new(name).is_ok(), *valid, "{name:?}");
        }
    }

    #[test]
    fn suffix_decides_what_is_ephemeral() {
        assert!(TopicName::new("t#ephemeral").unwrap().is_ephemeral());
        assert!(!ChannelName::new("ephemeral").unwrap().is_ephemeral());
    }

    #[test]
    fn map_keyed_by_names_is_searched_by_text() {
        let map = std::collections::HashMap::from([(TopicName::new("t").unwrap(), 1)]);
        assert_eq!(map.get("t"), Some(&1));
        assert_eq!(map.get("u"), None);
    }

    #[test]
    fn invalid_name_says_what_is_allowed() {
        let text = TopicName::new("a\"b").unwrap_err().to_string();
        assert!(text.starts_with(r#""a\"b" is not a valid name: use 1 to 64"#), "{text}");
    }
}
