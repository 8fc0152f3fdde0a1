//! A page of `/metrics`: families of figures with their labels, written as OpenMetrics text. Which figures there
//! are is each daemon's business; distributions are in `metrics/histogram`, the process in `metrics/process`.

mod histogram;
pub mod process;

use axum::http::HeaderMap;
use axum::http::header::{ACCEPT, CONTENT_TYPE};
use axum::response::{IntoResponse, Response};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text::encode;
use prometheus_client::encoding::{DescriptorEncoder, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Registry;

pub use histogram::{Bounds, Distribution, Histogram, LONG, SHORT, SharedHistogram};

/// What a family's figures are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only rises; its samples are named `<name>_total`.
    Counter,
    /// Rises and falls.
    Gauge,
    /// How durations are spread.
    Histogram,
}

/// A name and all that is said about it. Every family of a page is shown, also one without samples.
#[derive(Debug, Clone, Copy)]
pub struct Family {
    /// Without `_total`.
    pub name: &'static str,
    /// What its figures are.
    pub kind: Kind,
    /// Names of its labels, in the order in which samples give their values.
    pub labels: &'static [&'static str],
    /// One line for people.
    pub help: &'static str,
}

/// A figure.
#[derive(Debug, Clone)]
pub enum Value {
    /// A count.
    Count(u64),
    /// Anything else.
    Number(f64),
    /// Durations.
    Spread(Distribution),
}

impl From<u64> for Value {
    fn from(count: u64) -> Self {
        Self::Count(count)
    }
}

impl From<usize> for Value {
    fn from(count: usize) -> Self {
        Self::Count(count as u64)
    }
}

impl From<bool> for Value {
    fn from(is_so: bool) -> Self {
        Self::Count(u64::from(is_so))
    }
}

impl From<f64> for Value {
    fn from(number: f64) -> Self {
        Self::Number(number)
    }
}

impl From<Distribution> for Value {
    fn from(spread: Distribution) -> Self {
        Self::Spread(spread)
    }
}

/// The samples of one family.
#[derive(Debug)]
pub struct Samples {
    family: Family,
    samples: Vec<(Vec<String>, Value)>,
}

impl Samples {
    /// One figure, with a value for each of the family's labels.
    pub fn add(&mut self, labels: &[&str], value: impl Into<Value>) {
        self.samples.push((labels.iter().map(|&label| label.to_owned()).collect(), value.into()));
    }

    fn encode(&self, mut encoder: MetricEncoder<'_>) -> std::fmt::Result {
        for (labels, value) in &self.samples {
            if labels.is_empty() {
                write_value(&mut encoder, self.family.kind, value)?;
                continue;
            }
            let values = labels.iter().map(String::as_str);
            let set: Vec<(&str, &str)> = self.family.labels.iter().copied().zip(values).collect();
            write_value(&mut encoder.encode_family(&set)?, self.family.kind, value)?;
        }
        Ok(())
    }
}

fn write_value(encoder: &mut MetricEncoder<'_>, kind: Kind, value: &Value) -> std::fmt::Result {
    match (kind, value) {
        (Kind::Counter, Value::Count(count)) => encoder.encode_counter::<NoLabelSet, _, u64>(count, None),
        (Kind::Counter, Value::Number(number)) => encoder.encode_counter::<NoLabelSet, _, u64>(number, None),
        (_, Value::Count(count)) => encoder.encode_gauge(count),
        (_, Value::Number(number)) => encoder.encode_gauge(number),
        (_, Value::Spread(spread)) => {
            encoder.encode_histogram::<NoLabelSet>(spread.sum, spread.count, &spread.buckets, None)
        }
    }
}

/// A page under construction.
#[derive(Debug, Default)]
pub struct Exposition(Vec<Samples>);

impl Exposition {
    /// Where the samples of this family go. Families stand in the order in which they are first asked for.
    pub fn family(&mut self, family: &Family) -> &mut Samples {
        let at = self.0.iter().position(|samples| samples.family.name == family.name);
        let at = at.unwrap_or_else(|| {
            self.0.push(Samples { family: *family, samples: Vec::new() });
            self.0.len() - 1
        });
        #[expect(clippy::indexing_slicing, reason = "the place was found or made in the lines above")]
        &mut self.0[at]
    }

    /// A family of one figure without labels.
    pub fn single(&mut self, family: &Family, value: impl Into<Value>) {
        self.family(family).add(&[], value);
    }

