//! Sizes as people write them in flags: `1048576`, `256MiB`, `1.5G`. Both spellings of the binary units mean the
//! same, as `docker --memory` and Kubernetes users expect: K, Ki, KiB are 1024; kB, MB, GB are powers of ten.

const UNITS: [(&str, u64); 17] = [
    ("", 1),
    ("B", 1),
    ("K", 1 << 10),
    ("Ki", 1 << 10),
    ("KiB", 1 << 10),
    ("M", 1 << 20),
    ("Mi", 1 << 20),
    ("MiB", 1 << 20),
    ("G", 1 << 30),
    ("Gi", 1 << 30),
    ("GiB", 1 << 30),
    ("T", 1 << 40),
    ("Ti", 1 << 40),
    ("TiB", 1 << 40),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Bytes.
///
/// # Errors
/// A sentence that says what is wrong and what would be right.
pub fn parse(text: &str) -> Result<u64, String> {
    let complaint = || format!("{text:?} is not a size; write for example 1048576, 256MiB or 2G");
    let unit_at = text.find(|c: char| !c.is_ascii_digit() && c != '.').unwrap_or(text.len());
    let (number, unit) = text.split_at(unit_at);
    let scale =
        UNITS.iter().find(|(name, _)| *name == unit).map(|(_, scale)| *scale).ok_or_else(complaint)?;
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole: u64 = whole.parse().map_err(|_| complaint())?;
    let bytes = whole.checked_mul(scale).ok_or_else(|| format!("{text:?} is too large a size"))?;
    Ok(bytes.saturating_add(part(fraction, scale).ok_or_else(complaint)?))
}

/// The most digits of a fraction that matter to a tebibyte.
const FRACTION_DIGITS_MAX: usize = 12;

fn part(fraction: &str, scale: u64) -> Option<u64> {
    if fraction.is_empty() {
        return Some(0);
    }
    if fraction.len() > FRACTION_DIGITS_MAX {
        return None;
    }
    let value: u128 = fraction.parse::<u64>().ok()?.into();
    let digits = u32::try_from(fraction.len()).ok()?;
    u64::try_from(value * u128::from(scale) / 10_u128.pow(digits)).ok()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn a_size_is_read_with_and_without_its_unit() {
        for (text, bytes) in [
            ("0", 0),
            ("1048576", 1 << 20),
            ("256MiB", 256 << 20),
            ("64Ki", 64 << 10),
            ("2G", 2 << 30),
            ("1.5K", 1536),
            ("5MB", 5_000_000),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused_with_an_example() {
        for text in ["", "MiB", "-1", "1 G", "1.2.3M", "12mb", "16777216TiB", "5%"] {
            assert!(parse(text).is_err(), "{text}");
        }
        assert!(parse("lots").unwrap_err().contains("256MiB"));
    }
}
