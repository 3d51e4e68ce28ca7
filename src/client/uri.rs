//! `redis://USER:PASSWORD@HOST:PORT/DB`: where a server is and how to log in, in one word.
//!
//! User and password are decoded (`%40` is `@`), as in every URI. `rediss://` asks for encryption, which
//! this client does not have: it is refused, never spoken in the clear.

use std::str::FromStr;

use super::connection::{DEFAULT_HOST, DEFAULT_PORT};
use super::state::Credentials;

/// A parsed URI.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Uri {
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) credentials: Credentials,
    pub(crate) database: u64,
}

impl FromStr for Uri {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let shape = "write redis://USER:PASSWORD@HOST:PORT/DB; all but the host may be left out";
        let rest = match text.split_once("://") {
            Some((scheme, rest)) if scheme.eq_ignore_ascii_case("redis") => rest,
            Some((scheme, _)) if scheme.eq_ignore_ascii_case("rediss") => {
                return Err("this client cannot encrypt a connection (rediss)".to_owned());
            }
            _ => return Err(shape.to_owned()),
        };
        let (place, path) = rest.split_once('/').unwrap_or((rest, ""));
        let (login, place) = match place.rsplit_once('@') {
            Some((login, place)) => (Some(login), place),
            None => (None, place),
        };
        let (host, port) = match place.rsplit_once(':') {
            Some((host, port)) if !port.ends_with(']') => {
                (host, port.parse().map_err(|_| shape.to_owned())?)
            }
            _ => (place, DEFAULT_PORT),
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let database = match path.split(['?', '#']).next().unwrap_or_default() {
            "" => 0,
            number => number.parse().map_err(|_| shape.to_owned())?,
        };
        let host = if host.is_empty() { DEFAULT_HOST } else { host }.to_owned();
        Ok(Self { host, port, credentials: credentials(login), database })
    }
}

fn credentials(login: Option<&str>) -> Credentials {
    let Some(login) = login else { return Credentials::default() };
    let (user, password) = login.split_once(':').unwrap_or(("", login));
    Credentials {
        user: Some(decoded(user)).filter(|user| !user.is_empty()),
        password: Some(decoded(password)).filter(|password| !password.is_empty()),
    }
}

/// Text with each `%HH` replaced by its byte; what is no such escape stays.
fn decoded(text: &str) -> Vec<u8> {
    let mut bytes = Vec::new();
    let mut rest = text.as_bytes();
    while let Some((&byte, behind)) = rest.split_first() {
        let escape = behind.get(..2).filter(|_| byte == b'%');
        let code = escape.and_then(|digits| std::str::from_utf8(digits).ok());
        let code = code.and_then(|digits| u8::from_str_radix(digits, 16).ok());
        bytes.push(code.unwrap_or(byte));
        rest = if code.is_some() { behind.get(2..).unwrap_or_default() } else { behind };
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> (String, u16, Option<String>, Option<String>, u64) {
        let uri: Uri = text.parse().unwrap();
        let text = |bytes: Option<Vec<u8>>| bytes.map(|bytes| String::from_utf8(bytes).unwrap());
        let Credentials { user, password } = uri.credentials;
        (uri.host, uri.port, text(user), text(password), uri.database)
    }

    #[test]
    fn every_part_but_the_host_may_be_missing() {
        let own = |text: &str| Some(text.to_owned());
        let port = DEFAULT_PORT;
        let cases = [
            ("redis://h", ("h".to_owned(), port, None, None, 0)),
            ("redis://h/", ("h".to_owned(), port, None, None, 0)),
            ("REDIS://h:7/15?x=1", ("h".to_owned(), 7, None, None, 15)),
            ("redis://pw@h", ("h".to_owned(), port, None, own("pw"), 0)),
            ("redis://:pw@h", ("h".to_owned(), port, None, own("pw"), 0)),
            ("redis://e:p%40%3a%zz@[::1]:7/2", ("::1".to_owned(), 7, own("e"), own("p@:%zz"), 2)),
            ("redis://[::1]", ("::1".to_owned(), port, None, None, 0)),
            ("redis:///3", (DEFAULT_HOST.to_owned(), port, None, None, 3)),
        ];
        for (text, expected) in cases {
            assert_eq!(parsed(text), expected, "{text}");
        }
    }

    #[test]
    fn what_is_no_such_uri_is_refused() {
        for text in ["h:7", "http://h", "rediss://h", "redis://h:x", "redis://h/x", ""] {
            assert!(text.parse::<Uri>().is_err(), "{text}");
        }
    }
}
