//! `nsqd import` and `nsqd export`: their flags, and what they print.

use std::io::Write as _;
use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::SystemTime;

use daemon::options::{Kind, Opt, Parsed, Values, parse, print};
use daemon::shutdown::Shutdown;
use storage::{DirLock, Disk, ErrorKind, RealDisk};

use super::error::StockError;
use super::export::{ExportSettings, export};
use super::takeover::{TakenOver, preview, take_over};
use super::{COMPLETED, Settings, log_options};
use crate::clock::Clock;
use crate::options::node_id;
use crate::record::Node;

const IMPORT: &str = "import";
const EXPORT: &str = "export";
const ABOUT_IMPORT: &str = "nsqd import takes over the messages of a stock nsqd, as nsqd does at its first start on such a \
                            folder, without serving; --dry-run tells what it would take";
const ABOUT_EXPORT: &str = "nsqd export writes every unfinished message as a folder that a stock nsqd starts on; the nsqd \
                            of --data-path must be stopped";
const HEADING: &str = "Options";
/// nsqd's default of --max-bytes-per-file.
const FILE_BYTES: &str = "104857600";
/// nsqd's default of --max-msg-size.
const MESSAGE_BYTES: &str = "1048576";

const IMPORT_TABLE: &[Opt] = &[
    opt("data-path", Kind::Text, "", "folder of the stock nsqd; empty means the current one"),
    opt("dry-run", Kind::Bool, "false", "only tell what would be imported; changes nothing"),
    opt(
        "include-bad",
        Kind::Bool,
        "false",
        "also import files that stock gave up (.bad); they may hold delivered messages",
    ),
    opt("max-bytes-per-file", Kind::Int, FILE_BYTES, "bytes in one log file before the next begins"),
    opt(
        "max-msg-size",
        Kind::Int,
        MESSAGE_BYTES,
        "report messages with larger bodies; they are imported all the same",
    ),
    opt(
        "node-id",
        Kind::Int,
        "-1",
        "number 0-1023 in message ids, as nsqd will have it; default from the hostname",
    ),
];

const EXPORT_TABLE: &[Opt] = &[
    opt("data-path", Kind::Text, "", "folder of this nsqd; empty means the current one"),
    opt("to", Kind::Text, "", "folder to write, which must be empty or missing"),
    opt("max-bytes-per-file", Kind::Int, FILE_BYTES, "bytes in one file of a queue before the next begins"),
];

const fn opt(name: &'static str, kind: Kind, default: &'static str, help: &'static str) -> Opt {
    Opt::new(name, kind, default, help, HEADING)
}

/// Run the command that the arguments behind the program's name begin with, if they do with one of these.
pub(crate) fn run(args: &[String]) -> Option<ExitCode> {
    let (command, flags) = args.split_first()?;
    type Action = fn(&Values) -> Result<String, String>;
    let (about, table, action): (_, _, Action) = match command.as_str() {
        IMPORT => (ABOUT_IMPORT, IMPORT_TABLE, import),
        EXPORT => (ABOUT_EXPORT, EXPORT_TABLE, export_to),
        _ => return None,
    };
    let outcome = match parse(&format!("nsqd {command}"), about, table, flags.iter().cloned()) {
        Ok(Parsed::Run(values)) => action(&values),
        Ok(Parsed::Exit { code, text }) => return Some(print(code, &text)),
        Err(error) => Err(error.to_string()),
    };
    Some(match outcome {
        Ok(text) => print(0, &text),
        Err(why) => {
            let _stderr_is_closed = writeln!(std::io::stderr(), "nsqd {command}: {why}");
            ExitCode::FAILURE
        }
    })
}

/// What does not depend on flags.
pub(super) fn settings_now() -> Settings {
    let stamp = humantime::format_rfc3339_seconds(SystemTime::now()).to_string().replace(['-', ':'], "");
    Settings {
        node: Node::new(0),
        first_seq: Clock::start().first_seq(),
        log: log_options(0, 0),
        with_bad: false,
        message_bytes_max: 0,
        stamp,
        stop: Shutdown::new(),
    }
}

