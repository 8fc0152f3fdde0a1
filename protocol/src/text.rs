//! How nsqd reads numbers and writes names inside its texts. Whether a name or a number is allowed is not
//! known here.

use std::fmt::Write as _;

/// Reads ASCII digits; `None` when anything else is among them.
// nsqd: wraps around silently beyond 64 bits, and an empty parameter is 0.
pub(crate) fn number(digits: &[u8]) -> Option<u64> {
    digits.iter().try_fold(0u64, |n, byte| {
        let digit = byte.is_ascii_digit().then(|| u64::from(byte - b'0'))?;
        Some(n.wrapping_mul(10).wrapping_add(digit))
    })
}

/// Quotes as Go's `%q` does: control characters escaped, bytes that are not UTF-8 as `\x..`.
pub(crate) fn quote(bytes: &[u8]) -> String {
    let mut out = String::with_capacity(bytes.len() + 2);
    out.push('"');
    for chunk in bytes.utf8_chunks() {
        chunk.valid().chars().for_each(|c| quote_char(&mut out, c));
        chunk.invalid().iter().for_each(|byte| push_escape(&mut out, 'x', 2, u32::from(*byte)));
    }
    out.push('"');
    out
}

/// The bytes as text for an error, with what is not UTF-8 replaced.
// nsqd: echoes the bytes as they came. An error's text is UTF-8 here, for logs as much as for the wire.
pub(crate) fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn quote_char(out: &mut String, c: char) {
    match c {
        '"' => out.push_str("\\\""),
        '\\' => out.push_str("\\\\"),
        '\x07' => out.push_str("\\a"),
        '\x08' => out.push_str("\\b"),
        '\t' => out.push_str("\\t"),
        '\n' => out.push_str("\\n"),
        '\x0b' => out.push_str("\\v"),
        '\x0c' => out.push_str("\\f"),
        '\r' => out.push_str("\\r"),
        ' '..='~' => out.push(c),
        '\0'..='\x7f' => push_escape(out, 'x', 2, u32::from(c)),
        // Rust's own notion of what can be shown stands in for Go's: they differ in a few combining marks.
        _ if c.is_alphanumeric() || c.escape_debug().len() == 1 => out.push(c),
        '\u{80}'..='\u{ffff}' => push_escape(out, 'u', 4, u32::from(c)),
        _ => push_escape(out, 'U', 8, u32::from(c)),
    }
}

fn push_escape(out: &mut String, kind: char, width: usize, value: u32) {
    // Writing to a String cannot fail.
    let _ = write!(out, "\\{kind}{value:0width$x}");
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_digits_and_wrap_around() {
        let cases: &[(&[u8], Option<u64>)] = &[
            (b"", Some(0)),
            (b"0", Some(0)),
            (b"007", Some(7)),
            (b"18446744073709551615", Some(u64::MAX)),
            (b"18446744073709551617", Some(1)),
            (b"-1", None),
            (b"+1", None),
            (b"1.5", None),
            (b" 1", None),
            (b"0x1", None),
        ];
        for (digits, value) in cases {
            assert_eq!(number(digits), *value, "{digits:?}");
        }
    }

    #[test]
    fn quoting_is_that_of_go() {
        let cases: &[(&[u8], &str)] = &[
            (b"a$b", r#""a$b""#),
            (b"a\"b\\", r#""a\"b\\""#),
            (b"\x00\x07\t\x7f", r#""\x00\a\t\x7f""#),
            (b"\xff\xfe", r#""\xff\xfe""#),
            ("\u{e4}\u{4e2d}".as_bytes(), "\"\u{e4}\u{4e2d}\""),
            ("\u{200b}".as_bytes(), r#""\u200b""#),
            ("\u{e0001}".as_bytes(), r#""\U000e0001""#),
        ];
        for (bytes, quoted) in cases {
            assert_eq!(quote(bytes), *quoted);
        }
    }
}
