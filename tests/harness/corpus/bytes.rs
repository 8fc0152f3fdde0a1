//! The little language of the corpus for bytes and frames: `line "PUB t" body repeat "x" 1025`, and
//! `ok, error "E_INVALID ...", closed`.

use std::iter::Peekable;
use std::str::Chars;

/// What must come back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Expected {
    /// Frame type 0, as a pattern in which `<any>` stands for anything.
    Response(Vec<u8>),
    /// Frame type 1, likewise.
    Error(Vec<u8>),
    /// Frame type 2 with this body and number of attempts; its id gets a name.
    Message { body: Vec<u8>, attempts: u16, id: Option<String> },
    /// The daemon closes, and has sent nothing more.
    Closed,
    /// The connection still works, and nothing more came.
    Open,
}

/// The bytes of a `send:` line.
///
/// # Errors
/// What is wrong with the text.
pub fn bytes(text: &str) -> Result<Vec<u8>, String> {
    let mut words = Words::new(text)?;
    let bytes = words.bytes()?;
    words.end()?;
    Ok(bytes)
}

/// The frames of an `expect:` line.
pub(super) fn frames(text: &str) -> Result<Vec<Expected>, String> {
    let mut words = Words::new(text)?;
    let mut frames = Vec::new();
    loop {
        let frame = words.frame()?;
        let count = if words.take_if(&Word::Plain("*".to_owned())) { words.number()? } else { 1 };
        frames.extend((0..count).map(|_| frame.clone()));
        if !words.take_if(&Word::Plain(",".to_owned())) {
            break;
        }
    }
    words.end()?;
    Ok(frames)
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Word {
    Text(Vec<u8>),
    Plain(String),
}

struct Words {
    words: Peekable<std::vec::IntoIter<Word>>,
}

impl Words {
    fn new(text: &str) -> Result<Self, String> {
        let mut chars = text.chars().peekable();
        let mut words = Vec::new();
        while let Some(&next) = chars.peek() {
            match next {
                ' ' => {
                    chars.next();
                }
                '"' | '`' => words.push(Word::Text(quoted(&mut chars)?)),
                ',' | '(' | ')' => {
                    chars.next();
                    words.push(Word::Plain(next.to_string()));
                }
                _ => words.push(Word::Plain(plain(&mut chars))),
            }
        }
        Ok(Self { words: words.into_iter().peekable() })
    }

    fn take_if(&mut self, word: &Word) -> bool {
        self.words.next_if_eq(word).is_some()
    }

    fn end(mut self) -> Result<(), String> {
        self.words.next().map_or(Ok(()), |word| Err(format!("{word:?} is one too much")))
    }

    /// All items up to a comma, a closing parenthesis or the end.
    fn bytes(&mut self) -> Result<Vec<u8>, String> {
        let mut bytes = Vec::new();
        while let Some(word) = self.words.peek() {
            if matches!(word, Word::Plain(word) if [",", ")", "*", "as", "attempts"].contains(&word.as_str()))
            {
                break;
            }
            bytes.extend(self.item()?);
        }
        Ok(bytes)
    }

    fn item(&mut self) -> Result<Vec<u8>, String> {
        let verb = match self.words.next() {
            Some(Word::Text(bytes)) => return Ok(bytes),
            Some(Word::Plain(verb)) => verb,
            None => return Err("bytes are missing".to_owned()),
        };
        match verb.as_str() {
            "line" => Ok([self.item()?, b"\n".to_vec()].concat()),
            "body" => Ok(sized(&self.item()?)),
            "u16" => Ok((self.number()? as u16).to_be_bytes().to_vec()),
            "u32" => Ok((self.number()? as u32).to_be_bytes().to_vec()),
            "repeat" => {
                let item = self.item()?;
                let count = usize::try_from(self.number()?).map_err(|error| error.to_string())?;
                Ok(item.repeat(count))
            }
            "batch" => self.batch(),
            "(" => {
                let bytes = self.bytes()?;
                self.close().map(|()| bytes)
            }
            _ => Err(format!("`{verb}` is no item")),
        }
    }

    /// `batch ("a" "b")`: what follows the line of an MPUB.
    fn batch(&mut self) -> Result<Vec<u8>, String> {
        if !self.take_if(&Word::Plain("(".to_owned())) {
            return Err("batch needs parentheses".to_owned());
        }
        let (mut count, mut messages) = (0_u32, Vec::new());
        while self.words.peek().is_some_and(|word| *word != Word::Plain(")".to_owned())) {
            messages.extend(sized(&self.item()?));
            count += 1;
        }
        self.close()?;
        Ok(sized(&[&count.to_be_bytes(), messages.as_slice()].concat()))
    }

    fn close(&mut self) -> Result<(), String> {
        if self.take_if(&Word::Plain(")".to_owned())) { Ok(()) } else { Err("`)` is missing".to_owned()) }
    }

    /// Negative ones are sent as their two's complement.
    fn number(&mut self) -> Result<i64, String> {
        match self.words.next() {
            Some(Word::Plain(digits)) => digits.parse().map_err(|error| format!("{digits}: {error}")),
            other => Err(format!("a number is missing at {other:?}")),
        }
    }

    fn frame(&mut self) -> Result<Expected, String> {
        let Some(Word::Plain(kind)) = self.words.next() else { return Err("a frame is missing".to_owned()) };
        match kind.as_str() {
            "ok" => Ok(Expected::Response(b"OK".to_vec())),
            "heartbeat" => Ok(Expected::Response(b"_heartbeat_".to_vec())),
            "response" => Ok(Expected::Response(self.bytes()?)),
            "error" => Ok(Expected::Error(self.bytes()?)),
            "closed" => Ok(Expected::Closed),
            "open" => Ok(Expected::Open),
            "message" => self.message(),
            _ => Err(format!("`{kind}` is no frame")),
        }
    }

    fn message(&mut self) -> Result<Expected, String> {
        let (body, mut attempts, mut id) = (self.bytes()?, 1, None);
        if self.take_if(&Word::Plain("attempts".to_owned())) {
            attempts = u16::try_from(self.number()?).map_err(|error| error.to_string())?;
        }
        if self.take_if(&Word::Plain("as".to_owned())) {
            let Some(Word::Plain(name)) = self.words.next() else { return Err("as what?".to_owned()) };
            id = Some(name);
        }
        Ok(Expected::Message { body, attempts, id })
    }
}

fn sized(bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(bytes.len()).unwrap_or(u32::MAX);
    [&length.to_be_bytes(), bytes].concat()
}

fn plain(chars: &mut Peekable<Chars<'_>>) -> String {
    let mut word = String::new();
    while let Some(next) = chars.next_if(|next| !" ,()\"`".contains(*next)) {
        word.push(next);
    }
    word
}

/// In double quotes with `\n \r \t \\ \" \xNN`, or between backticks as it stands.
fn quoted(chars: &mut Peekable<Chars<'_>>) -> Result<Vec<u8>, String> {
    let mark = chars.next();
    let mut bytes = Vec::new();
    loop {
        match chars.next() {
            None => return Err("a quote has no end".to_owned()),
            next if next == mark => return Ok(bytes),
            Some('\\') if mark == Some('"') => bytes.push(escaped(chars)?),
            Some(next) => bytes.extend_from_slice(next.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
}

fn escaped(chars: &mut Peekable<Chars<'_>>) -> Result<u8, String> {
    match chars.next() {
        Some('n') => Ok(b'\n'),
        Some('r') => Ok(b'\r'),
        Some('t') => Ok(b'\t'),
        Some(mark @ ('"' | '\\')) => Ok(mark as u8),
        Some('x') => {
            let digits: String = chars.take(2).collect();
            u8::from_str_radix(&digits, 16).map_err(|error| format!("\\x{digits}: {error}"))
        }
        other => Err(format!("\\{other:?} is no escape")),
    }
}

#[test]
fn the_language_of_the_corpus_says_bytes_and_frames() {
    assert_eq!(bytes(r#"line "PUB t" body "a\x00""#).unwrap(), b"PUB t\n\0\0\0\x02a\0");
    assert_eq!(bytes(r#"batch ("a" repeat "b" 2)"#).unwrap(), b"\0\0\0\x0f\0\0\0\x02\0\0\0\x01a\0\0\0\x02bb");
    assert_eq!(bytes("line (\"a\" repeat \"b\" 2) u32 -1 `\\n\"`").unwrap(), b"abb\n\xff\xff\xff\xff\\n\"");
    let seen = frames(r#"ok * 2, message "x" attempts 2 as m, error "E" "F", closed"#).unwrap();
    let message = Expected::Message { body: b"x".to_vec(), attempts: 2, id: Some("m".to_owned()) };
    let (ok, error) = (Expected::Response(b"OK".to_vec()), Expected::Error(b"EF".to_vec()));
    assert_eq!(seen, [ok.clone(), ok, message, error, Expected::Closed]);
    assert!(bytes("line").is_err() && bytes("what").is_err() && frames("ok ok").is_err());
}
