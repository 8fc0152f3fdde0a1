//! The table of all cells, printed by whichever cell ends last: tests have no order, and it must not matter.

use std::collections::BTreeMap;
use std::io::Write as _;
use std::sync::{Mutex, PoisonError};

use super::matrix::{Client, Feature, clients, every_run};

/// How the cells ended so far, by the name of their client.
static OUTCOMES: Mutex<BTreeMap<(&str, Feature), &'static str>> = Mutex::new(BTreeMap::new());

/// A cell that is running. Dropped without a word, as a panic does it, it counts as failed.
pub(super) struct Cell {
    client: &'static Client,
    feature: Feature,
    outcome: &'static str,
}

impl Cell {
    pub(super) fn begin(client: &'static Client, feature: Feature) -> Self {
        Self { client, feature, outcome: "FAILED" }
    }

    pub(super) fn passed(mut self) {
        self.outcome = "ok";
    }

    /// Said on stderr too: the runner shows nothing of a test that passes.
    pub(super) fn client_cannot(mut self, why: &str) {
        self.outcome = "-";
        let (client, feature) = (self.client.title(), self.feature.name());
        let _ = writeln!(std::io::stderr(), "CLIENT CANNOT: {client}, {feature}: {why}");
    }

    /// Its program is not there, about which the harness has said all.
    pub(super) fn skipped(mut self) {
        self.outcome = "SKIPPED";
    }
}

impl Drop for Cell {
    fn drop(&mut self) {
        let mut outcomes = OUTCOMES.lock().unwrap_or_else(PoisonError::into_inner);
        outcomes.insert((self.client.name, self.feature), self.outcome);
        if outcomes.len() == clients().len() * Feature::ALL.len() {
            let outcome = |client: &Client, feature| outcomes.get(&(client.name, feature)).copied();
            let table = render(&clients(), |client, feature| outcome(client, feature).unwrap_or_default());
            let _ = writeln!(std::io::stderr(), "\n{table}");
        }
    }
}

/// The table of every run as it must come out when nothing fails and nothing is skipped.
pub(super) fn expected() -> String {
    render(&every_run(), |client, feature| match client.lack(feature) {
        Some(_) => "-",
        None => "ok",
    })
}

/// The table in Markdown.
fn render(clients: &[&Client], outcome: impl Fn(&Client, Feature) -> &'static str) -> String {
    let mut rows =
        vec![[vec!["client".to_owned()], Feature::ALL.map(|f| f.name().to_owned()).to_vec()].concat()];
    for client in clients {
        let cells = Feature::ALL.map(|feature| outcome(client, feature).to_owned());
        rows.push([vec![client.title()], cells.to_vec()].concat());
    }
    let width = |column: usize| rows.iter().map(|row| row[column].len()).max().unwrap_or_default();
    let widths: Vec<usize> = (0..=Feature::ALL.len()).map(width).collect();
    rows.insert(1, widths.iter().map(|width| "-".repeat(*width)).collect());
    let line = |row: &Vec<String>| {
        let cells: Vec<String> =
            row.iter().zip(&widths).map(|(cell, width)| format!("{cell:width$}")).collect();
        format!("| {} |\n", cells.join(" | "))
    };
    rows.iter().map(line).collect()
}
