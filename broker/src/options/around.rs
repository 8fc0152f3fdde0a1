//! What is wrong around the options: addresses that are none, certificates and tokens that cannot be used, a folder
//! that cannot be written. For `--check-config`, which starts nothing and changes nothing.

use std::path::Path;

use daemon::address::{problem_of_listener, problem_of_peer, problem_of_server};
use daemon::token::Token;
use rustix::fs::{Access, access};

use super::Options;
use crate::encryption::Encryption;

/// Everything that is wrong, each with its flag.
pub(crate) fn problems_around(options: &Options) -> Vec<String> {
    let mut problems = Vec::new();
    let mut told = |flag: &str, problem: Option<String>| {
        problems.extend(problem.map(|why| format!("--{flag}: {why}")));
    };
    told("data-path", problem_of_folder(Path::new(&options.data_path)));
    told("tcp-address", problem_of_listener(&options.tcp_address));
    if !options.http_address.is_empty() {
        told("http-address", problem_of_listener(&options.http_address));
    }
    if !options.https_address.is_empty() {
        told("https-address", problem_of_listener(&options.https_address));
    }
    if !options.control.control_address.is_empty() {
        told("control-address", problem_of_listener(&options.control.control_address));
    }
    for address in &options.lookupd_tcp_addresses {
        told("lookupd-tcp-address", problem_of_peer(address));
    }
    for address in &options.access.auth_http_addresses {
        told("auth-http-address", problem_of_server(address));
    }
    if !options.statsd.address.is_empty() {
        told("statsd-address", problem_of_peer(&options.statsd.address));
    }
    for (flag, path) in [
        ("admin-token-file", &options.access.admin_token_file),
        ("lookupd-token-file", &options.lookupd_token_file),
        ("control-token-file", &options.control.control_token_file),
    ] {
        if !path.is_empty() {
            told(flag, Token::read(Path::new(path)).err());
        }
    }
    problems.extend(Encryption::load(&options.tls).err());
    problems
}

fn problem_of_folder(folder: &Path) -> Option<String> {
    let shown = folder.display();
    if !folder.is_dir() {
        return Some(format!("{shown} is no folder; create it, or check that its volume is mounted"));
    }
    let allowed = access(folder, Access::READ_OK | Access::WRITE_OK | Access::EXEC_OK);
    allowed.err().map(|error| format!("{shown} cannot be written: {error}"))
}
