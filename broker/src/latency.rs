//! End-to-end processing latency, from publish to FIN, as `/stats` and statsd show it: quantiles over a window of
//! time. Nothing of this exists unless quantiles were asked for. Pure: the time is an argument.

use std::time::Duration;

use queue::Instant;
use serde::Serialize;
use sketches_ddsketch::{Config, DDSketch};

/// What a quantile may be off by, of its own value.
const ERROR: f64 = 0.01;

/// Bins of a sketch at most: enough for a nanosecond to a year at that error.
const BINS_MAX: u32 = 2048;

/// Which quantiles are shown, and over how long.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Quantiles {
    /// Above 0 and at most 1, the highest first.
    pub wanted: Vec<f64>,
    /// How far back they reach: this at most, half of it at least.
    pub window: Duration,
}

impl Quantiles {
    /// From the options; none if none are asked for.
    ///
    /// # Errors
    /// The first that is no quantile.
    pub(crate) fn parse(texts: &[String], window: Duration) -> Result<Option<Self>, String> {
        let mut wanted = texts.iter().map(|text| parse(text)).collect::<Result<Vec<_>, _>>()?;
        wanted.sort_by(|a, b| b.total_cmp(a));
        Ok((!wanted.is_empty()).then_some(Self { wanted, window }))
    }
}

fn parse(text: &str) -> Result<f64, String> {
    let quantile = text.trim().parse::<f64>().ok().filter(|quantile| *quantile > 0.0 && *quantile <= 1.0);
    quantile.ok_or_else(|| {
        format!("--e2e-processing-latency-percentile={text}: must be above 0 and at most 1, such as 0.99")
    })
}

/// The latencies of one channel: two sketches that take turns, so that the older half can be forgotten at once.
pub(crate) struct Latencies {
    half: u64,
    turns_at: Instant,
    current: DDSketch,
    previous: DDSketch,
}

impl Latencies {
    /// None yet.
    pub(crate) fn new(window: Duration, now: Instant) -> Self {
        let half = u64::try_from(window.as_nanos() / 2).unwrap_or(u64::MAX).max(1);
        Self { half, turns_at: Instant(now.0.saturating_add(half)), current: sketch(), previous: sketch() }
    }

    /// A message was finished so long after its publish.
    pub(crate) fn record(&mut self, took: Duration, now: Instant) {
        self.turn(now);
        self.current.add(took.as_nanos() as f64);
    }

    /// All that is within the window.
    pub(crate) fn merged(&mut self, now: Instant) -> DDSketch {
        self.turn(now);
        merge([&self.current, &self.previous])
    }

    fn turn(&mut self, now: Instant) {
        if now < self.turns_at {
            return;
        }
        let halves = (now.0 - self.turns_at.0) / self.half + 1;
        let current = std::mem::replace(&mut self.current, sketch());
        // After a whole window of silence both are too old.
        self.previous = if halves == 1 { current } else { sketch() };
        self.turns_at = Instant(self.turns_at.0.saturating_add(halves.saturating_mul(self.half)));
    }
}

impl std::fmt::Debug for Latencies {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let counts = (self.current.count(), self.previous.count());
        f.debug_struct("Latencies").field("turns_at", &self.turns_at).field("counts", &counts).finish()
    }
}

/// A channel's sketches, or a topic's channels, as one.
pub(crate) fn merge<'a>(parts: impl IntoIterator<Item = &'a DDSketch>) -> DDSketch {
    let mut all = sketch();
    for part in parts {
        // Fails only for sketches of another error, and all have the same.
        let _same_config = all.merge(part);
    }
    all
}

fn sketch() -> DDSketch {
    DDSketch::new(Config::new(ERROR, BINS_MAX, 1.0))
}

/// As `/stats` shows it; nsqd: null as long as no quantiles are asked for.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the JSON keys of NSQ's API")]
pub(crate) struct Latency {
    pub count: u64,
    pub percentiles: Option<Vec<Percentile>>,
}

/// One quantile; the value is in nanoseconds.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[allow(missing_docs, reason = "the names are the JSON keys of NSQ's API")]
pub(crate) struct Percentile {
    pub quantile: f64,
    pub value: f64,
}

impl Latency {
    /// What a sketch says of the quantiles that are asked for; 0 while nothing was finished.
    pub(crate) fn of(sketch: &DDSketch, quantiles: &Quantiles) -> Self {
        let percentile = |quantile: &f64| {
            let value = sketch.quantile(*quantile).ok().flatten().unwrap_or(0.0);
            Percentile { quantile: *quantile, value }
        };
        let percentiles = quantiles.wanted.iter().map(percentile).collect();
        Self { count: sketch.count() as u64, percentiles: Some(percentiles) }
    }

