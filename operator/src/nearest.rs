//! The word somebody meant: what a misspelled field, kind or name is closest to.

/// Below this likeness a suggestion confuses more than it helps; `replcas` is 0.97 like `replicas`,
/// `msgTimeout` 0.86 like `messageTimeout`, `topics` 0.62 like `brokers`.
const LIKENESS_MIN: f64 = 0.8;

/// The word closest to `given`, if any is close. Case and dashes do not count: `mem-queue-size` is
/// `memQueueSize`.
pub(crate) fn nearest<'a>(given: &str, words: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let plain = |word: &str| word.replace(['-', '_'], "").to_ascii_lowercase();
    let given = plain(given);
    let likeness = |word: &str| strsim::jaro_winkler(&given, &plain(word));
    let scored =
        words.into_iter().map(|word| (likeness(word), word)).filter(|(score, _)| *score >= LIKENESS_MIN);
    scored.max_by(|(a, _), (b, _)| a.total_cmp(b)).map(|(_, word)| word)
}

#[cfg(test)]
mod tests {
    use super::nearest;

    #[test]
    fn a_misspelled_word_finds_the_one_that_was_meant() {
        let words = ["replicas", "config", "memQueueSize", "messageTimeout", "maxMessageTimeout"];
        let table = [
            ("replcas", Some("replicas")),
            ("Replicas", Some("replicas")),
            ("mem-queue-size", Some("memQueueSize")),
            ("msgTimeout", Some("messageTimeout")),
            ("configs", Some("config")),
            ("storage", None),
            ("", None),
        ];
        for (given, expected) in table {
            assert_eq!(nearest(given, words), expected, "{given}");
        }
    }
}
