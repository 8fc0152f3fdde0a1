//! One command line for people. `nsq up` runs a declared cluster on this machine, without Kubernetes.
//! Reading order: `args` (what may be typed), `daemons` (this binary as nsqd or nsqlookupd), `up` (the story).
//! What the resources mean and what must run is decided in crate `operator`, not here.

mod args;
mod daemons;
mod up;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::Parser;

use args::{Arguments, Command};

/// Runs `nsq` with `args`, the program's name first. Exit codes: 0 done, 1 failed, 2 wrong usage.
pub fn main_with_args(args: Vec<OsString>) -> ExitCode {
    if let Some(code) = daemons::run_if_asked(&args) {
        return code;
    }
    match Arguments::try_parse_from(args) {
        Ok(Arguments { command: Command::Up(arguments) }) => up::up(&arguments),
        Err(error) => {
            // A closed pipe (`nsq --help | head -1`) is no reason to fail.
            let _ = error.print();
            ExitCode::from(u8::try_from(error.exit_code()).unwrap_or(2))
        }
    }
}
