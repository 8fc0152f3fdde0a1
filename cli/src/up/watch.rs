//! Notices that a declaration was saved. Files are polled: they are small, editors replace them in many ways,
//! and a notification would still need the same care about half-written text.

use std::path::PathBuf;
use std::time::Duration;

use super::declared::{self, Texts};

const PERIOD: Duration = Duration::from_millis(300);

/// What a look at the files gave: their texts, or why not.
pub(crate) type Reading = Result<Texts, String>;

/// Looks at the files from time to time.
#[derive(Debug)]
pub(crate) struct Watch {
    files: Vec<PathBuf>,
    settled: Settled,
    ticks: tokio::time::Interval,
}

impl Watch {
    /// `known`: what the running state was made from.
    pub(crate) fn new(files: Vec<PathBuf>, known: Texts) -> Self {
        let mut ticks = tokio::time::interval(PERIOD);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        Self { files, settled: Settled { known: Ok(known), candidate: None }, ticks }
    }

    /// The next change. Safe to drop and call again.
    pub(crate) async fn changed(&mut self) -> Reading {
        loop {
            self.ticks.tick().await;
            if let Some(reading) = self.settled.look(read(&self.files)) {
                return reading;
            }
        }
    }

    /// The files as they are at this moment, changed or not.
    pub(crate) fn now(&mut self) -> Reading {
        let reading = read(&self.files);
        self.settled = Settled { known: reading.clone(), candidate: None };
        reading
    }
}

/// Contents are compared, not times: some file systems count whole seconds.
fn read(files: &[PathBuf]) -> Reading {
    declared::read(files).map_err(|failure| failure.to_string())
}

/// Passes a reading on when it differs from the last one passed on and was seen twice in a row: editors
/// empty a file before they write it, or remove it before they rename the new one.
#[derive(Debug)]
struct Settled {
    known: Reading,
    candidate: Option<Reading>,
}

impl Settled {
    fn look(&mut self, reading: Reading) -> Option<Reading> {
        if reading == self.known {
            self.candidate = None;
            return None;
        }
        if self.candidate.as_ref() != Some(&reading) {
            self.candidate = Some(reading);
            return None;
        }
        self.candidate = None;
        self.known = reading.clone();
        Some(reading)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Shows the texts one after the other (`!`: the file is away) and gives what is passed on.
    fn check(shown: &[&str], passed_on: &[&str]) {
        let reading = |text: &str| match text {
            "!" => Err("gone".to_owned()),
            text => Ok(vec![("f".to_owned(), text.to_owned())]),
        };
        let mut settled = Settled { known: reading("a"), candidate: None };
        let passed: Vec<Reading> = shown.iter().filter_map(|text| settled.look(reading(text))).collect();
        assert_eq!(passed, passed_on.iter().map(|text| reading(text)).collect::<Vec<_>>(), "{shown:?}");
    }

    #[test]
    fn a_saved_change_is_passed_on_once() {
        check(&["a", "b", "b", "b", "b"], &["b"]);
    }

    #[test]
    fn half_written_and_replaced_files_are_waited_out() {
        check(&["a", "", "b", "b"], &["b"]);
        check(&["a", "!", "b", "b"], &["b"]);
        check(&["a", "!", "a", "a"], &[]);
        check(&["", "a", "", "a"], &[]);
    }

    #[test]
    fn a_file_that_stays_away_is_told_once_and_its_return_too() {
        check(&["!", "!", "!", "a", "a"], &["!", "a"]);
    }
}
