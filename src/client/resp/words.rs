//! Splits a line into words by redis-cli's rules of quoting, and writes bytes so that they can be
//! typed back by the same rules.
//!
//! Words are divided by white space. In double quotes, `\n \r \t \b \a`, `\xhh` and any other escaped
//! character mean what they do in C; in single quotes only `\'` is special. A closing quote must end
//! its word.

use std::io::Write;

/// The words of `line`; `None` where a quote is not closed, or not at the end of its word.
pub(crate) fn split(line: &[u8]) -> Option<Vec<Vec<u8>>> {
    let mut words = Vec::new();
    let mut rest = line.trim_ascii_start();
    while !rest.is_empty() {
        let (word, behind) = first_word(rest)?;
        words.push(word);
        rest = behind.trim_ascii_start();
    }
    Some(words)
}

/// The first word of a line that does not begin with a space, and what is behind it.
fn first_word(mut rest: &[u8]) -> Option<(Vec<u8>, &[u8])> {
    let mut word = Vec::new();
    loop {
        match rest {
            [] => return Some((word, rest)),
            [space, ..] if space.is_ascii_whitespace() => return Some((word, rest)),
            [b'"', inside @ ..] => return quoted(word, inside, b'"'),
            [b'\'', inside @ ..] => return quoted(word, inside, b'\''),
            [byte, behind @ ..] => {
                word.push(*byte);
                rest = behind;
            }
        }
    }
}

/// The rest of a word from behind its opening quote.
fn quoted(mut word: Vec<u8>, mut rest: &[u8], quote: u8) -> Option<(Vec<u8>, &[u8])> {
    loop {
        match rest {
            [] => return None,
            [byte, behind @ ..] if *byte == quote => {
                let ends = behind.first().is_none_or(u8::is_ascii_whitespace);
                return ends.then_some((word, behind));
            }
            [b'\\', behind @ ..] if quote == b'"' && !behind.is_empty() => {
                let (byte, behind) = escaped(behind)?;
                word.push(byte);
                rest = behind;
            }
            [b'\\', b'\'', behind @ ..] if quote == b'\'' => {
                word.push(b'\'');
                rest = behind;
            }
            [byte, behind @ ..] => {
                word.push(*byte);
                rest = behind;
            }
        }
    }
}

/// The byte that is meant by what stands behind a backslash.
fn escaped(rest: &[u8]) -> Option<(u8, &[u8])> {
    if let [b'x', high, low, behind @ ..] = rest
        && let (Some(high), Some(low)) = (digit(*high), digit(*low))
    {
        return Some((high * 16 + low, behind));
    }
    let (byte, behind) = rest.split_first()?;
    let byte = match byte {
        b'n' => b'\n',
        b'r' => b'\r',
        b't' => b'\t',
        b'b' => 0x08,
        b'a' => 0x07,
        other => *other,
    };
    Some((byte, behind))
}

fn digit(byte: u8) -> Option<u8> {
    char::from(byte).to_digit(16).map(|digit| digit as u8)
}

/// Appends `bytes` in double quotes, with escapes for all that is not printable ASCII.
pub(crate) fn quote(out: &mut Vec<u8>, bytes: &[u8]) {
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'\\' | b'"' => out.extend_from_slice(&[b'\\', byte]),
            b'\n' => out.extend_from_slice(b"\\n"),
            b'\r' => out.extend_from_slice(b"\\r"),
            b'\t' => out.extend_from_slice(b"\\t"),
            0x07 => out.extend_from_slice(b"\\a"),
            0x08 => out.extend_from_slice(b"\\b"),
            b' '..=b'~' => out.push(byte),
            // Writing to a vector cannot fail.
            _ => drop(write!(out, "\\x{byte:02x}")),
        }
    }
    out.push(b'"');
}

/// [`quote`], as a text of its own.
pub(crate) fn quoted_text(bytes: &[u8]) -> String {
    let mut out = Vec::new();
    quote(&mut out, bytes);
    String::from_utf8_lossy(&out).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_split_by_the_rules_of_quoting() {
        let cases: [(&[u8], &[&[u8]]); 10] = [
            (b"", &[]),
            (b"  \t ", &[]),
            (b" get  k\r", &[b"get", b"k"]),
            (b"set k \"a b\\\"c\\n\\x41\\xzz\\q\"", &[b"set", b"k", b"a b\"c\nAxzzq"]),
            (b"set k 'a \"b\" \\'c\\' \\n'", &[b"set", b"k", b"a \"b\" 'c' \\n"]),
            (b"\"\" ''", &[b"", b""]),
            (b"a\"b\" c", &[b"ab", b"c"]),
            (b"k\\x41", &[b"k\\x41"]),
            (b"\xff \"\\xFF\"", &[b"\xff", b"\xff"]),
            (b"\"\\a\\b\\t\\r\\\\\"", &[b"\x07\x08\t\r\\"]),
        ];
        for (line, words) in cases {
            assert_eq!(split(line).unwrap(), words, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn unbalanced_quotes_are_refused() {
        for line in [&b"\""[..], b"'a", b"\"a\"b", b"'a''b'", b"a \"b\\\"", b"\"a\\"] {
            assert_eq!(split(line), None, "{}", line.escape_ascii());
        }
    }

    #[test]
    fn what_is_quoted_can_be_typed_back() {
        let bytes: Vec<u8> = (0..=255).collect();
        let mut line = Vec::new();
        quote(&mut line, &bytes);
        assert!(line.iter().all(|byte| (b' '..=b'~').contains(byte)));
        assert_eq!(split(&line).unwrap(), [bytes]);
        assert_eq!(quoted_text(b"a\x07\x1b\"\xe9"), "\"a\\a\\x1b\\\"\\xe9\"");
    }
}