fn import(values: &Values) -> Result<String, String> {
    let folder = folder(values, "data-path");
    let folder = Path::new(&folder);
    let segment_bytes = size(values, "max-bytes-per-file", 4096)?;
    let message_bytes_max = size(values, "max-msg-size", 1)?;
    let settings = Settings {
        node: Node::new(node_id(values, &daemon::host::hostname())?),
        log: log_options(segment_bytes, usize::try_from(message_bytes_max).unwrap_or(usize::MAX / 2)),
        with_bad: values.is_on("include-bad"),
        message_bytes_max,
        ..settings_now()
    };
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let is_dry = values.is_on("dry-run");
    let (lock, remark) = match lock(folder) {
        Ok(lock) => (Some(lock), ""),
        // Looking is allowed while a broker runs; its files change meanwhile.
        Err(StockError::Storage(error)) if is_dry && error.kind == ErrorKind::Locked => {
            (None, "\nnote: an nsqd is running on this folder, so the counts are those of a moment")
        }
        Err(error) => return Err(error.to_string()),
    };
    crate::serve::raise_file_limit();
    let nothing =
        || format!("{} holds nothing of a stock nsqd: there is nothing to import", folder.display());
    let text = if is_dry {
        preview(&disk, folder, &settings)
            .map(|report| report.map_or_else(nothing, |report| report.to_string()))
    } else {
        take_over(&disk, folder, &settings).map(|outcome| match outcome {
            TakenOver::Nothing => nothing(),
            TakenOver::Completed => COMPLETED.to_owned(),
            TakenOver::Imported(report) => report.to_string(),
        })
    };
    drop(lock);
    text.map(|text| text + remark).map_err(|error| error.to_string())
}

fn export_to(values: &Values) -> Result<String, String> {
    let folder = folder(values, "data-path");
    let folder = Path::new(&folder);
    let to = values.text("to");
    if to.is_empty() {
        return Err("--to is missing: give the folder to write, which must be empty or missing".to_owned());
    }
    let file_bytes_max = size(values, "max-bytes-per-file", 4096)?;
    let settings = ExportSettings {
        log: log_options(file_bytes_max, 1 << 20),
        file_bytes_max,
        now_ns: Clock::start().wall_ns(),
    };
    let _lock = lock(folder).map_err(|error| error.to_string())?;
    crate::serve::raise_file_limit();
    let disk: Arc<dyn Disk> = Arc::new(RealDisk);
    let report = export(&disk, folder, Path::new(to), settings).map_err(|error| error.to_string())?;
    Ok(report.to_string())
}

fn lock(folder: &Path) -> Result<DirLock, StockError> {
    if !folder.is_dir() {
        return Err(StockError::NoFolder { folder: folder.to_owned() });
    }
    Ok(DirLock::acquire(folder)?)
}

fn folder(values: &Values, name: &str) -> String {
    let text = values.text(name);
    if text.is_empty() { ".".to_owned() } else { text.to_owned() }
}

fn size(values: &Values, name: &str, min: u64) -> Result<u64, String> {
    let value = values.int(name);
    let size = u64::try_from(value).ok().filter(|size| *size >= min);
    size.ok_or_else(|| format!("--{name}={value} is too small: at least {min}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use daemon::options::table_problems;

    #[test]
    fn every_row_of_the_tables_is_sound_and_every_name_that_is_read_is_in_them() {
        assert_eq!(
            [table_problems(IMPORT_TABLE), table_problems(EXPORT_TABLE)],
            [Vec::<String>::new(), Vec::new()]
        );
        let read = |table, action: fn(&Values) -> Result<String, String>| match parse(
            "nsqd",
            "",
            table,
            ["--data-path=/nowhere/at/all", "--to=/nowhere/else"].into_iter().take(1),
        ) {
            Ok(Parsed::Run(values)) => {
                let error = action(&values).unwrap_err();
                assert_eq!(values.unknown_names(), Vec::<String>::new());
                error
            }
            other => panic!("{other:?}"),
        };
        assert!(read(IMPORT_TABLE, import).contains("/nowhere/at/all"));
        assert!(read(EXPORT_TABLE, export_to).contains("--to is missing"));
    }
}
