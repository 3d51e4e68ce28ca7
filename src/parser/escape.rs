//! Makes foreign bytes fit to stand in a one-line message: printable ASCII stays, all else becomes
//! `\xNN`. Echoing raw bytes would let a request forge replies or drive the reader's terminal.

use std::fmt::{self, Display, Write};

/// The most bytes of a request that an error message echoes.
pub(crate) const ECHO_BYTES: usize = 64;

/// Shows bytes escaped, and shortened to at most [`ECHO_BYTES`] characters before the ellipsis.
pub(crate) struct Echo<'a>(pub(crate) &'a [u8]);

impl Display for Echo<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut room = ECHO_BYTES;
        for &byte in self.0 {
            let width = if is_plain(byte) { 1 } else { 4 };
            if width > room {
                return f.write_str("...");
            }
            room -= width;
            if is_plain(byte) {
                f.write_char(char::from(byte))?;
            } else {
                write!(f, "\\x{byte:02x}")?;
            }
        }
        Ok(())
    }
}

fn is_plain(byte: u8) -> bool {
    byte == b' ' || (byte.is_ascii_graphic() && byte != b'\\')
}

/// Appends a message with its control characters escaped, so that it stays on one line.
pub(crate) fn push_one_line(message: &[u8], out: &mut Vec<u8>) {
    for &byte in message {
        if byte < b' ' || byte == 0x7f {
            const HEX: &[u8; 16] = b"0123456789abcdef";
            let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
            out.extend_from_slice(b"\\x");
            out.extend_from_slice(&digits);
        } else {
            out.push(byte);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn foreign_bytes_are_escaped_and_shortened() {
        assert_eq!(Echo(b"FLY me").to_string(), "FLY me");
        assert_eq!(Echo(b"\x00\xff\\\r").to_string(), "\\x00\\xff\\x5c\\x0d");
        assert_eq!(Echo(&[b'a'; 64]).to_string(), "a".repeat(64));
        assert_eq!(Echo(&[b'a'; 65]).to_string(), "a".repeat(64) + "...");
        assert_eq!(Echo(&[0; 99]).to_string(), "\\x00".repeat(16) + "...");
    }

    #[test]
    fn a_message_stays_on_one_line() {
        let mut out = Vec::new();
        push_one_line("no\r\nOK \u{7f}ñ".as_bytes(), &mut out);
        assert_eq!(out, "no\\x0d\\x0aOK \\x7fñ".as_bytes());
    }
}
