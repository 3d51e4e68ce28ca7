//! Asks the server what its `OK` is worth, for the report: a rate without its durability says little.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::login;
use super::options::Protocol;
use crate::client::connection::{Connection, Endpoint};
use crate::client::error::Result;
use crate::client::reply::Reply;
use crate::client::session;
use crate::client::state::Credentials;

/// INFO is not read further than this.
const MAX_INFO_BYTES: u64 = 1 << 20;

/// The server's durability mode in its own words, if it tells. Only a failure to reach it is an error.
pub(crate) fn durability(
    endpoint: &Endpoint,
    protocol: Protocol,
    credentials: &Credentials,
) -> Result<Option<String>> {
    match protocol {
        Protocol::Text => {
            let mut connection = Connection::open(endpoint)?;
            if let Some(words) = credentials.command() {
                session::check_words(&words)?;
                // Whether it was right, each connection of the load finds out.
                connection.request(&words.join(&b' '))?;
            }
            Ok(match connection.request(b"INFO") {
                Ok(Reply::Text(info)) => field(&String::from_utf8_lossy(&info), "durability"),
                _ => None,
            })
        }
        Protocol::Resp => {
            let stream = endpoint.connect()?;
            login::log_in(endpoint, &stream, protocol, credentials)?;
            Ok(ask_resp(endpoint, &stream))
        }
    }
}

fn ask_resp(endpoint: &Endpoint, mut stream: &TcpStream) -> Option<String> {
    stream.set_read_timeout(Some(endpoint.reply_timeout())).ok()?;
    let mut input = BufReader::new(stream);
    stream.write_all(b"*1\r\n$4\r\nINFO\r\n").ok()?;
    let info = bulk(&mut input)?;
    if let Some(own) = field(&info, "durability") {
        return Some(own);
    }
    let name = field(&info, "redis_version").map(|version| format!("Redis {version}, "));
    let mode = match field(&info, "aof_enabled")?.as_str() {
        "0" => "appendonly no".to_owned(),
        _ => format!("appendfsync {}", append_sync(&mut stream, &mut input)?),
    };
    Some(name.unwrap_or_default() + &mode)
}

/// Redis's setting, which its INFO does not show.
fn append_sync(stream: &mut &TcpStream, input: &mut impl BufRead) -> Option<String> {
    stream.write_all(b"*3\r\n$6\r\nCONFIG\r\n$3\r\nGET\r\n$11\r\nappendfsync\r\n").ok()?;
    line(input).filter(|header| header == "*2")?;
    bulk(input)?;
    bulk(input)
}

fn line(input: &mut impl BufRead) -> Option<String> {
    let mut line = String::new();
    input.take(MAX_INFO_BYTES).read_line(&mut line).ok()?;
    line.strip_suffix("\r\n").map(str::to_owned)
}

fn bulk(input: &mut impl BufRead) -> Option<String> {
    let length: u64 = line(input)?.strip_prefix('$')?.parse().ok()?;
    let mut text = Vec::new();
    input.take(length.min(MAX_INFO_BYTES) + 2).read_to_end(&mut text).ok()?;
    Some(String::from_utf8_lossy(text.strip_suffix(b"\r\n")?).into_owned())
}

/// The value of `name:value` in INFO's lines.
fn field(info: &str, name: &str) -> Option<String> {
    info.lines()
        .filter_map(|line| line.split_once(':'))
        .find(|(known, _)| known.trim() == name)
        .map(|(_, value)| value.trim().to_owned())
        .filter(|value| !value.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::client::fake;

    fn durability(endpoint: &Endpoint, protocol: Protocol) -> Result<Option<String>> {
        super::durability(endpoint, protocol, &Credentials::default())
    }

    #[test]
    fn a_field_is_found_among_others() {
        let info = "# Server\r\nport:1\r\ndurability: fsync \r\nurl:a:b\r\nempty:\r\n";
        assert_eq!(field(info, "durability").as_deref(), Some("fsync"));
        assert_eq!(field(info, "url").as_deref(), Some("a:b"));
        assert_eq!(field(info, "empty"), None);
        assert_eq!(field(info, "dura"), None);
    }

    #[test]
    fn chronos_is_asked_in_text() {
        let endpoint = Endpoint::local(fake::store());
        assert_eq!(durability(&endpoint, Protocol::Text).unwrap().as_deref(), Some("fsync"));
        assert!(durability(&Endpoint::local(fake::UNUSED_PORT), Protocol::Text).is_err());
    }

    #[test]
    fn redis_is_asked_for_its_setting_too() {
        let port = fake::serve(|_, mut stream| {
            let info = "redis_version:7.4.1\r\naof_enabled:1\r\n";
            let setting = "*2\r\n$11\r\nappendfsync\r\n$6\r\nalways\r\n";
            stream.write_all(format!("${}\r\n{info}\r\n{setting}", info.len()).as_bytes()).unwrap();
            drop(stream.read_to_end(&mut Vec::new()));
        });
        let told = durability(&Endpoint::local(port), Protocol::Resp).unwrap();
        assert_eq!(told.as_deref(), Some("Redis 7.4.1, appendfsync always"));
    }

    #[test]
    fn a_server_that_tells_nothing_is_no_error() {
        let port = fake::serve(|_, stream| drop(stream));
        assert_eq!(durability(&Endpoint::local(port), Protocol::Resp).unwrap(), None);
        assert_eq!(durability(&Endpoint::local(port), Protocol::Text).unwrap(), None);
    }
}