    /// How many time series it has: a histogram has one for each bucket, its sum and its count.
    pub fn series(&self) -> usize {
        let of = |value: &Value| if let Value::Spread(spread) = value { spread.series() } else { 1 };
        self.0.iter().flat_map(|samples| &samples.samples).map(|(_, value)| of(value)).sum()
    }

    /// The answer to a scrape: OpenMetrics for those who ask for it, as Prometheus does, else its older text form.
    pub fn answer(self, asked: &HeaderMap) -> Response {
        let mut accepts = asked.get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        if accepts.any(|accept| accept.contains("application/openmetrics-text")) {
            return ([(CONTENT_TYPE, OPEN_METRICS)], self.open_metrics()).into_response();
        }
        ([(CONTENT_TYPE, PLAIN)], self.text()).into_response()
    }

    /// In Prometheus' older form, which names a counter by its sample.
    pub fn text(self) -> String {
        let counters: Vec<_> =
            self.0.iter().map(|samples| samples.family).filter(|one| one.kind == Kind::Counter).collect();
        let mut text = String::new();
        for line in self.open_metrics().lines().filter(|line| *line != "# EOF") {
            let mut words = line.splitn(4, ' ');
            let head = (words.next(), words.next(), words.next(), words.next());
            match head {
                (Some("#"), Some(word), Some(name), Some(rest))
                    if counters.iter().any(|one| one.name == name) =>
                {
                    text.extend(["# ", word, " ", name, "_total ", rest]);
                }
                _ => text.push_str(line),
            }
            text.push('\n');
        }
        text
    }

    /// As OpenMetrics text.
    pub fn open_metrics(self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(self));
        let mut text = String::new();
        // Writing to a string cannot fail.
        let _infallible = encode(&mut text, &registry);
        text
    }
}

impl Collector for Exposition {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> std::fmt::Result {
        for samples in &self.0 {
            let kind = match samples.family.kind {
                Kind::Counter => MetricType::Counter,
                Kind::Gauge => MetricType::Gauge,
                Kind::Histogram => MetricType::Histogram,
            };
            let family = &samples.family;
            samples.encode(encoder.encode_descriptor(family.name, family.help, None, kind)?)?;
        }
        Ok(())
    }
}

const PLAIN: &str = "text/plain; version=0.0.4; charset=utf-8";
const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    const FAMILY: Family =
        Family { name: "nsq_things", kind: Kind::Counter, labels: &["a", "b"], help: "things seen" };

    #[test]
    fn a_page_reads_as_open_metrics() {
        let mut page = Exposition::default();
        page.family(&FAMILY).add(&["x", "q\"\\\n"], 3_u64);
        page.single(&Family { name: "nsq_level", kind: Kind::Gauge, labels: &[], help: "how high" }, 1.5);
        assert_eq!(page.series(), 2);
        assert_eq!(
            page.open_metrics(),
            "# HELP nsq_things things seen\n# TYPE nsq_things counter\n\
             nsq_things_total{a=\"x\",b=\"q\\\"\\\\\\n\"} 3\n\
             # HELP nsq_level how high\n# TYPE nsq_level gauge\nnsq_level 1.5\n# EOF\n"
        );
    }

    #[test]
    fn a_family_without_samples_is_shown_all_the_same() {
        let mut page = Exposition::default();
        page.family(&FAMILY);
        assert_eq!(page.text(), "# HELP nsq_things_total things seen\n# TYPE nsq_things_total counter\n");
    }

    #[test]
    fn a_histogram_has_cumulative_buckets_up_to_infinity() {
        let mut histogram = Histogram::new(SHORT);
        for ms in [1, 1, 300, 60_000] {
            histogram.record(Duration::from_millis(ms));
        }
        let mut page = Exposition::default();
        let family = Family { name: "nsq_t_seconds", kind: Kind::Histogram, labels: &[], help: "time" };
        page.single(&family, histogram.snapshot());
        let text = page.text();
        for line in [
            "nsq_t_seconds_sum 60.302\n",
            "nsq_t_seconds_count 4\n",
            "nsq_t_seconds_bucket{le=\"0.0005\"} 0\n",
            "nsq_t_seconds_bucket{le=\"0.001\"} 2\n",
            "nsq_t_seconds_bucket{le=\"0.5\"} 3\n",
            "nsq_t_seconds_bucket{le=\"10.0\"} 3\n",
            "nsq_t_seconds_bucket{le=\"+Inf\"} 4\n",
        ] {
            assert!(text.contains(line), "no {line:?} in\n{text}");
        }
    }
}
