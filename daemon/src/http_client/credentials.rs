//! What a request bears to say who asks: a token, or the name and password of a URL. It is never shown.

use hyper::header::HeaderValue;

/// The value of `Authorization`, or none.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Credentials(Option<HeaderValue>);

impl Credentials {
    /// A token, as nsqd and nsqlookupd ask for it.
    ///
    /// # Errors
    /// It has bytes that no header can carry.
    pub fn bearer(token: &str) -> Result<Self, String> {
        Self::of(&format!("Bearer {token}"))
    }

    /// What stands before the `@` of a URL: `name:password`, or a name alone.
    pub(super) fn of_url(user_info: &str) -> Result<Self, String> {
        let (name, password) = user_info.split_once(':').unwrap_or((user_info, ""));
        let (name, password) = (unescaped(name)?, unescaped(password)?);
        let both = [name.as_slice(), b":", password.as_slice()].concat();
        Self::of(&format!("Basic {}", base64(&both)))
    }

    pub(super) fn header(&self) -> Option<&HeaderValue> {
        self.0.as_ref()
    }

    fn of(text: &str) -> Result<Self, String> {
        let value = HeaderValue::from_str(text);
        let mut value = value.map_err(|_| "the token cannot stand in a header of HTTP".to_owned())?;
        // Its Debug says so, and nothing else.
        value.set_sensitive(true);
        Ok(Self(Some(value)))
    }
}

/// The bytes that `%` and two digits stand for.
fn unescaped(text: &str) -> Result<Vec<u8>, String> {
    let mut out = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        rest = behind;
        if byte != b'%' {
            out.push(byte);
            continue;
        }
        let digits = behind.split_first_chunk::<2>();
        let value = digits.and_then(|(&[high, low], _)| Some(digit_of(high)? << 4 | digit_of(low)?));
        out.push(value.ok_or("a % in its name or password is not followed by two hexadecimal digits")?);
        rest = behind.get(2..).unwrap_or_default();
    }
    Ok(out)
}

fn digit_of(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).and_then(|digit| u8::try_from(digit).ok())
}

fn base64(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    let digit = |bits: u32| DIGITS.get((bits & 63) as usize).map_or('=', |&digit| char::from(digit));
    let mut text = String::new();
    for group in bytes.chunks(3) {
        let mut three = [0; 3];
        three.iter_mut().zip(group).for_each(|(to, &from)| *to = from);
        let [a, b, c] = three.map(u32::from);
        let bits = a << 16 | b << 8 | c;
        for (at, shift) in [18, 12, 6, 0].into_iter().enumerate() {
            // A group of n bytes has n + 1 digits; the others only fill it up.
            text.push(if at <= group.len() { digit(bits >> shift) } else { '=' });
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_passwords_of_urls_are_sent_as_basic_credentials() {
        for (user_info, expected) in [
            ("user:pass", "Basic dXNlcjpwYXNz"),
            ("user", "Basic dXNlcjo="),
            ("user:", "Basic dXNlcjo="),
            ("u%40x:p%3A%2f", "Basic dUB4OnA6Lw=="),
            ("a:b:c", "Basic YTpiOmM="),
            (":%ff", "Basic Ov8="),
        ] {
            let credentials = Credentials::of_url(user_info).unwrap();
            assert_eq!(credentials.header().unwrap().to_str().unwrap(), expected, "{user_info}");
        }
        for user_info in ["a:%", "a:%4", "a:%zz", "a:%+1"] {
            assert!(Credentials::of_url(user_info).is_err(), "{user_info}");
        }
    }

    #[test]
    fn credentials_are_not_shown() {
        let bearer = Credentials::bearer("canary").unwrap();
        assert_eq!(bearer.header().unwrap().to_str().unwrap(), "Bearer canary");
        assert!(!format!("{bearer:?}").contains("canary"));
        assert!(!Credentials::bearer("canary\n").unwrap_err().contains("canary"));
    }
}
