//! One damage against the contract: nothing corrupt, nothing invented, nothing lost that the damage did not hit, nothing
//! lost without a word, nothing again but for damaged metadata; and a refusal names the file and has touched nothing.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::damage::{Damage, files};
use super::harvest::{Delivery, Harvest, TOPICS, channels};
use super::rest::Rest;
use super::tally::{Struck, Tally};
use crate::check::{Rule, Verdict};
use crate::history::key_text;

/// Judges what came of one damage.
pub(super) struct Judge<'a> {
    rest: &'a Rest,
    damage: &'a Damage,
    verdict: Verdict,
    struck: Struck,
}

impl<'a> Judge<'a> {
    pub(super) fn new(rest: &'a Rest, damage: &'a Damage) -> Self {
        let mut verdict = Verdict::default();
        verdict.counts.published = rest.messages.len() as u64;
        verdict.counts.acked = verdict.counts.published;
        Self { rest, damage, verdict, struck: Struck::default() }
    }

    pub(super) fn is_good(&self) -> bool {
        self.verdict.is_good()
    }

    /// A promise that was broken, with the damage it followed.
    pub(super) fn report(&mut self, rule: Rule, text: impl FnOnce() -> String) {
        let damage = self.damage;
        self.verdict.report(rule, || format!("{damage}\n    {}", text()));
    }

    /// nsqd did not start. It must say which file, not panic, and leave everything as it was.
    pub(super) fn refused(&mut self, text: &str, data: &Path) {
        self.struck.refused = 1;
        let is_orderly = text.contains("ended while it started (exit status") && !text.contains("panicked");
        let is_named = self.damage.files().any(|file| text.contains(&data.join(file).display().to_string()));
        if !is_orderly || !is_named {
            self.report(Rule::Crashed, || format!("a start that neither serves nor names the file: {text}"));
        }
        if let Some(changed) = self.changed(data) {
            self.report(Rule::Crashed, || format!("refused, and {changed} was changed: {text}"));
        }
    }

    /// A file of the same folder that is neither as it was nor damaged by us. Other topics may be open by then.
    fn changed(&self, data: &Path) -> Option<String> {
        let (before, after) = (files(self.rest.folder()).ok()?, files(data).ok()?);
        let all: BTreeSet<_> = before.into_iter().chain(after).collect();
        let is_beside = |file: &&PathBuf| {
            let mut damaged = self.damage.files();
            damaged.all(|damaged| damaged != *file && damaged.parent() == file.parent())
        };
        let differs = |file: &&PathBuf| {
            std::fs::read(self.rest.folder().join(file)).ok() != std::fs::read(data.join(file)).ok()
        };
        all.iter().filter(is_beside).find(differs).map(|file| file.display().to_string())
    }

    /// Everything came that was to come. `log`: what nsqd said meanwhile; `damaged`: the damage was in place.
    pub(super) fn harvested(&mut self, harvest: &Harvest, log: &str, is_damaged: bool) {
        if is_damaged {
            self.struck.served = 1;
        }
        if log.contains("panicked") {
            self.report(Rule::Crashed, || format!("a panic: {}", lines(log, "panicked")));
        }
        if let Some(stuck) = &harvest.stuck {
            self.report(Rule::Stuck, || format!("{stuck}\n{log}"));
            return;
        }
        let mut lost = BTreeMap::new();
        let mut owners = BTreeMap::new();
        for ((index, (topic, _)), came) in channels().enumerate().zip(&harvest.came) {
            self.verdict.counts.delivered += came.len() as u64;
            let fresh = harvest.fresh.get(topic).cloned().unwrap_or_default();
            self.channel(index, topic, came, &fresh, &mut owners);
            let keys: BTreeSet<u64> = came.iter().filter_map(|delivery| delivery.key).collect();
            let owed = self.rest.owed.get(index).into_iter().flatten().chain(&fresh);
            lost.extend(owed.filter(|key| !keys.contains(key)).map(|key| (*key, topic)));
        }
        self.lost(&lost, log, is_damaged);
    }

