//! Scripts against servers that are well-behaved, slow, stubborn or gone.

use std::io::Cursor;
use std::net::Shutdown;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::super::connection::Endpoint;
use super::super::fake;
use super::super::paint::Paint;
use super::*;

struct Ran {
    exit: Exit,
    out: String,
    err: String,
}

fn run_on(port: u16, input: impl Read + Send + 'static) -> Ran {
    let (mut out, mut err) = (Vec::new(), Vec::new());
    let (out_paint, err_paint) = (Paint::default(), Paint::default());
    let mut output = Output { out: &mut out, out_paint, err: &mut err, err_paint };
    let connection = Connection::open(&Endpoint::local(port)).unwrap();
    let exit = run(connection, input, &mut output).unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Ran { exit, out: text(out), err: text(err) }
}

fn run_script(script: &str) -> Ran {
    run_on(fake::store(), Cursor::new(script.to_owned()))
}

#[test]
fn replies_come_in_order_and_blank_lines_are_skipped() {
    let ran = run_script("SET a LIST 3\n\n   \nGET a\r\n\r\nGET b\nKEYS\nINFO\nDEL a");
    assert_eq!(ran.out, "OK\nLIST 3\nNULL\na\nb\nkeys:1\ndurability:fsync\nOK_DELETED\n");
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Fine, ""));
}

#[test]
fn errors_name_their_line_and_the_script_goes_on() {
    let ran = run_script("PING\n\nNONSENSE\nPING\nGET\n");
    assert_eq!(ran.out, "PONG\nPONG\n");
    let lines: Vec<_> = ran.err.lines().map(|line| line.split_once(": ERR ").unwrap().0).collect();
    assert_eq!(lines, ["line 3", "line 5"]);
    assert_eq!(ran.exit, Exit::Refused);
}

#[test]
fn an_empty_script_is_fine() {
    for script in ["", "\n", "\n  \n"] {
        let ran = run_script(script);
        assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Fine, "", ""));
    }
}

#[test]
fn sixty_thousand_lines_load() {
    let lines: Vec<_> = (0..60_000)
        .map(|n| format!("SET user:{n} {{\"id\": {n}, \"name\": \"somebody\"}}\n"))
        .collect();
    let ran = run_script(&lines.concat());
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Fine, ""));
    assert_eq!(ran.out.len(), 60_000 * "OK\n".len());
}

/// Long requests and longer replies, from a server that does not read while it writes: both directions
/// are full at once.
#[test]
fn full_sockets_do_not_deadlock() {
    let port = fake::serve(|_, stream| {
        let reply = [vec![b'v'; 16 << 10], b"\n".to_vec()].concat();
        for line in BufReader::new(&stream).lines().map_while(Result::ok) {
            assert!(line.starts_with("GET"));
            (&stream).write_all(&reply).unwrap();
        }
    });
    let line = format!("GET {}\n", "k".repeat(2000));
    let ran = run_on(port, Cursor::new(line.repeat(5000)));
    assert_eq!((ran.exit, ran.err.as_str()), (Exit::Fine, ""));
    assert_eq!(ran.out.len(), 5000 * ((16 << 10) + 1));
}

#[test]
fn a_server_that_reads_slowly_gets_everything() {
    let port = fake::serve(|_, mut stream| {
        let mut buffer = vec![0; 256 << 10];
        while let Ok(count) = stream.read(&mut buffer) {
            if count == 0 {
                return;
            }
            thread::sleep(Duration::from_millis(5));
            let lines = memchr::memchr_iter(b'\n', &buffer[..count]).count();
            stream.write_all(&b"OK\n".repeat(lines)).unwrap();
        }
    });
    let line = format!("SET k {}\n", "v".repeat(1000));
    let ran = run_on(port, Cursor::new(line.repeat(10_000)));
    assert_eq!((ran.exit, ran.out.len()), (Exit::Fine, 10_000 * "OK\n".len()));
}

