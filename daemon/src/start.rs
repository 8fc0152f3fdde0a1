//! From a command line to checked options with the log running, or to the exit code of a process that ends here; and
//! what SIGHUP changes of it.

use std::process::ExitCode;

use crate::options::{Parsed, Sources, Values, all_problems, print, print_check};
use crate::reload::Reloads;
use crate::telemetry::{self, Format};

/// Reads `sources`, has `check` make options of them, and starts the log. A table must have `log-level`, `log-prefix`
/// and `log-format`.
///
/// # Errors
/// The exit code, when nothing is to be started: after `--help`, after `--check-config`, for which `inspect` says what
/// is wrong with the options' surroundings, or because the options cannot be obeyed; then the log says why.
pub fn start<T>(
    sources: &Sources,
    check: impl Fn(&Values) -> Result<T, String>,
    inspect: impl Fn(&T) -> Vec<String>,
) -> Result<(Values, T), ExitCode> {
    let values = match sources.read() {
        Ok(Parsed::Run(values)) => values,
        Ok(Parsed::Exit { code, text }) => return Err(print(code, &text)),
        Err(error) if error.is_check() => return Err(print_check(error.problems(), &[])),
        Err(error) => return Err(refuse(&format!("[{}] ", sources.binary()), "text", error.problems())),
    };
    let checked = all_problems(&values, check);
    if values.is_check() {
        let problems = match &checked {
            Ok(options) => inspect(options),
            Err(problems) => problems.clone(),
        };
        return Err(print_check(&problems, &values.remarks()));
    }
    let (prefix, format) = (values.text("log-prefix"), values.text("log-format"));
    let options = checked.map_err(|problems| refuse(prefix, format, &problems))?;
    if let Err(error) = telemetry::init(prefix, values.text("log-level"), Format::from_name(format)) {
        return Err(refuse(prefix, format, &[format!("--log-level: {error}")]));
    }
    for remark in values.remarks() {
        telemetry::warn(&remark);
    }
    Ok((values, options))
}

/// At each reload, reads `sources` again: the log level follows, and what would take a restart is told. `values` are
/// those the daemon runs with.
pub async fn follow(sources: Sources, values: Values, mut asked: Reloads) {
    loop {
        asked.next().await;
        match sources.read() {
            Ok(Parsed::Run(now)) => take(&values, &now),
            Ok(Parsed::Exit { .. }) => {}
            Err(error) => {
                for problem in error.problems() {
                    telemetry::warn(problem);
                }
                telemetry::warn("SIGHUP: the options stay as they are: the file cannot be used");
            }
        }
    }
}

fn take(running: &Values, now: &Values) {
    for remark in now.remarks() {
        telemetry::warn(&remark);
    }
    let level = now.text("log-level");
    // One of the table's words, so it cannot be refused.
    let _ = telemetry::set_level(level);
    tracing::info!("SIGHUP: the log level is {level}; certificates and tokens are read again");
    let waiting: Vec<&str> =
        now.differences(running).into_iter().filter(|name| *name != "log-level").collect();
    if !waiting.is_empty() {
        tracing::warn!("SIGHUP: changed, but take a restart: {}", waiting.join(", "));
    }
}

fn refuse(prefix: &str, format: &str, problems: &[String]) -> ExitCode {
    let _it_is_a_word = telemetry::init(prefix, "info", Format::from_name(format));
    for problem in problems {
        telemetry::fatal(problem);
    }
    ExitCode::FAILURE
}
