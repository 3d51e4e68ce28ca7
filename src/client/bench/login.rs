//! Logs a connection in before the load begins, and makes room for as many as are asked for.

use std::io::{Read, Write};
use std::net::TcpStream;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::options::Protocol;
use crate::client::connection::Endpoint;
use crate::client::error::{Error, Result};
use crate::client::resp::encode;
use crate::client::session;
use crate::client::state::Credentials;

/// Descriptors beside those of the connections: the streams, the poll, the probe.
const OWN_DESCRIPTORS: u64 = 16;
/// The longest answer to AUTH that is read, in bytes.
const MAX_ANSWER_BYTES: usize = 4096;
/// What a server says that wants no password: that is no reason not to go on.
const NEEDS_NONE: &str = "without any password configured";

/// Gives the password, if there is one, over a blocking stream.
pub(super) fn log_in(
    endpoint: &Endpoint,
    mut stream: &TcpStream,
    protocol: Protocol,
    credentials: &Credentials,
) -> Result<()> {
    let Some(words) = credentials.command() else { return Ok(()) };
    let mut request = Vec::new();
    match protocol {
        Protocol::Text => {
            session::check_words(&words)?;
            request = words.join(&b' ');
            request.push(b'\n');
        }
        Protocol::Resp => encode(&mut request, &words),
    }
    stream.set_read_timeout(Some(endpoint.reply_timeout())).map_err(Error::Broken)?;
    stream.write_all(&request).map_err(Error::Broken)?;
    let mut answer = Vec::new();
    while answer.last() != Some(&b'\n') && answer.len() < MAX_ANSWER_BYTES {
        let mut byte = [0];
        if stream.read(&mut byte).map_err(Error::Broken)? == 0 {
            return Err(Error::Closed);
        }
        answer.extend_from_slice(&byte);
    }
    let answer = String::from_utf8_lossy(&answer).trim_end().to_owned();
    match answer.trim_start_matches(['+', '-']) {
        "OK" => Ok(()),
        refusal if refusal.contains(NEEDS_NONE) => Ok(()),
        refusal => Err(Error::Refused(format!("AUTH failed: {refusal}"))),
    }
}

/// Sees to it that so many connections can be open, as far as the system lets this process.
pub(super) fn make_room(connections: u64) -> Result<()> {
    let needed = connections + OWN_DESCRIPTORS;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= needed) {
        return Ok(());
    }
    let raised = Rlimit { current: Some(needed), ..limit };
    if limit.maximum.is_none_or(|maximum| maximum >= needed)
        && setrlimit(Resource::Nofile, raised).is_ok()
    {
        return Ok(());
    }
    Err(too_many(connections))
}

/// Says what to do where descriptors run out.
pub(super) fn too_many(connections: u64) -> Error {
    let needed = connections + OWN_DESCRIPTORS;
    Error::Refused(format!(
        "{connections} connections need {needed} open files, more than this process may have: raise \
         the limit first, with 'ulimit -n {needed}', or ask for fewer with -c"
    ))
}

/// Whether the system has no descriptor left for this process.
pub(super) fn is_out_of_descriptors(error: &Error) -> bool {
    let Error::Connect { source, .. } = error else { return false };
    source.raw_os_error() == Some(rustix::io::Errno::MFILE.raw_os_error())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn running_out_of_descriptors_says_what_to_do() {
        let error = make_room(1 << 40).unwrap_err().to_string();
        assert!(error.contains("ulimit -n 1099511627792"), "{error}");
        make_room(1).unwrap();
    }
}
