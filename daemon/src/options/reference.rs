//! The reference page of a daemon's options, as Markdown: what `--help=markdown` prints and `cargo xtask docs` keeps in
//! docs/reference.

use std::fmt::Write as _;

use super::environment::variable;
use super::read::alternatives;
use super::sources::Given;
use super::{Kind, Opt, rows};

/// The page, without a line feed at its end.
pub(super) fn render(given: &Given<'_>) -> String {
    let mut page = format!("# Options of {}\n\n{}\n", given.binary, introduction(given.binary));
    let mut headings: Vec<&str> = Vec::new();
    for opt in rows(given.table) {
        if !headings.contains(&opt.heading) {
            headings.push(opt.heading);
        }
    }
    for heading in headings {
        let _string_takes_all = write!(
            page,
            "\n## {heading}\n\n| flag | value | default | key in a file | meaning |\n|---|---|---|---|---|\n"
        );
        for opt in rows(given.table).filter(|opt| opt.heading == heading) {
            page.push_str(&row(opt));
        }
    }
    page.trim_end().to_owned()
}

fn introduction(binary: &str) -> String {
    let example = variable(binary, &Opt::new("tcp-address", Kind::Text, "", "", ""));
    format!(
        "Written by `cargo xtask docs` from the daemon's own table; do not edit.\n\n\
         A flag is given as `-flag value`, `--flag value`, `-flag=value` or `--flag=value`; one that is on or off as \
         `-flag` or `-flag=false`. Its environment variable is `{}_` and its name in capitals with underscores, such \
         as `{example}`. In the TOML file of `--config` it is its key. A flag comes before its variable, the variable \
         before the file, the file before the default.\n\n\
         Durations are written as in Go: `250ms`, `1m30s`, `1h`; in a file also as whole milliseconds. Lists take \
         commas, flags of lists may be repeated, and in a file they may be arrays. SIGHUP reads the file again for \
         `log_level`, and again the files that the options of certificates and tokens name; everything else takes a \
         restart.",
        binary.to_ascii_uppercase()
    )
}

fn row(opt: &Opt) -> String {
    let value = match opt.kind {
        Kind::Choice(words) => alternatives(words),
        Kind::Bool => "on or off".to_owned(),
        Kind::Int => "number".to_owned(),
        Kind::Duration => "duration".to_owned(),
        Kind::Text => "text".to_owned(),
        Kind::List => "list".to_owned(),
    };
    let default = if opt.default.is_empty() { String::new() } else { format!("`{}`", opt.default) };
    let key = if opt.is_for_files() { format!("`{}`", opt.key()) } else { String::new() };
    format!("| `--{}` | {value} | {default} | {key} | {} |\n", opt.name, cell(opt.help))
}

/// A bar would end the cell, and `<addr>` would be taken for HTML.
fn cell(text: &str) -> String {
    text.replace('|', "\\|").replace('<', "&lt;")
}
