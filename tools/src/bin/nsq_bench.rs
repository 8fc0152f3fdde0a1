//! `nsq_bench`: what a message costs a running nsqd, in microseconds of its CPU. All of it is in `tools::bench`.

use std::process::ExitCode;

fn main() -> ExitCode {
    tools::bench::main_with_args(std::env::args().collect())
}
