//! Mass insertion: standard input is sent as it is, and the replies are counted.
//!
//! One thread sends while the caller's thread reads, so neither direction waits for the other. An ECHO
//! of random bytes behind the input tells the last reply from those before it, whatever the input
//! held; the empty line before it lets the ECHO be read even where the input ends with garbage.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher;
use std::io::{self, Read, Write};
use std::sync::mpsc::{Receiver, TryRecvError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::encode::encode;
use super::link::Link;
use super::runner::Runner;
use super::value::Value;
use crate::client::app::Exit;
use crate::client::error::{Error, Result};
use crate::client::wire::Stream;

/// One read from standard input.
const BUFFER_BYTES: usize = 64 << 10;

/// What came back so far.
#[derive(Default)]
struct Counts {
    errors: u64,
    replies: u64,
}

/// Sends `input` and waits for the last reply; `timeout_seconds` 0: as long as it takes.
pub(crate) fn run(
    runner: &mut Runner<'_, '_>,
    input: impl Read + Send + 'static,
    timeout_seconds: u64,
) -> io::Result<Exit> {
    let opened = runner.session.take().and_then(|link| link.writer().map(|writer| (link, writer)));
    let (mut link, writer) = match opened {
        Ok(opened) => opened,
        Err(error) => return runner.output.fail(&error, Exit::Unusable),
    };
    let mark = random_mark();
    let (tell, sent) = channel();
    let last = mark.clone();
    // Not joined: it may be blocked in its input, and the process ends without it.
    thread::spawn(move || drop(tell.send(feed(input, writer, &last))));
    let timeout = (timeout_seconds > 0).then(|| Duration::from_secs(timeout_seconds));
    let mut counts = Counts::default();
    match collect(runner, &mut link, &sent, &mark, timeout, &mut counts)? {
        Ok(()) => {}
        Err(error) => {
            let message = format!(
                "{error}; {} replies had come, and whether what was sent after that was carried out is \
                 unknown",
                counts.replies
            );
            return runner.output.fail(&message, Exit::Unusable);
        }
    }
    writeln!(runner.output.out, "errors: {}, replies: {}", counts.errors, counts.replies)?;
    Ok(if counts.errors > 0 { Exit::Refused } else { Exit::Fine })
}

/// Copies the input to the server, and the mark behind it.
fn feed(mut input: impl Read, mut server: Stream, mark: &[u8]) -> Result<()> {
    let mut buffer = vec![0; BUFFER_BYTES];
    loop {
        match input.read(&mut buffer) {
            Ok(0) => break,
            Ok(count) => server.write_all(&buffer[..count]).map_err(Error::Broken)?,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(_) => return Err(Error::Request("cannot read the standard input")),
        }
    }
    let mut last = b"\r\n".to_vec();
    encode(&mut last, &[b"ECHO", mark]);
    server.write_all(&last).map_err(Error::Broken)
}

/// Counts replies until the mark comes back, or too long nothing.
fn collect(
    runner: &mut Runner<'_, '_>,
    link: &mut Link,
    sent: &Receiver<Result<()>>,
    mark: &[u8],
    timeout: Option<Duration>,
    counts: &mut Counts,
) -> io::Result<Result<()>> {
    let mut all_sent = false;
    let mut heard = Instant::now();
    loop {
        if runner.session.interrupt().is_set() {
            return Ok(Err(Error::Interrupted));
        }
        if !all_sent {
            match sent.try_recv() {
                Ok(Ok(())) => {
                    announce_last(runner)?;
                    (all_sent, heard) = (true, Instant::now());
                }
                // Why nothing more can be sent shows in what the server says last.
                Ok(Err(Error::Broken(_)))
                | Err(TryRecvError::Disconnected | TryRecvError::Empty) => {}
                Ok(Err(error)) => return Ok(Err(error)),
            }
        }
        match link.poll() {
            Ok(Some(Value::Bulk(text))) if text == mark => {
                if !all_sent {
                    announce_last(runner)?;
                }
                writeln!(runner.output.out, "Last reply received from server.")?;
                return Ok(Ok(()));
            }
            Ok(Some(Value::Push(_))) => {}
            Ok(Some(reply)) => {
                heard = Instant::now();
                counts.replies += 1;
                if let Value::Error(error) = reply {
                    counts.errors += 1;
                    runner.output.complain(&String::from_utf8_lossy(&error))?;
                }
            }
            Ok(None) if all_sent && timeout.is_some_and(|timeout| heard.elapsed() > timeout) => {
                let seconds = timeout.unwrap_or_default().as_secs();
                runner.output.complain(&format!("No replies for {seconds} seconds: exiting."))?;
                counts.errors += 1;
                return Ok(Ok(()));
            }
            Ok(None) => {}
            Err(error) => return Ok(Err(error)),
        }
    }
}

fn announce_last(runner: &mut Runner<'_, '_>) -> io::Result<()> {
    writeln!(runner.output.out, "All data transferred. Waiting for the last reply...")?;
    runner.output.out.flush()
}

/// 32 hexadecimal digits that no reply holds by chance.
fn random_mark() -> Vec<u8> {
    // The standard library seeds each of these at random.
    let random = || RandomState::new().hash_one(0);
    format!("{:016x}{:016x}", random(), random()).into_bytes()
}
