//! How often each kind of damage was struck, and what it cost.

use std::collections::BTreeMap;
use std::fmt::Write as _;

/// What came of one damage, or of several added up.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Struck {
    pub(super) served: u64,
    pub(super) refused: u64,
    /// Messages lost where the damage was.
    pub(super) lost: u64,
    /// Messages that came though they were finished.
    pub(super) again: u64,
}

/// By what happened and to which kind of file.
#[derive(Debug, Clone, Default)]
pub struct Tally {
    rows: BTreeMap<(&'static str, &'static str), Row>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    sum: Struck,
    lost_max: u64,
}

impl Tally {
    pub(super) fn add(&mut self, kind: (&'static str, &'static str), struck: Struck) {
        let row = self.rows.entry(kind).or_default();
        row.sum.add(struck);
        row.lost_max = row.lost_max.max(struck.lost);
    }

    /// All of it, in a few words.
    pub fn line(&self) -> String {
        let mut sum = Struck::default();
        self.rows.values().for_each(|row| sum.add(row.sum));
        let Struck { served, refused, lost, again } = sum;
        format!("served {served} refused {refused} lost {lost} again {again}")
    }

    /// A row for each kind.
    pub fn table(&self) -> String {
        let mut text = format!(
            "  {:<14} {:<9} {:>7} {:>8} {:>8} {:>12} {:>7}\n",
            "damage", "file", "served", "refused", "lost", "lost at most", "again"
        );
        for ((harm, file), Row { sum, lost_max }) in &self.rows {
            let Struck { served, refused, lost, again } = sum;
            let _ = writeln!(
                text,
                "  {harm:<14} {file:<9} {served:>7} {refused:>8} {lost:>8} {lost_max:>12} {again:>7}"
            );
        }
        text
    }
}

impl Struck {
    fn add(&mut self, other: Self) {
        self.served += other.served;
        self.refused += other.refused;
        self.lost += other.lost;
        self.again += other.again;
    }
}
