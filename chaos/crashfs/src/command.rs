//! The commands of the binary as text, for people and scripts; `Mounted` has the same as methods.

use std::str::{FromStr, SplitWhitespace};
use std::time::Duration;

use rustix::io::Errno;

use crate::device::SyncFault;
use crate::state::Mode;

/// What can be told to a mounted crashfs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Command {
    /// `cut none|all|random|ordered SEED`.
    Cut(Mode, u64),
    /// `heal`.
    Heal,
    /// `fail-sync N|all|none`.
    FailSync(SyncFault),
    /// `fail-write ERRNO N`.
    FailWrite(Errno, u64),
    /// `delay-sync MILLISECONDS`.
    DelaySync(Duration),
    /// `space BYTES`.
    Space(u64),
    /// `stats`.
    Stats,
}

const USAGE: &str = "say one of: cut none|all|random|ordered SEED; heal; fail-sync N|all|none; fail-write ERRNO N; \
                     delay-sync MILLISECONDS; space BYTES; stats";

impl FromStr for Command {
    type Err = String;

    fn from_str(line: &str) -> Result<Self, String> {
        let mut words = line.split_whitespace();
        let command =
            parse(&mut words).ok_or_else(|| format!("`{}` is not understood; {USAGE}", line.trim()))?;
        match words.next() {
            None => Ok(command),
            Some(word) => Err(format!("`{word}` is one word too many in `{}`; {USAGE}", line.trim())),
        }
    }
}

fn parse(words: &mut SplitWhitespace<'_>) -> Option<Command> {
    Some(match words.next()? {
        "cut" => Command::Cut(mode(words.next()?)?, number(words)?),
        "heal" => Command::Heal,
        "fail-sync" => Command::FailSync(match words.next()? {
            "all" => SyncFault::All,
            "none" => SyncFault::None,
            nth => SyncFault::Nth(nth.parse().ok().filter(|&nth| nth > 0)?),
        }),
        "fail-write" => Command::FailWrite(errno(words.next()?)?, number(words)?),
        "delay-sync" => Command::DelaySync(Duration::from_millis(number(words)?)),
        "space" => Command::Space(number(words)?),
        "stats" => Command::Stats,
        _ => return None,
    })
}

fn number(words: &mut SplitWhitespace<'_>) -> Option<u64> {
    words.next()?.parse().ok()
}

fn mode(word: &str) -> Option<Mode> {
    Some(match word {
        "none" => Mode::None,
        "all" => Mode::All,
        "random" => Mode::Random,
        "ordered" => Mode::Ordered,
        _ => return None,
    })
}

fn errno(word: &str) -> Option<Errno> {
    Some(match word {
        "EIO" => Errno::IO,
        "ENOSPC" => Errno::NOSPC,
        "EDQUOT" => Errno::DQUOT,
        "EROFS" => Errno::ROFS,
        "EINTR" => Errno::INTR,
        "EFBIG" => Errno::FBIG,
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_read_from_words() {
        let check = |line: &str, wanted: Option<Command>| {
            assert_eq!(line.parse::<Command>().ok(), wanted, "{line}");
        };
        check("cut none 7", Some(Command::Cut(Mode::None, 7)));
        check(" cut  ordered 18446744073709551615\n", Some(Command::Cut(Mode::Ordered, u64::MAX)));
        check("heal", Some(Command::Heal));
        check("fail-sync 3", Some(Command::FailSync(SyncFault::Nth(3))));
        check("fail-sync all", Some(Command::FailSync(SyncFault::All)));
        check("fail-write EDQUOT 1", Some(Command::FailWrite(Errno::DQUOT, 1)));
        check("delay-sync 20", Some(Command::DelaySync(Duration::from_millis(20))));
        check("space 4096", Some(Command::Space(4096)));
        check("stats", Some(Command::Stats));
        for bad in
            ["", "cut", "cut none", "cut most 1", "heal now", "fail-sync 0", "fail-write EWHAT 1", "space -1"]
        {
            check(bad, None);
        }
    }

    #[test]
    fn a_command_that_is_not_understood_is_told_the_choices() {
        let error = "cutt none 1".parse::<Command>().unwrap_err();
        assert!(error.contains("`cutt none 1`") && error.contains("heal"), "{error}");
    }
}
