//! The program nsqd.

use std::process::ExitCode;

fn main() -> ExitCode {
    broker::main_with_args(std::env::args().collect())
}
