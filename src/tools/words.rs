//! How the tools speak: keys as text, figures, and what to do about an error.

use std::fmt;
use std::path::Path;

use crate::engine::{Error, KeySpan};

/// Bytes of a key that are shown.
const SHOWN_BYTES: usize = 64;

/// A key as text: what does not print is escaped as `\xHH`, a long one is cut off.
pub(super) struct Key<'a>(pub(super) &'a [u8]);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN_BYTES)];
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() { write!(f, "… ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

/// A stretch of keys as text.
pub(super) struct Span<'a>(pub(super) &'a KeySpan);

impl fmt::Display for Span<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = if self.0.excludes_first { "behind" } else { "from" };
        write!(f, "{from} {} up to {}", Key(&self.0.first), Key(&self.0.last))
    }
}

/// Why a tool cannot do its work on `dir`, and what to do about it.
pub(super) fn explain(what: &str, dir: &Path, error: &Error) -> String {
    let dir = dir.display();
    let advice = match error {
        Error::Locked => {
            "; stop its server first, or have it write a checkpoint (BGSAVE) and use that"
        }
        Error::UnknownFormat { .. } => "; use the version that wrote it",
        Error::Io { .. } if error.is_no_space() => "; make room on the device",
        _ => "",
    };
    format!("cannot {what} {dir}: {error}{advice}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_shown_on_one_line_and_bounded() {
        assert_eq!(Key(b"\0a \"\n\xff").to_string(), "\"\\x00a \\\"\\n\\xff\"");
        let long = Key(&[b'k'; 1_000]).to_string();
        assert!(long.ends_with("… (1000 bytes)") && long.len() < 100, "{long}");
        let span = KeySpan { first: b"a".to_vec(), excludes_first: true, last: b"b".to_vec() };
        assert_eq!(Span(&span).to_string(), "behind \"a\" up to \"b\"");
    }
}
