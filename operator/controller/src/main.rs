//! `nsq-operator`: runs NSQ clusters on Kubernetes, and prints the CRDs.

use std::io::Write as _;
use std::process::ExitCode;

use clap::{Parser, Subcommand};
use controller::run::{Settings, run};

/// Runs NSQ clusters on Kubernetes: what NsqCluster, NsqTopic and NsqChannel ask for.
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
    /// Watch an API server and do what its resources ask for
    Run(Box<Settings>),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Crds => print_crds(),
        Command::Run(settings) => start(*settings),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("nsq-operator: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn start(settings: Settings) -> anyhow::Result<()> {
    tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?
        .block_on(run(settings))
}

fn print_crds() -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    for (_, yaml) in operator::crds()? {
        write!(stdout, "---\n{yaml}")?;
    }
    Ok(stdout.flush()?)
}