    /// The list in the text form of `/stats`, such as `420.6us, 13.5s`.
    pub(crate) fn text(&self) -> String {
        let texts: Vec<_> = self.percentiles.iter().flatten().map(|one| for_people(one.value)).collect();
        texts.join(", ")
    }
}

fn for_people(ns: f64) -> String {
    // nsqd: the next unit begins above a thousand, not at it.
    for (above, unit) in [(1e9, "s"), (1e6, "ms"), (1e3, "us")] {
        if ns > above {
            return format!("{:.1}{unit}", ns / above);
        }
    }
    format!("{ns:.1}ns")
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: u64 = 60_000_000_000;

    fn quantiles(texts: &[&str]) -> Result<Option<Quantiles>, String> {
        let texts: Vec<_> = texts.iter().map(|&text| text.to_owned()).collect();
        Quantiles::parse(&texts, Duration::from_secs(600))
    }

    fn at(minutes: u64) -> Instant {
        Instant(minutes * MINUTE)
    }

    #[test]
    fn quantiles_are_above_0_and_at_most_1_and_shown_from_the_highest() {
        assert_eq!(quantiles(&[]).unwrap(), None);
        let wanted = quantiles(&["0.5", "1", " 0.99", "1.0"]).unwrap().unwrap().wanted;
        assert_eq!(wanted, [1.0, 1.0, 0.99, 0.5]);
        for bad in ["0", "-0.1", "1.01", "99", "NaN", "inf", "x", ""] {
            assert!(quantiles(&["0.5", bad]).unwrap_err().contains("above 0 and at most 1"), "{bad:?}");
        }
    }

    #[test]
    fn quantiles_are_within_a_hundredth_of_the_truth() {
        let mut latencies = Latencies::new(Duration::from_secs(600), at(0));
        for us in 1..=10_000 {
            latencies.record(Duration::from_micros(us), at(1));
        }
        let wanted = quantiles(&["0.5", "0.99", "0.999", "1"]).unwrap().unwrap();
        let shown = Latency::of(&latencies.merged(at(1)), &wanted);
        assert_eq!(shown.count, 10_000);
        for one in shown.percentiles.unwrap() {
            let truth = one.quantile * 1e7;
            assert!((one.value - truth).abs() <= truth * 0.0102, "{one:?}");
        }
    }

    #[test]
    fn what_is_older_than_the_window_is_forgotten_and_half_of_it_is_kept() {
        let mut latencies = Latencies::new(Duration::from_secs(600), at(0));
        latencies.record(Duration::from_secs(1), at(4));
        latencies.record(Duration::from_secs(2), at(6));
        let mut count = |minutes| latencies.merged(at(minutes)).count();
        assert_eq!(count(9), 2);
        assert_eq!(count(10), 1, "the first half is over");
        assert_eq!(count(14), 1);
        assert_eq!(count(15), 0);
        latencies.record(Duration::from_secs(3), at(16));
        assert_eq!(latencies.merged(at(100)).count(), 0, "after a long silence nothing is left");
    }

    #[test]
    fn a_clock_that_stands_still_at_the_end_of_time_does_no_harm() {
        let mut latencies = Latencies::new(Duration::ZERO, Instant(0));
        latencies.record(Duration::MAX, Instant(u64::MAX));
        assert!(latencies.merged(Instant(u64::MAX)).count() <= 1);
    }

    #[test]
    fn channels_add_up_and_no_message_is_a_zero() {
        let mut one = Latencies::new(Duration::from_secs(600), at(0));
        let mut other = Latencies::new(Duration::from_secs(600), at(0));
        one.record(Duration::from_millis(1), at(1));
        other.record(Duration::from_millis(9), at(1));
        let both = merge([&one.merged(at(1)), &other.merged(at(1))]);
        assert_eq!(both.count(), 2);
        let wanted = quantiles(&["1"]).unwrap().unwrap();
        let nothing = Latency::of(&merge([]), &wanted);
        assert_eq!(
            serde_json::to_string(&nothing).unwrap(),
            r#"{"count":0,"percentiles":[{"quantile":1.0,"value":0.0}]}"#
        );
        assert_eq!(serde_json::to_string(&Latency::default()).unwrap(), r#"{"count":0,"percentiles":null}"#);
    }

    #[test]
    fn people_read_units() {
        for (ns, text) in
            [(0.0, "0.0ns"), (999.0, "999.0ns"), (420_600.0, "420.6us"), (2e6, "2.0ms"), (13.5e9, "13.5s")]
        {
            assert_eq!(for_people(ns), text);
        }
    }
}