#[test]
fn a_server_that_answers_only_when_all_is_read_is_served() {
    let port = fake::serve(|_, stream| {
        let count = BufReader::new(&stream).lines().take(1000).count();
        thread::sleep(Duration::from_millis(50));
        (&stream).write_all(&b"OK\n".repeat(count)).unwrap();
    });
    let ran = run_on(port, Cursor::new("SET k v\n".repeat(1000)));
    assert_eq!((ran.exit, ran.out.len()), (Exit::Fine, 1000 * "OK\n".len()));
}

#[test]
fn quit_ends_the_script_and_says_what_was_left() {
    let ran = run_script("SET a 1\nQUIT\nSET b 2\n");
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Fine, "OK\nOK\n"));
    assert_eq!(ran.err, "the lines after line 2 were not run\n");
    let ran = run_script("SET a 1\nSHUTDOWN\n\n");
    assert_eq!((ran.exit, ran.out.as_str(), ran.err.as_str()), (Exit::Fine, "OK\n", ""));
}

#[test]
fn a_refused_quit_does_not_end_the_script() {
    let ran = run_script("QUIT now\nPING\n");
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, "PONG\n"));
}

#[test]
fn a_broken_connection_says_which_lines_are_in_doubt() {
    let port = fake::serve(|_, stream| {
        let mut lines = BufReader::new(&stream).lines();
        lines.next();
        (&stream).write_all(b"OK\n").unwrap();
        lines.nth(1);
        drop(stream.shutdown(Shutdown::Both));
    });
    let ran = run_on(port, Cursor::new("SET a 1\nSET b 2\n\nSET c 3\n"));
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Unusable, "OK\n"));
    assert!(ran.err.starts_with("line 2: "), "{}", ran.err);
    assert!(ran.err.ends_with("those after it were carried out is unknown\n"), "{}", ran.err);
}

#[test]
fn a_line_that_is_too_long_is_refused_and_skipped() {
    let long = io::repeat(b'x').take(MAX_REQUEST_BYTES as u64 + 10);
    let script = Cursor::new("PING\n").chain(long).chain(Cursor::new("\nPING\n"));
    let ran = run_on(fake::store(), script);
    assert_eq!((ran.exit, ran.out.as_str()), (Exit::Refused, "PONG\nPONG\n"));
    assert!(ran.err.starts_with("line 2: "), "{}", ran.err);
}

/// What was written so far, for a test that looks while the script still runs.
#[derive(Clone, Default)]
struct Shared(Arc<Mutex<Vec<u8>>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// Gives the second line only when the reply to the first is out: a person behind a pipe.
struct Asking {
    lines: Vec<&'static str>,
    seen: Shared,
}

impl Read for Asking {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.lines.len() == 1 {
            let replied = || !self.seen.0.lock().unwrap().is_empty();
            let waited = (0..500).any(|_| {
                thread::sleep(Duration::from_millis(10));
                replied()
            });
            assert!(waited, "the first reply is held back");
        }
        let Some(line) = self.lines.pop() else { return Ok(0) };
        buffer[..line.len()].copy_from_slice(line.as_bytes());
        Ok(line.len())
    }
}

#[test]
fn a_reply_is_shown_before_the_next_line_is_there() {
    let seen = Shared::default();
    let input = Asking { lines: vec!["GET b\n", "PING\n"], seen: seen.clone() };
    let (mut out, mut err) = (io::BufWriter::new(seen.clone()), Vec::new());
    let (out_paint, err_paint) = (Paint::default(), Paint::default());
    let mut output = Output { out: &mut out, out_paint, err: &mut err, err_paint };
    let connection = Connection::open(&Endpoint::local(fake::store())).unwrap();
    assert_eq!(run(connection, input, &mut output).unwrap(), Exit::Fine);
    assert_eq!(*seen.0.lock().unwrap(), b"PONG\nNULL\n");
}
