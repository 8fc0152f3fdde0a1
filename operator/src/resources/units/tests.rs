//! Sizes and durations, as read here and as the schema of the CRDs reads them.

use std::time::Duration;

use kube::core::cel::Validator;
use proptest::prelude::*;
use schemars::{JsonSchema, SchemaGenerator};
use serde_json::json;

use super::{ByteSize, GoDuration, flag_text};

#[test]
fn sizes_are_read_as_kubernetes_reads_them() {
    let table = [
        ("0", Some(0)),
        ("1048576", Some(1 << 20)),
        ("1Mi", Some(1 << 20)),
        ("5M", Some(5_000_000)),
        ("2k", Some(2_000)),
        ("1Gi", Some(1 << 30)),
        ("", None),
        ("Mi", None),
        ("1.5Mi", None),
        ("-1", None),
        ("1mb", None),
        ("99999999999999999999", None),
        ("999999999999999Gi", None),
    ];
    for (text, bytes) in table {
        assert_eq!(ByteSize::new(text).bytes(), bytes, "{text:?}");
    }
}

#[test]
fn durations_are_read_as_go_reads_them() {
    let table = [
        ("60s", Some(60_000)),
        ("1m30s", Some(90_000)),
        ("250ms", Some(250)),
        ("1.5h", Some(5_400_000)),
        ("0s", Some(0)),
        ("", None),
        ("60", None),
        ("s", None),
        ("-1s", None),
        ("1d", None),
        (".5s", None),
        ("1.s", None),
        ("1.2.3s", None),
        ("1 s", None),
        ("999999999999h", None),
    ];
    for (text, millis) in table {
        assert_eq!(GoDuration::new(text).duration(), millis.map(Duration::from_millis), "{text:?}");
    }
}

#[test]
fn one_duration_has_one_spelling_as_a_flag() {
    for (text, flag) in
        [("60s", "60s"), ("1m", "60s"), ("0.25s", "250ms"), ("1500us", "1500us"), ("7ns", "7ns")]
    {
        assert_eq!(flag_text(GoDuration::new(text).duration().unwrap()), flag);
    }
}

#[test]
fn a_size_may_be_a_number_or_text() {
    let read = |json: &str| serde_json::from_str::<ByteSize>(json).unwrap();
    assert_eq!(read("1024"), read("\"1024\""));
}

/// Whether the API server would take `text` for a `T`.
fn fits_schema<T: JsonSchema>(text: &str) -> bool {
    let schema = T::json_schema(&mut SchemaGenerator::default());
    let pattern = schema.get("pattern").and_then(|pattern| pattern.as_str()).unwrap();
    let rule = json!({ "rule": format!("self.matches(r'{pattern}')"), "message": "no match" });
    let schema = json!({ "type": "string", "x-kubernetes-validations": [rule] });
    Validator::new().validate(&schema, &json!(text), None).is_ok()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn what_is_read_from_a_file_also_passes_the_api_server(
        size in "[0-9]{0,3}[.-]?(k|M|G|Ki|Mi|Gi|m|T)?",
        duration in "([0-9]{0,3}[.-]?[0-9]{0,2}(ns|us|ms|s|m|h|d)?){0,3}",
    ) {
        prop_assert_eq!(ByteSize::new(size.as_str()).bytes().is_some(), fits_schema::<ByteSize>(&size), "{}", size);
        let is_read = GoDuration::new(duration.as_str()).duration().is_some();
        let fits = fits_schema::<GoDuration>(&duration);
        // A pattern cannot add up: what exceeds the longest duration is refused by the loader alone.
        let is_too_long = duration.split(|c: char| !c.is_ascii_digit()).any(|digits| digits.len() > 6);
        prop_assert!(is_read == fits || (fits && is_too_long), "{}", duration);
    }
}
