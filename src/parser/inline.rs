//! Redis's inline commands: one line, its words split by blanks, quotes around what holds blanks.
//!
//! Double quotes know `\n`, `\r`, `\t`, `\b`, `\a`, `\xHH`, and a backslash before any other byte
//! stands for that byte; single quotes know only `\'`. A quote may open inside of a word, but behind
//! the one that closes must come a blank or the end. A NUL is a byte like any other here; the
//! parser lets no line with one come so far. A word is borrowed unless something in it was quoted.

use std::borrow::Cow;

/// A quote that does not close, or closes in the middle of a word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("Protocol error: unbalanced quotes in request")]
pub(super) struct Unbalanced;

/// The words of a line, which comes without its line break; none for a blank line.
pub(super) fn split(line: &[u8]) -> Result<Vec<Cow<'_, [u8]>>, Unbalanced> {
    let mut rest = line;
    let mut words = Vec::new();
    loop {
        let blanks = rest.iter().take_while(|byte| is_blank(**byte)).count();
        rest = &rest[blanks..];
        if rest.is_empty() {
            return Ok(words);
        }
        let (word, behind) = next_word(rest)?;
        words.push(word);
        rest = behind;
    }
}

/// The word at the start of `text`, and what comes behind it.
fn next_word(text: &[u8]) -> Result<(Cow<'_, [u8]>, &[u8]), Unbalanced> {
    let (plain, rest) = text.split_at(plain_bytes(text));
    let Some((&quote @ (b'"' | b'\''), quoted)) = rest.split_first() else {
        return Ok((Cow::Borrowed(plain), rest));
    };
    let mut word = plain.to_vec();
    let rest = unquote(quote, quoted, &mut word)?;
    if rest.first().is_some_and(|byte| !is_blank(*byte)) {
        return Err(Unbalanced);
    }
    Ok((Cow::Owned(word), rest))
}

/// How many bytes a word has before its end or a quote. Within a word, a vertical tab or a form feed
/// is a byte like any other, though it counts as a blank before one.
fn plain_bytes(text: &[u8]) -> usize {
    let ends = |byte: &u8| matches!(byte, b' ' | b'\n' | b'\r' | b'\t' | b'"' | b'\'');
    text.iter().position(ends).unwrap_or(text.len())
}

/// What may stand between words.
fn is_blank(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t'..=b'\r')
}

/// Appends what stands before the closing quote, and returns what comes behind it.
fn unquote<'a>(quote: u8, text: &'a [u8], word: &mut Vec<u8>) -> Result<&'a [u8], Unbalanced> {
    let mut rest = text;
    loop {
        let (&byte, behind) = rest.split_first().ok_or(Unbalanced)?;
        if byte == quote {
            return Ok(behind);
        }
        let escaped = if byte == b'\\' { unescape(quote, behind) } else { None };
        let (byte, behind) = escaped.unwrap_or((byte, behind));
        word.push(byte);
        rest = behind;
    }
}

/// The byte that is meant by what follows a backslash, and what comes behind it; `None` if the
/// backslash means itself.
fn unescape(quote: u8, text: &[u8]) -> Option<(u8, &[u8])> {
    let (&byte, behind) = text.split_first()?;
    if quote == b'\'' {
        return (byte == quote).then_some((byte, behind));
    }
    let meant = match byte {
        b'x' => match hex_byte(behind) {
            Some(byte) => return Some((byte, &behind[2..])),
            None => b'x',
        },
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => other,
    };
    Some((meant, behind))
}

/// The byte that two hexadecimal digits spell.
fn hex_byte(text: &[u8]) -> Option<u8> {
    let &[high, low] = text.first_chunk()?;
    let digit = |byte: u8| char::from(byte).to_digit(16);
    Some((digit(high)? << 4 | digit(low)?) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The words, joined by bars.
    fn words(line: &[u8]) -> String {
        let words = split(line).unwrap();
        words.iter().map(|word| word.escape_ascii().to_string()).collect::<Vec<_>>().join("|")
    }

    #[test]
    fn blanks_separate_words() {
        assert_eq!(words(b"SET key value"), "SET|key|value");
        assert_eq!(words(b" \t SET\x0b\x0c  key\tvalue\r \n"), "SET\\x0b\\x0c|key|value");
        assert_eq!(words(b"GET \xff\xfe"), "GET|\\xff\\xfe");
        for blank in [&b""[..], b" ", b"\t \r\n\x0b\x0c"] {
            assert_eq!(split(blank), Ok(vec![]));
        }
        assert_eq!(words(b"GET k\0ey"), "GET|k\\x00ey");
    }

    #[test]
    fn quotes_keep_blanks_and_escapes_name_bytes() {
        assert_eq!(words(b"SET \"a b\" 'c  d'"), "SET|a b|c  d");
        assert_eq!(words(b"SET \"\" ''"), "SET||");
        assert_eq!(words(br#"a"b c"	d'e f' g"#), "ab c|de f|g");
        let escapes = r#"\x00\xffxaGx1|\n\r\t\x08\x07q\\\""#;
        assert_eq!(words(br#""\x00\xFf\xaG\x1" "\n\r\t\b\a\q\\\"""#), escapes);
        assert_eq!(words(br"'it\'s \n \x41 \\ '"), r"it\'s \\n \\x41 \\\\ ");
        assert_eq!(words(br"a\n \x41"), r"a\\n|\\x41", "no quotes, no escapes");
        assert_eq!(words(b"\"a\"\x0bb"), "a|b", "any blank may follow a quote");
    }

    #[test]
    fn an_unbalanced_quote_is_refused() {
        let lines: [&[u8]; 9] = [
            b"\"",
            b"'",
            b"GET \"key",
            b"GET 'key",
            b"GET \"key\"s",
            b"GET 'a''b'",
            b"GET \"key\\",
            b"GET \"key\\\"",
            b"GET 'key\\\\'",
        ];
        for line in lines {
            assert_eq!(split(line), Err(Unbalanced), "{}", line.escape_ascii());
        }
    }

    #[test]
    fn only_quoted_words_are_copied() {
        let words = split(b"SET key \"value\"").unwrap();
        assert!(words[..2].iter().all(|word| matches!(word, Cow::Borrowed(_))));
        assert!(matches!(words[2], Cow::Owned(_)));
    }
}
