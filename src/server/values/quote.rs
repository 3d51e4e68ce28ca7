//! Arguments as MONITOR shows them: in double quotes, one line, printable ASCII only.
//!
//! Clients and people take the line apart again, so every byte is told from every other: the quote
//! and the backslash are escaped, and what is not printable is named or becomes `\xNN`.

/// Appends `bytes` in double quotes.
pub(crate) fn push_quoted(bytes: &[u8], out: &mut Vec<u8>) {
    const HEX: &[u8; 16] = b"0123456789abcdef";
    out.reserve(bytes.len() + 2);
    out.push(b'"');
    for &byte in bytes {
        match byte {
            b'"' | b'\\' => out.extend([b'\\', byte]),
            b'\n' => out.extend(b"\\n"),
            b'\r' => out.extend(b"\\r"),
            b'\t' => out.extend(b"\\t"),
            0x07 => out.extend(b"\\a"),
            0x08 => out.extend(b"\\b"),
            b' '..=b'~' => out.push(byte),
            _ => {
                let digits = [HEX[usize::from(byte >> 4)], HEX[usize::from(byte & 15)]];
                out.extend([b'\\', b'x', digits[0], digits[1]]);
            }
        }
    }
    out.push(b'"');
}

#[cfg(test)]
mod tests {
    use super::*;

    fn quoted(bytes: &[u8]) -> String {
        let mut out = Vec::new();
        push_quoted(bytes, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn all_bytes_are_shown_as_redis_shows_them() {
        assert_eq!(quoted(b""), "\"\"");
        assert_eq!(quoted(b"set a 'b'"), "\"set a 'b'\"");
        let control = (0..0x20).collect::<Vec<u8>>();
        assert_eq!(
            quoted(&control),
            concat!(
                r#""\x00\x01\x02\x03\x04\x05\x06\a\b\t\n\x0b\x0c\r\x0e\x0f\x10\x11\x12\x13"#,
                r#"\x14\x15\x16\x17\x18\x19\x1a\x1b\x1c\x1d\x1e\x1f""#
            )
        );
        assert_eq!(quoted(b"\"\\ ~\x7f\x80\xff"), r#""\"\\ ~\x7f\x80\xff""#);
    }
}
