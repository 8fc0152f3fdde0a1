//! `--help`: every option below its heading, with its default and its environment variable.

use clap::{Arg, ArgAction, Command};

use super::environment::variable;
use super::read::alternatives;
use super::sources::Given;
use super::{Kind, Opt, rows};

/// The text, without a line feed at its end.
pub(super) fn render(given: &Given<'_>) -> String {
    let general = |name: &'static str, help| {
        Arg::new(name).long(name).action(ArgAction::SetTrue).help(help).help_heading("General")
    };
    let mut command = Command::new("daemon")
        .bin_name(given.binary)
        .about(given.about.to_owned())
        .disable_help_flag(true)
        .disable_version_flag(true)
        .arg(general("help", "Print this text and exit"))
        .arg(general("version", "Print the version and exit"));
    for opt in rows(given.table) {
        command = command.arg(argument(given, opt));
    }
    command.render_help().to_string().trim_end().to_owned()
}

fn argument(given: &Given<'_>, opt: &Opt) -> Arg {
    let mut help = opt.help.to_owned();
    if let Kind::Choice(words) = opt.kind {
        help.push_str(&format!(" [{}]", alternatives(words)));
    }
    if !opt.default.is_empty() {
        help.push_str(&format!(" [default: {}]", opt.default));
    }
    if given.takes_environment {
        help.push_str(&format!(" [env: {}]", variable(given.binary, opt)));
    }
    let arg = Arg::new(opt.name).long(opt.name).help(help).help_heading(opt.heading);
    if opt.kind.is_switch() {
        arg.num_args(0..=1).require_equals(true).value_name(opt.kind.placeholder())
    } else {
        arg.value_name(opt.kind.placeholder())
    }
}
