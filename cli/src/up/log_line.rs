//! What a child's log line says: where it listens, how grave it is. Text in, values out.

use std::net::SocketAddr;

/// Where a child says it listens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Listening {
    Tcp(SocketAddr),
    Http(SocketAddr),
}

/// The address in `... INFO: TCP: listening on 127.0.0.1:4150`, if it is such a line.
pub(crate) fn listening(line: &str) -> Option<Listening> {
    let (_, text) = line.split_once(" INFO: ")?;
    let address = |rest: &str| rest.split_whitespace().next()?.parse().ok();
    // `HTTPS: listening on` starts with neither prefix.
    if let Some(rest) = text.strip_prefix("TCP: listening on ") {
        return address(rest).map(Listening::Tcp);
    }
    address(text.strip_prefix("HTTP: listening on ")?).map(Listening::Http)
}

/// Whether people asking for more (`--verbose`) want to see the line: WARNING and above, and whatever is no
/// log line at all, such as the message of a panic.
pub(crate) fn is_grave(line: &str) -> bool {
    // `[nsqd] 2026/11/22 08:59:54.739271 INFO: text`: the level is the first word that ends in a colon.
    let level = line.split_whitespace().find_map(|word| word.strip_suffix(':'));
    !matches!(level, Some("DEBUG" | "INFO"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn listening_lines_give_the_real_port() {
        let tcp = "[nsqd] 2026/11/22 08:59:54.739271 INFO: TCP: listening on 127.0.0.1:39001";
        assert_eq!(listening(tcp), Some(Listening::Tcp("127.0.0.1:39001".parse().unwrap())));
        let http = "[nsqd] 2026/11/22 08:59:54.739271 INFO: HTTP: listening on 127.0.0.1:39002 tls=false";
        assert_eq!(listening(http), Some(Listening::Http("127.0.0.1:39002".parse().unwrap())));
    }

    #[test]
    fn other_lines_are_not_taken_for_listening_lines() {
        for line in [
            "",
            "TCP: listening on 127.0.0.1:1",
            "[nsqd] 2026/11/22 08:59:54.739271 INFO: HTTPS: listening on 127.0.0.1:4152",
            "[nsqd] 2026/11/22 08:59:54.739271 INFO: TCP: listening on /run/nsqd.sock",
            "[nsqd] 2026/11/22 08:59:54.739271 WARNING: cannot: TCP: listening on 127.0.0.1:1",
        ] {
            assert_eq!(listening(line), None, "{line}");
        }
    }

    #[test]
    fn warnings_and_panics_are_grave_and_news_is_not() {
        assert!(!is_grave("[nsqd] 2026/11/22 08:59:54.739271 INFO: ID: 0"));
        assert!(!is_grave("[nsqd] 2026/11/22 08:59:54.739271 DEBUG: ERROR: quoted"));
        assert!(is_grave("[nsqd] 2026/11/22 08:59:54.739271 WARNING: slow"));
        assert!(is_grave("[nsqd] 2026/11/22 08:59:54.739271 FATAL: cannot listen"));
        assert!(is_grave("thread 'main' panicked at src/x.rs:1:2:"));
        assert!(is_grave("nsqd: unknown flag --tcp-adress"));
    }
}
