//! What may be typed after `nsq`. No behaviour: only names, defaults and help.

use std::path::PathBuf;

use clap::{Args, Parser, Subcommand, ValueEnum};

#[derive(Debug, Parser)]
#[command(
    name = "nsq",
    version = daemon::version::VERSION,
    about = "NSQ for people: run a cluster on this machine from one file",
    after_help = "Start here:\n  nsq up manifests/quickstart.yaml"
)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Run the cluster that FILE declares, on this machine, until Ctrl-C
    ///
    /// FILE holds the same NsqCluster, NsqTopic and NsqChannel that `kubectl apply -f` takes. nsqlookupd and the
    /// brokers run as child processes and listen on 127.0.0.1 only. A change of FILE is applied when it is
    /// saved, and on SIGHUP. What is removed from FILE keeps its data. A second start goes on with the data.
    Up(UpArguments),
}

/// The arguments of `nsq up`.
#[derive(Debug, Args)]
#[command(after_help = UP_HELP)]
pub(crate) struct UpArguments {
    /// YAML files that together declare one NsqCluster, its topics and its channels
    #[arg(value_name = "FILE", required = true)]
    pub(crate) files: Vec<PathBuf>,

    /// Where messages and logs are kept; it is created when missing
    #[arg(long, value_name = "FOLDER", default_value = "./nsqube-data")]
    pub(crate) data_dir: PathBuf,

    /// How ports are chosen
    #[arg(long, value_enum, default_value_t = Ports::Stable)]
    pub(crate) ports: Ports,

    /// Show warnings and errors from the logs of the children too
    #[arg(long, short)]
    pub(crate) verbose: bool,
}

/// How the children get their ports.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Ports {
    /// nsqd i: tcp 4150+100i, http 4151+100i; nsqlookupd j: tcp 4160+100j, http 4161+100j
    Stable,
    /// any free port, another one at every start
    Auto,
}

const UP_HELP: &str = "\
Examples:
  nsq up manifests/quickstart.yaml
      run it; then publish from another terminal:
      curl -d 'hello' 'http://127.0.0.1:4151/pub?topic=orders'
  nsq up cluster.yaml topics.yaml --data-dir /var/tmp/nsq
      one cluster from two files, data elsewhere
  nsq up manifests/quickstart.yaml --ports auto
      when something else has the usual ports

The logs of the children are in FOLDER/logs.";

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn up_needs_a_file_and_has_the_documented_defaults() {
        assert!(Arguments::try_parse_from(["nsq", "up"]).is_err());
        let Command::Up(up) = Arguments::try_parse_from(["nsq", "up", "a.yaml", "b.yaml"]).unwrap().command;
        assert_eq!(up.files, [PathBuf::from("a.yaml"), PathBuf::from("b.yaml")]);
        assert_eq!(up.data_dir, PathBuf::from("./nsqube-data"));
        assert_eq!(up.ports, Ports::Stable);
        assert!(!up.verbose);
    }
}
