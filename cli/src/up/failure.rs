//! Why `nsq up` could not start or go on, said so that the reader can mend it. Nothing is decided here.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use super::child::Ended;
use super::layout::{Name, STABLE_BROKERS_MAX};

/// Every way to fail; the caller prints it and exits with 1.
#[derive(Debug)]
pub(crate) enum Failure {
    /// A declaration cannot be read.
    Unreadable { file: PathBuf, source: io::Error },
    /// The declaration is wrong; one finished line per problem.
    Declaration(Vec<String>),
    /// Not exactly one NsqCluster, by name.
    Clusters(Vec<String>),
    /// More brokers than stable ports are planned for.
    TooManyBrokers(usize),
    /// The data folder cannot be made or written.
    DataFolder { path: PathBuf, source: io::Error },
    /// Another `nsq up` has the data folder; its process id if it could be read.
    Locked { path: PathBuf, pid: Option<String> },
    /// Ports that something else holds, all of them.
    Ports(Vec<BusyPort>),
    /// A child ended before everything was ready.
    Child { ended: Ended, log: PathBuf },
    /// A broker answers, but not as expected.
    Broker { name: Name, reason: String },
    /// The machine refused something basic: threads, signals, our own path.
    System { what: &'static str, source: io::Error },
}

/// A port that a child needs and that cannot be bound.
#[derive(Debug)]
pub(crate) struct BusyPort {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) what: &'static str,
    pub(crate) name: Name,
    pub(crate) source: io::Error,
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unreadable { file, source } => unreadable(f, file, source),
            Self::Declaration(problems) => declaration(f, problems),
            Self::Clusters(names) => clusters(f, names),
            Self::TooManyBrokers(count) => write!(
                f,
                "{count} brokers are declared, and stable ports are planned for {STABLE_BROKERS_MAX}\n\
                 help: declare fewer (spec.brokers.replicas), or add --ports auto"
            ),
            Self::DataFolder { path, source } => write!(
                f,
                "cannot use {} for data: {}\nhelp: choose another folder with --data-dir",
                path.display(),
                plain(source)
            ),
            Self::Locked { path, pid } => locked(f, path, pid.as_deref()),
            Self::Ports(ports) => busy(f, ports),
            Self::Child { ended, log } => child(f, ended, log),
            Self::Broker { name, reason } => write!(f, "{name} runs but does not do as asked: {reason}"),
            Self::System { what, source } => write!(f, "{what}: {}", plain(source)),
        }
    }
}

impl std::error::Error for Failure {}

/// An I/O error without the number that only programmers read.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let end = text.find(" (os error").unwrap_or(text.len());
    text.get(..end).unwrap_or(&text).to_lowercase()
}

fn unreadable(f: &mut fmt::Formatter<'_>, file: &Path, source: &io::Error) -> fmt::Result {
    write!(f, "cannot read {}: {}", file.display(), plain(source))?;
    if file.is_dir() {
        write!(f, "\nhelp: name the files in it: nsq up {}/*.yaml", file.display())?;
    }
    Ok(())
}

fn declaration(f: &mut fmt::Formatter<'_>, problems: &[String]) -> fmt::Result {
    match problems.len() {
        1 => f.write_str("the declaration has a problem")?,
        count => write!(f, "the declaration has {count} problems")?,
    }
    problems.iter().try_for_each(|problem| write!(f, "\n  {problem}"))
}

fn clusters(f: &mut fmt::Formatter<'_>, names: &[String]) -> fmt::Result {
    if names.is_empty() {
        return f.write_str(
            "the files declare no NsqCluster\nhelp: add one; this is enough: \
             {apiVersion: nsqube.io/v1alpha1, kind: NsqCluster, metadata: {name: quickstart}, spec: {}}",
        );
    }
    let count = names.len();
    write!(
        f,
        "the files declare {count} clusters ({}), and nsq up runs one\n\
         help: run one nsq up per cluster, each with its own --data-dir and --ports auto",
        names.join(", ")
    )
}

fn locked(f: &mut fmt::Formatter<'_>, path: &Path, pid: Option<&str>) -> fmt::Result {
    let holder = pid.map(|pid| format!(" (process {pid})")).unwrap_or_default();
    write!(
        f,
        "another nsq up{holder} already uses the data in {}\n\
         help: stop it, or run this one with another --data-dir and --ports auto",
        path.display()
    )
}

fn busy(f: &mut fmt::Formatter<'_>, ports: &[BusyPort]) -> fmt::Result {
    match ports {
        [_] => f.write_str("a port is not free")?,
        _ => write!(f, "{} ports are not free", ports.len())?,
    }
    for BusyPort { address, what, name, source } in ports {
        write!(f, "\n  {address} ({what} of {name}): {}", plain(source))?;
    }
    let Some(first) = ports.first() else { return Ok(()) };
    write!(
        f,
        "\nhelp: see who has it: {}; stop that, or add --ports auto",
        who_holds(first.address.port(), cfg!(target_os = "linux"))
    )
}

fn who_holds(port: u16, is_linux: bool) -> String {
    if is_linux {
        format!("ss -ltnp 'sport = :{port}'")
    } else {
        format!("lsof -nP -iTCP:{port} -sTCP:LISTEN")
    }
}

fn child(f: &mut fmt::Formatter<'_>, ended: &Ended, log: &Path) -> fmt::Result {
    write!(f, "{} did not start: {}", ended.name, ended.how)?;
    if !ended.last_lines.is_empty() {
        f.write_str("\nits last lines:")?;
    }
    ended.last_lines.iter().try_for_each(|line| write!(f, "\n  {line}"))?;
    write!(f, "\nhelp: its whole log is {}", log.display())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_busy_port_names_the_child_and_how_to_find_the_holder() {
        let text = Failure::Ports(vec![BusyPort {
            address: "127.0.0.1:4150".parse().unwrap(),
            what: "tcp",
            name: Name::nsqd(0),
            source: io::Error::from_raw_os_error(rustix::io::Errno::ADDRINUSE.raw_os_error()),
        }])
        .to_string();
        assert!(text.contains("127.0.0.1:4150 (tcp of nsqd 0): address already in use\n"), "{text}");
        assert!(text.contains("4150'") || text.contains(":4150 "), "{text}");
        assert!(text.contains("--ports auto"), "{text}");
    }

    #[test]
    fn operating_system_errors_lose_their_number() {
        let error = io::Error::from_raw_os_error(rustix::io::Errno::ACCESS.raw_os_error());
        assert_eq!(plain(&error), "permission denied");
        assert_eq!(plain(&io::Error::other("Odd")), "odd");
    }

    #[test]
    fn no_cluster_and_two_clusters_are_told_apart() {
        assert!(Failure::Clusters(vec![]).to_string().contains("declare no NsqCluster"));
        let two = Failure::Clusters(vec!["a".to_owned(), "b".to_owned()]).to_string();
        assert!(two.contains("2 clusters (a, b)"), "{two}");
    }
}
