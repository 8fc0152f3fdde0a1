//! Which version we say we are: to people, to scripts that match Go nsqd's line, and to clients that compare
//! numbers.

/// The release of NSQ whose behaviour this is; clients and nsqadmin compare this part.
pub const NSQ_VERSION: &str = "1.3.0";

/// What goes over the wire: NSQ's version with ours as semver build metadata, which comparisons ignore.
pub const VERSION: &str = concat!("1.3.0+nsqube.", env!("CARGO_PKG_VERSION"));

/// The one line `--version` prints. Its head keeps the form `nsqd vX.Y.Z (built w/WORD)` that scripts match.
pub fn version_line(binary: &str) -> String {
    format!("{binary} v{NSQ_VERSION} (built w/{BUILT_WITH}) nsqube.{}", env!("CARGO_PKG_VERSION"))
}

// The toolchain is pinned to the first patch release of the version the manifest requires.
const BUILT_WITH: &str = concat!("rust", env!("CARGO_PKG_RUST_VERSION"), ".0");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn line_keeps_the_form_scripts_match() {
        let line = version_line("nsqd");
        let head = format!("nsqd v{NSQ_VERSION} (built w/rust");
        let word = line.strip_prefix(&head).and_then(|rest| rest.split_once(')')).expect("closed bracket").0;
        assert_eq!(word.split('.').count(), 3, "{line}");
        assert!(!line.contains('\n'));
    }

    #[test]
    fn wire_version_starts_with_the_nsq_release() {
        assert!(VERSION.starts_with(&format!("{NSQ_VERSION}+nsqube.")), "{VERSION}");
    }
}
