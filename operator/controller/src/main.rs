//! `nsq-operator`: runs NSQ clusters on Kubernetes; prints the CRDs; asks a cluster whether it serves, for `helm test`.

use std::io::Write as _;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, bail};
use clap::{Parser, Subcommand};
use controller::run::{Settings, run};
use daemon::http_client::get;

const PROBE_WITHIN: Duration = Duration::from_secs(10);

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
    /// Ask URLs, as http://prod-broker:4151/ping, and succeed if all of them answer 200
    Probe {
        /// Each http://HOST:PORT/PATH
        #[arg(required = true)]
        urls: Vec<String>,
    },
    /// Watch an API server and do what its resources ask for
    Run(Box<Settings>),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Crds => print_crds(),
        Command::Probe { urls } => probe(&urls),
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

fn probe(urls: &[String]) -> anyhow::Result<()> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    for url in urls {
        let (address, path) = url
            .strip_prefix("http://")
            .and_then(|rest| rest.split_once('/'))
            .with_context(|| format!("{url:?} is no URL as http://HOST:PORT/PATH"))?;
        let (status, body) = runtime.block_on(get(address, &format!("/{path}"), PROBE_WITHIN))?;
        if status != 200 {
            bail!("{url} answered {status}: {}", String::from_utf8_lossy(&body));
        }
        writeln!(std::io::stdout(), "{url}: {}", String::from_utf8_lossy(&body).trim_end())?;
    }
    Ok(())
}

fn print_crds() -> anyhow::Result<()> {
    let mut stdout = std::io::stdout().lock();
    for (_, yaml) in operator::crds()? {
        write!(stdout, "---\n{yaml}")?;
    }
    Ok(stdout.flush()?)
}
