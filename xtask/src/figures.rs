//! `cargo xtask figures RUN.jsonl ...`: writes what `nsq_bench --json` measured into the tables of docs/performance.md, so
//! that no figure there is typed by hand. Each file is one run and one block of rows.

use std::fs;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::step::root;

const PAGE: &str = "docs/performance.md";
const BEGIN: &str = "<!-- figures: ";
const END: &str = "<!-- end of figures -->";

/// One measurement.
struct Row {
    run: usize,
    workload: String,
    nsqd: String,
    cells: Cells,
}

/// What the page shows of it, in the order of the columns.
struct Cells {
    each_second: f64,
    cpu_us: Option<f64>,
    peak_bytes: f64,
    more: Vec<(String, f64)>,
}

/// Replace the tables of all works that `files` tell of; the others stay as they are.
pub(crate) fn write(files: &[&str]) -> Result<()> {
    let mut rows = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let text = fs::read_to_string(file).with_context(|| format!("cannot read {file}"))?;
        for line in text.lines() {
            let row = row(index + 1, line).with_context(|| format!("{file}: {line}"))?;
            rows.push(row);
        }
    }
    if rows.is_empty() {
        bail!("no figures; give the files that nsq_bench --json=FILE wrote");
    }
    let page = root()?.join(PAGE);
    let text = fs::read_to_string(&page).with_context(|| format!("cannot read {}", page.display()))?;
    fs::write(&page, filled(&text, &rows)?).with_context(|| format!("cannot write {}", page.display()))
}

fn row(run: usize, line: &str) -> Result<Row> {
    let value: Value = serde_json::from_str(line)?;
    if let Some(why) = value.get("partial") {
        bail!("the run did not come to its end: {why}");
    }
    let text = |key: &str| value.get(key).and_then(Value::as_str).map(str::to_owned).context(key.to_owned());
    let number = |key: &str| value.get(key).and_then(Value::as_f64);
    let more = value
        .get("more")
        .and_then(Value::as_array)
        .into_iter()
        .flatten()
        .filter_map(|pair| Some((pair.get(0)?.as_str()?.to_owned(), pair.get(1)?.as_f64()?)));
    let seconds = number("seconds").context("seconds")?;
    let cells = Cells {
        each_second: number("count").context("count")? / seconds,
        cpu_us: number("cpu_us_each"),
        peak_bytes: number("peak_bytes").unwrap_or_default(),
        more: more.collect(),
    };
    Ok(Row { run, workload: text("workload")?, nsqd: text("nsqd")?, cells })
}

/// The page with a table behind each marker there are rows for.
fn filled(page: &str, rows: &[Row]) -> Result<String> {
    let mut out = String::with_capacity(page.len());
    let mut rest = page;
    while let Some(at) = rest.find(BEGIN) {
        let (before, marked) = rest.split_at(at);
        let (line, behind) = marked.split_once('\n').unwrap_or((marked, ""));
        let name = line.trim_start_matches(BEGIN).trim_end_matches(" -->");
        out.push_str(before);
        out.push_str(line);
        out.push('\n');
        let old = old_table(behind)?;
        let own: Vec<&Row> = rows.iter().filter(|row| row.workload == name).collect();
        let (kept, following) = behind.split_at(old);
        if own.is_empty() {
            out.push_str(kept)
        } else {
            out.push_str(&table(&own))
        }
        rest = following;
    }
    out.push_str(rest);
    Ok(out)
}

/// How many bytes the table of an earlier time takes, directly behind its marker.
fn old_table(behind: &str) -> Result<usize> {
    if !behind.trim_start().starts_with('|') {
        return Ok(0);
    }
    let at = behind.find(END).with_context(|| format!("{PAGE}: a table without {END}"))?;
    Ok((at + END.len() + 1).min(behind.len()))
}

fn table(rows: &[&Row]) -> String {
    let mut names: Vec<&str> = Vec::new();
    for (name, _) in rows.iter().flat_map(|row| &row.cells.more) {
        if !names.contains(&name.as_str()) {
            names.push(name);
        }
    }
    let mut text = format!("\n| run | nsqd | each/s | CPU us each | peak MiB |{}\n", cells(&names));
    text.push_str(&format!("| --- | --- | ---: | ---: | ---: |{}\n", " ---: |".repeat(names.len())));
    for row in rows {
        let Cells { each_second, cpu_us, peak_bytes, more } = &row.cells;
        let cpu = cpu_us.map_or_else(String::new, significant);
        let values: Vec<String> = names
            .iter()
            .map(|name| {
                more.iter()
                    .find(|(other, _)| other == name)
                    .map_or_else(String::new, |(_, v)| significant(*v))
            })
            .collect();
        let peak = peak_bytes / f64::from(1 << 20);
        let values = cells(&values);
        text.push_str(&format!(
            "| {} | {} | {each_second:.0} | {cpu} | {peak:.0} |{values}\n",
            row.run, row.nsqd
        ));
    }
    text.push_str(&format!("\n{END}\n"));
    text
}

fn cells(values: &[impl AsRef<str>]) -> String {
    values.iter().map(|value| format!(" {} |", value.as_ref())).collect()
}

/// Three digits are more than the machine repeats.
fn significant(value: f64) -> String {
    match value {
        value if value < 1.0 => format!("{value:.3}"),
        value if value < 10.0 => format!("{value:.2}"),
        value if value < 100.0 => format!("{value:.1}"),
        value => format!("{value:.0}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &str = r#"{"round":1,"workload":"pub-16","nsqd":"stock","count":3000,"seconds":3.0,"cpu_us_each":22.18,"peak_bytes":17825792,"more":[["p50 ms",0.1]]}"#;

    fn rows() -> Vec<Row> {
        vec![row(1, LINE).unwrap(), row(2, &LINE.replace("stock", "nsqube")).unwrap()]
    }

    #[test]
    fn figures_stand_behind_their_marker_and_are_replaced_the_next_time() {
        let page = "# A\n\n<!-- figures: pub-16 -->\n\n## B\n\n<!-- figures: other -->\n";
        let once = filled(page, &rows()).unwrap();
        assert!(once.contains("| 1 | stock | 1000 | 22.2 | 17 | 0.100 |\n"), "{once}");
        assert!(once.ends_with("## B\n\n<!-- figures: other -->\n"), "{once}");
        assert_eq!(filled(&once, &rows()).unwrap(), once);
        assert_eq!(filled(&once, &rows()[..0]).unwrap(), once);
    }

    #[test]
    fn a_run_that_did_not_end_is_refused() {
        assert!(row(1, r#"{"partial":"it ended"}"#).is_err());
    }
}
