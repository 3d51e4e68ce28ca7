//! Which protocol a connection speaks. The first byte decides, once and for good: RESP requests of
//! every Redis client begin with `*`, RESP strings with `$`, and no text command with either.

/// A protocol, as far as requests and replies differ by it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Protocol {
    /// One line per request, see `docs/protocol.md`.
    #[default]
    Text,
    /// The protocol of Redis, version 2.
    Resp2,
    /// Version 3 of it, which a client asks for with HELLO.
    Resp3,
}

impl Protocol {
    /// The protocol of a connection whose first byte is `first`.
    pub fn detect(first: u8) -> Self {
        if matches!(first, b'*' | b'$') { Protocol::Resp2 } else { Protocol::Text }
    }
}

/// The methods of HTTP, and the word that opens an HTTP/2 connection.
const HTTP_METHODS: [&[u8]; 10] = [
    b"GET", b"POST", b"PUT", b"HEAD", b"DELETE", b"OPTIONS", b"PATCH", b"CONNECT", b"TRACE", b"PRI",
];

/// Whether a line shows that HTTP is spoken here: a request line with method and version, or a
/// `Host:` header. A browser can be made to send such a request, with commands in its body.
pub(crate) fn is_http(line: &[u8]) -> bool {
    is_http_request(line) || starts_with_ignore_case(line.trim_ascii_start(), b"host:")
}

fn is_http_request(line: &[u8]) -> bool {
    let [head @ .., b' ', b'H', b'T', b'T', b'P', b'/', b'0'..=b'9', b'.', b'0'..=b'9'] =
        line.trim_ascii()
    else {
        return false;
    };
    let method = head.split(|&byte| byte == b' ').next().unwrap_or_default();
    HTTP_METHODS.iter().any(|known| known.eq_ignore_ascii_case(method))
}

fn starts_with_ignore_case(line: &[u8], prefix: &[u8]) -> bool {
    line.get(..prefix.len()).is_some_and(|start| start.eq_ignore_ascii_case(prefix))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_byte_decides() {
        assert_eq!(Protocol::detect(b'*'), Protocol::Resp2);
        assert_eq!(Protocol::detect(b'$'), Protocol::Resp2);
        assert_eq!(Protocol::detect(b'S'), Protocol::Text);
        assert_eq!(Protocol::detect(0), Protocol::Text);
    }

    #[test]
    fn http_is_told_from_commands() {
        for line in [
            &b"GET / HTTP/1.1"[..],
            b"POST /x y HTTP/1.0",
            b"DELETE /key HTTP/1.1 ",
            b"PRI * HTTP/2.0",
            b"Host: example.org",
            b"HOST:x",
        ] {
            assert!(is_http(line), "{}", line.escape_ascii());
        }
        for line in
            [&b"FLY / HTTP/1.1"[..], b"SET k HTTP/1.1", b"GET a b", b"HOST", b"GET / HTTP/", b""]
        {
            assert!(!is_http(line), "{}", line.escape_ascii());
        }
    }
}