    /// After a second start.
    pub(super) fn came_back(&mut self, harvest: &Harvest) {
        let again: usize = harvest.came.iter().map(Vec::len).sum();
        if again > 0 {
            self.report(Rule::Duplicate, || format!("{again} messages came again after a second start"));
        }
        if let Some(stuck) = &harvest.stuck {
            self.report(Rule::Stuck, || format!("after a second start: {stuck}"));
        }
    }

    /// What it came to; the tally is told.
    pub(super) fn verdict(self, tally: &mut Tally) -> Verdict {
        tally.add(self.damage.kind(), self.struck);
        self.verdict
    }

    fn channel(
        &mut self,
        index: usize,
        topic: usize,
        came: &[Delivery],
        fresh: &BTreeSet<u64>,
        owners: &mut BTreeMap<(usize, u64), (u64, u64)>,
    ) {
        let rest = self.rest;
        let name = TOPICS.get(topic).copied().unwrap_or_default();
        let mut seen = BTreeSet::new();
        for delivery in came {
            let Some(key) = delivery.key else {
                self.report(Rule::Corrupt, || format!("a message of {name} with id {:016x}", delivery.id));
                continue;
            };
            let is_of_topic = rest.messages.get(&key).is_some_and(|other| usize::from(*other) == topic);
            if !is_of_topic && !fresh.contains(&key) {
                self.report(Rule::Invented, || format!("{} came on {name}", key_text(key)));
            } else if !seen.insert(key) {
                self.report(Rule::Duplicate, || {
                    format!("{} came twice on one channel of {name}", key_text(key))
                });
            } else if is_of_topic && rest.owed.get(index).is_some_and(|owed| !owed.contains(&key)) {
                self.again(key, name);
            }
            self.identity(topic, key, delivery, owners);
        }
    }

    /// It was finished before the damage.
    fn again(&mut self, key: u64, name: &str) {
        self.verdict.counts.again_after_crash += 1;
        self.struck.again += 1;
        if !self.damage.is_of_metadata() {
            self.report(Rule::Duplicate, || {
                format!("{} of {name} was finished, and came again", key_text(key))
            });
        }
    }

    fn identity(
        &mut self,
        topic: usize,
        key: u64,
        delivery: &Delivery,
        owners: &mut BTreeMap<(usize, u64), (u64, u64)>,
    ) {
        let found = (delivery.id, delivery.timestamp);
        if self.rest.identities.get(&key).is_some_and(|known| *known != found) {
            self.report(Rule::Identity, || format!("{} has {found:?} now", key_text(key)));
        }
        let owner = *owners.entry((topic, delivery.id)).or_insert((key, delivery.timestamp));
        if owner.0 != key {
            let other = key_text(owner.0);
            self.report(Rule::IdReused, || format!("{:016x} is {other} and {}", delivery.id, key_text(key)));
        }
    }

    /// Messages that did not come, with their topics.
    fn lost(&mut self, lost: &BTreeMap<u64, usize>, log: &str, is_damaged: bool) {
        self.struck.lost = lost.len() as u64;
        self.verdict.counts.lost_in_window += lost.len() as u64;
        for key in lost.keys() {
            let place = self.rest.places.get(key);
            if !is_damaged || place.is_none_or(|place| !self.damage.may_cost(place)) {
                self.report(Rule::Lost, || format!("{} at {place:?} never came\n{log}", key_text(*key)));
            }
        }
        let must_tell = lost.iter().filter(|(key, _)| !self.is_like_a_cut(key));
        for topic in must_tell.map(|(_, topic)| *topic).collect::<BTreeSet<usize>>() {
            let name = TOPICS.get(topic).copied().unwrap_or_default();
            let is_word =
                |line: &str| (line.contains("ERROR") || line.contains("WARN")) && line.contains(name);
            if !log.lines().any(is_word) {
                let count = lost.values().filter(|other| **other == topic).count();
                self.report(Rule::Untold, || {
                    format!("{count} messages of {name} are lost without a word\n{log}")
                });
            }
        }
    }

    /// What was never synced and is gone as a whole leaves no trace: the log ends there, as after a power cut.
    fn is_like_a_cut(&self, key: &u64) -> bool {
        self.rest.unsynced.contains(key) && self.damage.takes_away()
    }
}

fn lines(log: &str, word: &str) -> String {
    let found: Vec<&str> = log.lines().filter(|line| line.contains(word)).collect();
    found.join("\n")
}
