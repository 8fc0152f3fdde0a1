//! `nsq-operator`: prints the CRDs.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};

/// Runs NSQ clusters on Kubernetes. This version prints the resource definitions; it does not talk to an API
/// server.
#[derive(Debug, Parser)]
#[command(name = "nsq-operator", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Print the definitions of NsqCluster, NsqTopic and NsqChannel: nsq-operator crds | kubectl apply -f -
    Crds,
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Crds => print_crds(),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nsq-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn print_crds() -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    for (_, yaml) in operator::crds()? {
        write!(stdout, "---\n{yaml}")?;
    }
    Ok(stdout.flush()?)
}
