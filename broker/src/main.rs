//! The program nsqd.

use std::process::ExitCode;

fn main() -> ExitCode {
    // A lossy argument is refused by name later; `env::args` would panic here.
    let args = std::env::args_os().map(|arg| arg.to_string_lossy().into_owned());
    broker::main_with_args(args.collect())
}
