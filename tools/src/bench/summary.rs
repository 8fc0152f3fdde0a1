//! What the rounds say together: for each work the median of what one nsqd takes of another's CPU time. It reports a
//! work that became slower, and fails nobody: time on a shared machine is no test.

use super::options::Options;
use super::report::{Report, Row, median};

/// From this ratio on a work counts as slower.
const SLOWER: f64 = 1.1;

/// The closing lines; empty when there is nothing to compare.
pub(super) fn lines(report: &Report, options: &Options) -> String {
    // Nobody is compared with the floor: it is no nsqd.
    let mut nsqds = options.subjects.iter().filter(|subject| !subject.is_floor());
    let Some(base) = nsqds.next() else { return String::new() };
    let (mut text, mut slower, mut compared) = (String::new(), 0, 0);
    for other in nsqds {
        for work in &options.workloads {
            let rows = report.rows.iter().filter(|row| row.is_of(work.name, work.at));
            let ratios = rows.filter(|row| row.nsqd == other.label);
            let ratios: Vec<f64> = ratios.filter_map(|row| report.ratio_to(row, &base.label)).collect();
            let rounds = ratios.len();
            let Some(ratio) = median(ratios) else { continue };
            compared += 1;
            let is_slower = ratio > SLOWER;
            slower += usize::from(is_slower);
            let mark = if is_slower { "  slower by more than 10 %" } else { "" };
            let (work, nsqd) = (Row::title(work.name, work.at), &other.label);
            text.push_str(&format!("{work:<26} {nsqd:<12} {ratio:>6.2}  {rounds} rounds{mark}\n"));
        }
    }
    if compared == 0 {
        return text;
    }
    format!(
        "\nCPU for each over that of {}, median\n{text}{slower} of {compared} slower by more than 10 %\n",
        base.label
    )
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use daemon::options::{Parsed, parse};

    use super::super::options::TABLE;
    use super::super::report::Sample;
    use super::*;

    #[test]
    fn a_work_that_became_slower_is_marked_by_its_median() {
        let exe = std::env::current_exe().unwrap();
        let nsqd = |name: &str| format!("--nsqd={name}={}", exe.display());
        let args = [nsqd("old"), nsqd("new"), "--workload=pub-16,mpub-100B".to_owned()];
        let Ok(Parsed::Run(values)) = parse("nsq_bench", "", TABLE, args) else { panic!("options") };
        let options = Options::from_values(&values).unwrap();
        let mut report = Report::default();
        let mut add = |round, workload, nsqd: &str, cpu| {
            let mut sample = Sample::of(1, Duration::from_secs(1), None, 0);
            sample.cpu_us_each = Some(cpu);
            report.rows.push(Row { round, workload, at: None, nsqd: nsqd.to_owned(), sample });
        };
        for (round, old, new) in [(1, 10.0, 9.0), (2, 5.0, 6.0), (3, 10.0, 12.0)] {
            add(round, "pub-16", "old", old);
            add(round, "pub-16", "new", new);
            add(round, "mpub-100B", "old", new);
            add(round, "mpub-100B", "new", old);
        }
        let text = lines(&report, &options);
        let line = |work: &str| text.lines().find(|line| line.starts_with(work)).unwrap_or_default();
        assert!(line("pub-16").contains(" 1.20  3 rounds  slower by more than 10 %"), "{text}");
        assert!(line("mpub-100B").ends_with(" 0.83  3 rounds"), "{text}");
        assert!(text.ends_with("1 of 2 slower by more than 10 %\n"), "{text}");
    }
}
