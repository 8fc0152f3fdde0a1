//! The binary `nsq`: everything is in the library, so that tests reach it.

use std::process::ExitCode;

fn main() -> ExitCode {
    cli::main_with_args(std::env::args_os().collect())
}
