//! What is wrong with a declaration, said so that the reader can mend it: where, what, and what to do.
//! Nothing here decides what is wrong; see validate.rs and declaration.rs.

use std::fmt;

/// One mistake in a declaration. Printed as `file:line: message; hint`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Problem {
    /// The file as the caller named it.
    pub file: String,
    /// 1-based; the line of the field that is wrong, or of the resource if a field is missing.
    pub line: u64,
    /// What is wrong, with the resource and the field named.
    pub message: String,
    /// What to do about it, where we can tell.
    pub hint: Option<String>,
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: {}", self.file, self.line, self.message)?;
        match &self.hint {
            Some(hint) => write!(f, "; {hint}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for Problem {}
