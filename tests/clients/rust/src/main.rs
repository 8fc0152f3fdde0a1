//! Proves that tokio-nsq works against the daemons it is pointed at, scenario by scenario:
//!
//! `rust-client --lookupd HOST:PORT --nsqd HOST:PORT ... [--tls --ca FILE] [--snappy | --deflate]
//! [--auth-secret SECRET] SCENARIO...`
//!
//! It prints `PASS SCENARIO` for each and exits 0, or prints why not and exits 1. Scenarios share nothing, not even a
//! topic. Where it prints LOOK, CHECK or RESTART, whoever runs it does so and sends a line of input.

mod flags;
mod scenarios;

use std::process::ExitCode;

use flags::Flags;

#[tokio::main]
async fn main() -> ExitCode {
    let (flags, wanted) = match Flags::parse(std::env::args().skip(1)) {
        Ok(parsed) => parsed,
        Err(error) => {
            eprintln!("{error:#}");
            return ExitCode::from(2);
        }
    };
    println!("CLIENT tokio-nsq 0.14.0");
    for name in wanted {
        if let Err(error) = scenarios::run(&name, &flags).await {
            println!("FAIL {name}: {error:#}");
            return ExitCode::FAILURE;
        }
        println!("PASS {name}");
    }
    // Not by returning: the thread that reads standard input cannot be stopped.
    std::process::exit(0)
}
