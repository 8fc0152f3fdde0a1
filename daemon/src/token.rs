//! A secret from a file, as tokens of admins and of those who register are given. What it opens is decided elsewhere.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use crate::reload::Reloads;
use crate::shutdown::Shutdown;

/// A file that holds more is not a token.
const BYTES_MAX: usize = 4096;

/// Kubernetes swaps the files of a changed secret without a signal.
const LOOK_EVERY: Duration = Duration::from_secs(30);

/// A secret: compared in constant time and never shown.
#[derive(Clone, PartialEq, Eq)]
pub struct Token(String);

impl Token {
    /// The file's text without the white space around it.
    ///
    /// # Errors
    /// The file cannot be read, is empty, too long or not text; the sentence names it.
    pub fn read(path: &Path) -> Result<Self, String> {
        let told = |why: &str| format!("cannot use the token in {}: {why}", path.display());
        let text = std::fs::read_to_string(path).map_err(|error| told(&error.to_string()))?;
        match text.trim() {
            "" => Err(told("the file is empty")),
            token if token.len() > BYTES_MAX => Err(told("it is longer than 4096 bytes")),
            token => Ok(Self(token.to_owned())),
        }
    }

    /// Whether it is the same. Takes as long for any text of the same length.
    pub fn matches(&self, given: &str) -> bool {
        let (own, given) = (self.0.as_bytes(), given.as_bytes());
        let differs = own.iter().zip(given).fold(0, |differs, (a, b)| differs | (a ^ b));
        own.len() == given.len() && differs == 0
    }

    /// The secret itself, to be sent.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Token(..)")
    }
}

/// The token of a file that is read again now and then; none is asked for if there is no file.
#[derive(Debug)]
pub struct SharedToken {
    path: Option<PathBuf>,
    token: RwLock<Option<Token>>,
}

impl SharedToken {
    /// From a flag's value; empty means no file.
    ///
    /// # Errors
    /// As for [`Token::read`].
    pub fn read(path: &str) -> Result<Self, String> {
        let path = Some(PathBuf::from(path)).filter(|path| !path.as_os_str().is_empty());
        let token = path.as_deref().map(Token::read).transpose()?;
        Ok(Self { path, token: RwLock::new(token) })
    }

    /// Is one asked for?
    pub fn is_needed(&self) -> bool {
        self.path.is_some()
    }

    /// Whether this is the token, or none is needed.
    pub fn admits(&self, given: &str) -> bool {
        let token = self.token.read().unwrap_or_else(PoisonError::into_inner);
        token.as_ref().is_none_or(|token| token.matches(given))
    }

    /// Read it again whenever that is asked for, and now and then, until shutdown.
    pub async fn follow(self: Arc<Self>, mut reloads: Reloads, shutdown: Shutdown) {
        loop {
            tokio::select! {
                () = shutdown.wait() => return,
                () = reloads.next() => {}
                () = tokio::time::sleep(LOOK_EVERY) => {}
            }
            self.read_again();
        }
    }

    /// The file may have changed. One that cannot be used leaves the token as it is, and is logged.
    pub fn read_again(&self) {
        let Some(path) = &self.path else { return };
        match Token::read(path) {
            Ok(token) => *self.token.write().unwrap_or_else(PoisonError::into_inner) = Some(token),
            Err(why) => tracing::error!("{why}; the last one stays"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(bytes: &[u8]) -> Result<Token, String> {
        let name = format!("token-{}-{}", std::process::id(), bytes.len());
        let path = std::env::temp_dir().join(name);
        std::fs::write(&path, bytes).unwrap();
        let token = Token::read(&path);
        std::fs::remove_file(&path).unwrap();
        token
    }

    #[test]
    fn white_space_around_a_token_does_not_count() {
        let token = read(b" s3cret\n").unwrap();
        assert!(token.matches("s3cret"));
        for wrong in ["", "s3cre", "s3cret ", "s3creT", "s3crets"] {
            assert!(!token.matches(wrong), "{wrong:?}");
        }
    }

    #[test]
    fn a_file_without_a_token_is_refused_by_name() {
        for (bytes, why) in [(&b" \n"[..], "empty"), (&[b'x'; 4097], "longer"), (b"\xff\xfe!", "UTF-8")] {
            let error = read(bytes).unwrap_err();
            assert!(error.starts_with("cannot use the token in /") && error.contains(why), "{error}");
        }
        assert!(Token::read(Path::new("/nowhere/token")).unwrap_err().contains("No such file"));
    }

    #[test]
    fn a_token_is_not_in_the_debug_form() {
        assert!(!format!("{:?}", read(b"canary-token").unwrap()).contains("canary"));
    }

    #[test]
    fn a_changed_file_is_read_again_and_a_broken_one_changes_nothing() {
        let path = std::env::temp_dir().join(format!("shared-token-{}", std::process::id()));
        std::fs::write(&path, "old").unwrap();
        let token = SharedToken::read(&path.to_string_lossy()).unwrap();
        for (text, expected) in [("new", "new"), ("", "new"), ("newer", "newer")] {
            std::fs::write(&path, text).unwrap();
            token.read_again();
            assert!(token.admits(expected) && !token.admits("old"), "{text:?}");
        }
        std::fs::remove_file(&path).unwrap();
        let none = SharedToken::read("").unwrap();
        assert!(none.admits("") && none.admits("any") && !none.is_needed());
    }
}
