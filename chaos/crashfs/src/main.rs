//! `crashfs`: mount one by hand, and drive it with lines of text.

use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use crashfs::{Command, Mounted, NameRule, Options};

/// Mount a file system in memory that forgets or tears what was not synced when its power is cut.
///
/// One command a line, one answer a line, `ok ...` or `error: ...`:
/// cut none|all|random|ordered SEED; heal; fail-sync N|all|none; fail-write ERRNO N; delay-sync MILLISECONDS;
/// space BYTES; stats. It is unmounted, and its
/// content gone, at the end of the input; when it is killed, `umount` the directory.
#[derive(Debug, Parser)]
#[command(version)]
struct Flags {
    /// An existing directory.
    mountpoint: PathBuf,
    /// Where commands come from: `stdin`, or the path of a Unix socket to make; its connections are served one by one.
    #[arg(long, default_value = "stdin")]
    control: PathBuf,
    /// All it can hold, in bytes.
    #[arg(long, default_value_t = Options::default().bytes_max)]
    space: u64,
    /// How long each sync takes, in milliseconds.
    #[arg(long, default_value_t = 0)]
    sync_delay: u64,
    /// Any sync keeps the names changed before it, as on ext4 and XFS. Otherwise only the sync of a directory does.
    #[arg(long)]
    journal: bool,
}

fn main() -> ExitCode {
    match run(&Flags::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("crashfs: {error}");
            ExitCode::FAILURE
        }
    }
}

fn run(flags: &Flags) -> io::Result<()> {
    let options = Options {
        bytes_max: flags.space,
        sync_delay: Duration::from_millis(flags.sync_delay),
        names: if flags.journal { NameRule::Journal } else { NameRule::Strict },
    };
    let mounted = Mounted::start(&flags.mountpoint, options)?;
    if flags.control == Path::new("stdin") {
        return serve(&mounted, io::stdin().lock(), io::stdout().lock());
    }
    let listener = UnixListener::bind(&flags.control)?;
    for connection in listener.incoming() {
        let connection = connection?;
        let reader = BufReader::new(connection.try_clone()?);
        if let Err(error) = serve(&mounted, reader, connection) {
            eprintln!("crashfs: a connection ended: {error}");
        }
    }
    Ok(())
}

fn serve(mounted: &Mounted, commands: impl BufRead, mut answers: impl Write) -> io::Result<()> {
    for line in commands.lines() {
        match line?.parse::<Command>() {
            Ok(command) => writeln!(answers, "{}", mounted.obey(command))?,
            Err(error) => writeln!(answers, "error: {error}")?,
        }
        answers.flush()?;
    }
    Ok(())
}
