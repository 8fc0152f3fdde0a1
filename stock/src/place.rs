//! How far a queue was read and written: the text of `NAME.diskqueue.meta.dat`.

use std::fmt;

/// Files by number, and bytes from their beginnings.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Place {
    /// How many messages were left, in stock's count: wrong after a crash, even negative.
    pub depth: i64,
    /// The file being read.
    pub read_file: u64,
    /// The first byte of it that was not delivered.
    pub read_at: u64,
    /// The file being written.
    pub write_file: u64,
    /// Behind the last byte that was written when this was noted.
    pub write_at: u64,
}

impl Place {
    /// Read the text of a file; `None` if it is none, such as one that was torn.
    pub fn parse(bytes: &[u8]) -> Option<Self> {
        let text = std::str::from_utf8(bytes).ok()?;
        let mut lines = text.lines();
        let depth = lines.next()?.trim().parse().ok()?;
        let (read_file, read_at) = pair(lines.next()?)?;
        let (write_file, write_at) = pair(lines.next()?)?;
        // The last line ends in a line feed: without it the last number may be cut short.
        text.ends_with('\n').then_some(Self { depth, read_file, read_at, write_file, write_at })
    }
}

impl fmt::Display for Place {
    /// As stock writes it.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { depth, read_file, read_at, write_file, write_at } = self;
        write!(f, "{depth}\n{read_file},{read_at}\n{write_file},{write_at}\n")
    }
}

fn pair(line: &str) -> Option<(u64, u64)> {
    let (file, at) = line.split_once(',')?;
    Some((file.trim().parse().ok()?, at.trim().parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_read_and_written_as_stock_does() {
        let place = Place { depth: -99, read_file: 1, read_at: 2, write_file: 30, write_at: 1_048_637 };
        assert_eq!(place.to_string(), "-99\n1,2\n30,1048637\n");
        assert_eq!(Place::parse(place.to_string().as_bytes()), Some(place));
    }

    #[test]
    fn a_torn_or_foreign_text_is_no_place() {
        let text = "2\n0,0\n0,1048637\n";
        for cut in 0..text.len() {
            assert_eq!(Place::parse(&text.as_bytes()[..cut]), None, "cut at {cut}");
        }
        for bytes in
            [&b"\0\0\0\0"[..], b"x\n0,0\n0,0\n", b"1\n0 0\n0,0\n", b"1\n0,-1\n0,0\n", b"\xff\n0,0\n0,0\n"]
        {
            assert_eq!(Place::parse(bytes), None, "{bytes:?}");
        }
    }
}
