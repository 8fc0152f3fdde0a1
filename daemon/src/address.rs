//! Whether a text can be an address at all, for `--check-config`: forms only, nothing is resolved or opened.

use std::path::Path;

/// What is wrong with `text` as something to listen on: `HOST:PORT`, `:PORT`, or the path of a unix socket.
pub fn problem_of_listener(text: &str) -> Option<String> {
    if !text.contains('/') {
        return problem_of_host_and_port(text, true);
    }
    let folder = Path::new(text).parent().filter(|folder| !folder.as_os_str().is_empty());
    let is_there = folder.is_none_or(Path::is_dir);
    (!is_there).then(|| format!("{text:?} is a unix socket in a folder that does not exist"))
}

/// What is wrong with `text` as something to connect to: `HOST:PORT`.
pub fn problem_of_peer(text: &str) -> Option<String> {
    problem_of_host_and_port(text, false)
}

/// What is wrong with `text` as an HTTP server to ask: `HOST:PORT`, or a URL.
pub fn problem_of_server(text: &str) -> Option<String> {
    match text.split_once("://") {
        // Whose name and password stand before it does not matter, and must not be shown.
        None => problem_of_host_and_port(text.rsplit_once('@').map_or(text, |(_, address)| address), true),
        Some(("http" | "https", rest)) if !rest.is_empty() && !rest.starts_with('/') => None,
        Some(_) => Some("it is neither HOST:PORT nor a URL that begins with http:// or https://".to_owned()),
    }
}

fn problem_of_host_and_port(text: &str, may_be_any: bool) -> Option<String> {
    let advice = "write HOST:PORT, for example 127.0.0.1:4150";
    let Some((host, port)) = text.rsplit_once(':') else {
        return Some(format!("{text:?} has no port; {advice}"));
    };
    let is_bracketed = host.starts_with('[') && host.ends_with(']');
    if host.contains(':') && !is_bracketed {
        return Some(format!("{text:?} is an IPv6 address without brackets; write [ADDRESS]:PORT"));
    }
    if host.is_empty() && !may_be_any {
        return Some(format!("{text:?} has no host; {advice}"));
    }
    match port_of(port) {
        Ok(0) if !may_be_any => Some(format!("{text:?} has port 0; {advice}")),
        Ok(_) => None,
        Err(()) => Some(format!("{port:?} is no port; {advice}")),
    }
}

/// The port that is meant. nsqd: none is 0, and those of HTTP have names; Go knows some more.
pub(crate) fn port_of(text: &str) -> Result<u16, ()> {
    match text {
        "" => Ok(0),
        "http" => Ok(80),
        "https" => Ok(443),
        text => text.parse().map_err(|_| ()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_listened_on_passes() {
        for text in [
            "0.0.0.0:4150",
            ":4150",
            "127.0.0.1:0",
            "[::]:4150",
            "localhost:1",
            "./nsqd.sock",
            "/nsqd.sock",
            "127.0.0.1:",
            ":",
            "a:https",
        ] {
            assert_eq!(problem_of_listener(text), None, "{text}");
        }
        for text in ["", "4150", "localhost", "::1:4150", "a:b", "a:70000", "/nowhere/at/all/nsqd.sock"] {
            assert!(problem_of_listener(text).is_some(), "{text}");
        }
    }

    #[test]
    fn what_is_connected_to_has_a_host_and_a_port() {
        for text in ["lookupd:4160", "10.0.0.1:4160", "[fe80::1]:4160"] {
            assert_eq!(problem_of_peer(text), None, "{text}");
        }
        for text in [":4160", "lookupd", "lookupd:0", "http://lookupd:4160"] {
            assert!(problem_of_peer(text).is_some(), "{text}");
        }
    }

    #[test]
    fn a_server_is_an_address_or_a_url() {
        for text in [
            "auth:4181",
            ":4181",
            "user:canary@auth:4181",
            "http://auth:4181/auth",
            "http://:1",
            "https://auth",
        ] {
            assert_eq!(problem_of_server(text), None, "{text}");
        }
        assert!(!problem_of_server("user:canary@auth").unwrap().contains("canary"));
        for text in ["auth", "ftp://auth", "http://", "http:///auth"] {
            assert!(problem_of_server(text).is_some(), "{text}");
        }
    }
}
