//! Go's text form of a duration, which flags, config files and `/stats` use: `1h0m0s`, `250ms`, `1.5s`.
//! A length is never negative; [`parse_signed`] is for what NSQ's flags take nevertheless.

use std::time::Duration;

/// Reads Go's form. A bare number is refused as Go does, because nobody can tell its unit; `0` is the
/// exception.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn parse(text: &str) -> Result<Duration, String> {
    let nanos = parse_signed(text)?;
    let length = u64::try_from(nanos).ok().map(Duration::from_nanos);
    length.ok_or_else(|| format!("{text:?} is negative"))
}

/// Reads Go's form, also with a minus: nanoseconds.
///
/// # Errors
/// As `parse`, but for what is negative.
pub fn parse_signed(text: &str) -> Result<i64, String> {
    let (is_negative, mut rest) = match text.split_at_checked(1) {
        Some(("-", rest)) => (true, rest),
        Some(("+", rest)) => (false, rest),
        _ => (false, text),
    };
    if rest == "0" {
        return Ok(0);
    }
    if rest.is_empty() {
        return Err(format!("{text:?} is not a duration; write for example 250ms, 1.5s or 1h0m0s"));
    }
    let mut total: u128 = 0;
    while !rest.is_empty() {
        let (nanos, after) = term(rest).ok_or_else(|| complaint(text))?;
        total = total.saturating_add(nanos);
        rest = after;
    }
    // nsqd: a Go duration is an i64 of nanoseconds, about 292 years.
    let nanos = i64::try_from(total).ok().map(|nanos| if is_negative { -nanos } else { nanos });
    nanos.ok_or_else(|| format!("{text:?} is too long a time (at most 292 years)"))
}

/// Writes Go's form, so that `format` of what `parse` read reads the same again.
pub fn format(duration: Duration) -> String {
    let nanos = duration.as_nanos();
    if nanos == 0 {
        return "0s".to_owned();
    }
    if nanos < 1_000 {
        return format!("{nanos}ns");
    }
    if nanos < 1_000_000 {
        return format!("{}\u{b5}s", decimal(nanos, 1_000, 3));
    }
    if nanos < SECOND {
        return format!("{}ms", decimal(nanos, 1_000_000, 6));
    }
    let (minutes, rest) = (nanos / MINUTE, nanos % MINUTE);
    let seconds = decimal(rest, SECOND, 9);
    match (minutes / 60, minutes % 60) {
        (0, 0) => format!("{seconds}s"),
        (0, minutes) => format!("{minutes}m{seconds}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{seconds}s"),
    }
}

const SECOND: u128 = 1_000_000_000;
const MINUTE: u128 = 60 * SECOND;
const UNITS: [(&str, u128); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("\u{b5}s", 1_000),
    ("\u{3bc}s", 1_000),
    ("ms", 1_000_000),
    ("s", SECOND),
    ("m", MINUTE),
    ("h", 60 * MINUTE),
];

/// One `1.5h` at the front: its nanoseconds and what follows.
fn term(text: &str) -> Option<(u128, &str)> {
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.')?;
    let (number, rest) = text.split_at(unit_at);
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    if (whole.is_empty() && fraction.is_empty()) || fraction.contains('.') {
        return None;
    }
    let unit_end = rest.find(|c: char| c.is_ascii_digit() || c == '.').unwrap_or(rest.len());
    let (unit, after) = rest.split_at(unit_end);
    let scale = UNITS.iter().find(|(name, _)| *name == unit)?.1;
    let mut nanos = digits(whole)?.saturating_mul(scale);
    let mut place = scale;
    for digit in fraction.bytes() {
        // Digits finer than a nanosecond fall away, as in Go.
        place /= 10;
        nanos = nanos.saturating_add(u128::from(digit - b'0') * place);
    }
    Some((nanos, after))
}

fn digits(text: &str) -> Option<u128> {
    if text.is_empty() { Some(0) } else { text.parse().ok() }
}

fn complaint(text: &str) -> String {
    if text.bytes().all(|b| b.is_ascii_digit() || b == b'.') {
        return format!("{text:?} lacks a unit; write for example {text}ms or {text}s");
    }
    format!("{text:?} is not a duration; write for example 250ms, 1.5s or 1h0m0s")
}

fn decimal(nanos: u128, unit: u128, places: usize) -> String {
    let (whole, fraction) = (nanos / unit, nanos % unit);
    if fraction == 0 {
        return whole.to_string();
    }
    let text = format!("{whole}.{fraction:0places$}");
    text.trim_end_matches('0').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_reads(text: &str, nanos: u128) {
        assert_eq!(parse(text).map(|d| d.as_nanos()), Ok(nanos), "{text}");
    }

    #[test]
    fn go_forms_are_read() {
        check_reads("250ms", 250_000_000);
        check_reads("1.5s", 1_500_000_000);
        check_reads("1h0m0s", 3600 * SECOND);
        check_reads("1h2m3.5s", 3723 * SECOND + 500_000_000);
        check_reads(".5m", 30 * SECOND);
        check_reads("2.s", 2 * SECOND);
        check_reads("+3us", 3_000);
        check_reads("3\u{b5}s", 3_000);
        check_reads("1.0000000009s", SECOND);
        check_reads("0", 0);
        check_reads("0s", 0);
    }

    #[test]
    fn other_forms_are_refused_with_advice() {
        for (text, part) in [
            ("60", "lacks a unit"),
            ("1.5", "lacks a unit"),
            ("-1s", "negative"),
            ("", "not a duration"),
            ("+", "not a duration"),
            ("s", "not a duration"),
            (".s", "not a duration"),
            ("1..5s", "not a duration"),
            ("1s5", "not a duration"),
            ("5 s", "not a duration"),
            ("1d", "not a duration"),
            ("9999999999h", "too long"),
            ("99999999999999999999999999999999999999999999h", "not a duration"),
        ] {
            let error = parse(text).expect_err(text);
            assert!(error.contains(part), "{text}: {error}");
        }
    }

    #[test]
    fn a_minus_is_read_where_it_is_taken() {
        for (text, nanos) in [("-1s", -1_000_000_000), ("-0", 0), ("-0s", 0), ("1ms", 1_000_000)] {
            assert_eq!(parse_signed(text), Ok(nanos), "{text}");
        }
        for text in ["-", "--1s", "-+1s", "-1", "-9999999999h"] {
            parse_signed(text).expect_err(text);
        }
    }

    #[test]
    fn go_form_is_written() {
        for text in [
            "0s",
            "1ns",
            "1.5\u{b5}s",
            "250ms",
            "1.5s",
            "10s",
            "1m0s",
            "15m0s",
            "1h0m0s",
            "26h3m0.000000001s",
        ] {
            assert_eq!(parse(text).map(format), Ok(text.to_owned()));
        }
    }
}
