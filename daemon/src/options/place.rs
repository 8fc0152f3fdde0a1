//! A place in a file, shown as compilers do: its line with carets below.

use std::ops::Range;

/// Bytes of a line that are shown; a configuration file has no such lines, but another file may be named by mistake.
const SHOWN_MAX: usize = 160;

/// A file that is complained about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) text: &'a str,
}

impl Source<'_> {
    /// `nsqd.toml:12`.
    pub(super) fn line_of(&self, span: &Range<usize>) -> String {
        format!("{}:{}", self.path, self.lines_before(span.start) + 1)
    }

    /// `nsqd.toml:12:1: WHAT` and, below, the line with carets under `span`.
    pub(super) fn complaint(&self, span: &Range<usize>, what: &str) -> String {
        let number = self.lines_before(span.start) + 1;
        let start = self.text.get(..span.start).map_or(0, |before| before.rfind('\n').map_or(0, |at| at + 1));
        let line = self.text.get(start..).and_then(|rest| rest.lines().next()).unwrap_or_default();
        let column = self.text.get(start..span.start).unwrap_or_default().chars().count();
        let marked = self.text.get(span.clone()).unwrap_or_default();
        let width = marked.lines().next().unwrap_or_default().chars().count().max(1);
        let shown: String = line.chars().take(SHOWN_MAX).map(visible).collect();
        let margin = " ".repeat(number.to_string().len());
        let carets = format!("{}{}", " ".repeat(column.min(SHOWN_MAX)), "^".repeat(width.min(SHOWN_MAX)));
        format!(
            "{path}:{number}:{place}: {what}\n {number} | {shown}\n {margin} | {carets}",
            path = self.path,
            place = column + 1
        )
    }

    fn lines_before(&self, at: usize) -> usize {
        self.text.get(..at).unwrap_or_default().matches('\n').count()
    }
}

/// One column each, so that the carets stand where they should; nothing that moves a terminal's cursor.
fn visible(c: char) -> char {
    match c {
        '\t' => ' ',
        c if c.is_control() => '?',
        c => c,
    }
}
