//! This binary as nsqd or nsqlookupd: `nsq up` starts itself again with a hidden first argument, so that one
//! build gives all that runs. The daemons themselves are in crates `broker` and `lookupd`.

use std::ffi::OsString;
use std::io::{ErrorKind, Read};
use std::process::ExitCode;

use crate::up::layout::Role;

/// The hidden first argument that makes this binary the daemon `role`. No file or command starts with `@`.
pub(crate) fn hidden_argument(role: Role) -> &'static str {
    match role {
        Role::Nsqd => "@nsqd",
        Role::Nsqlookupd => "@nsqlookupd",
    }
}

/// Runs a daemon to its end if the first argument asks for one.
pub(crate) fn run_if_asked(args: &[OsString]) -> Option<ExitCode> {
    let first = args.get(1)?.to_str()?;
    let role = [Role::Nsqd, Role::Nsqlookupd].into_iter().find(|role| hidden_argument(*role) == first)?;
    if let Err(error) = hold_lifeline() {
        // Without the lifeline this process could outlive `nsq up` and keep its port and its data locked.
        eprintln!("nsq: cannot start a thread: {error}");
        return Some(ExitCode::FAILURE);
    }
    let rest = args.iter().skip(2).map(|argument| argument.to_string_lossy().into_owned());
    Some(match role {
        Role::Nsqd => broker::main_with_args(std::iter::once("nsqd".to_owned()).chain(rest).collect()),
        Role::Nsqlookupd => {
            lookupd::main_with_args(std::iter::once("nsqlookupd".to_owned()).chain(rest).collect())
        }
    })
}

/// Ends this process as soon as `nsq up` is gone, even by `kill -9`.
///
/// Standard input is a pipe whose other end only `nsq up` holds: the kernel closes it with that process. A
/// parent-death signal would need Linux, follows the parent's thread instead of its process, and leaves a
/// gap between fork and prctl. The end is at once, like a crash, which brokers survive without loss: a slow
/// farewell would hold ports and data against the next `nsq up`.
fn hold_lifeline() -> std::io::Result<()> {
    std::thread::Builder::new().name("lifeline".to_owned()).spawn(|| {
        let mut byte = [0_u8; 1];
        loop {
            match std::io::stdin().read(&mut byte) {
                Ok(0) => std::process::exit(1),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(_) => std::process::exit(1),
            }
        }
    })?;
    Ok(())
}
