//! Commands, as the array of bulk strings in which RESP sends them.

use std::io::Write;

/// Appends one command to `out`.
pub(crate) fn encode(out: &mut Vec<u8>, words: &[impl AsRef<[u8]>]) {
    // Writing to a vector cannot fail.
    let _ = write!(out, "*{}\r\n", words.len());
    for word in words {
        let word = word.as_ref();
        let _ = write!(out, "${}\r\n", word.len());
        out.extend_from_slice(word);
        out.extend_from_slice(b"\r\n");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_bulk_strings_whatever_they_hold() {
        let mut out = b"before".to_vec();
        encode(&mut out, &[&b"SET"[..], b"", b"a\r\n\0"]);
        assert_eq!(out, b"before*3\r\n$3\r\nSET\r\n$0\r\n\r\n$4\r\na\r\n\0\r\n");
    }
}
