//! Tiny servers for tests: enough of the text protocol to try the client without an engine, and RESP
//! with the replies that a test chooses. Threads end with the test process. Shared with `tests/client/`.

use std::collections::HashMap;
use std::io::{BufRead, BufReader, BufWriter, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::{Arc, Mutex};
use std::thread;

/// The keys and values of a fake store.
type Store = Mutex<HashMap<Vec<u8>, Vec<u8>>>;

/// Hands each connection, with its number from 0, to `handler` on a thread of its own.
pub(crate) fn serve(handler: impl Fn(usize, TcpStream) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let handler = Arc::new(handler);
    thread::spawn(move || {
        for (number, stream) in listener.incoming().enumerate() {
            let handler = Arc::clone(&handler);
            thread::spawn(move || handler(number, stream.unwrap()));
        }
    });
    port
}

/// A server that stores, as Chronos does.
pub(crate) fn store() -> u16 {
    let store = Store::default();
    serve(move |_, stream| serve_store(&store, &stream))
}

/// Answers one connection until it ends.
pub(crate) fn serve_store(store: &Store, stream: &TcpStream) {
    let mut input = BufReader::new(stream);
    let mut output = BufWriter::new(stream);
    let mut line = Vec::new();
    while input.read_until(b'\n', &mut line).is_ok_and(|count| count > 0) {
        let text = line.strip_suffix(b"\n").unwrap_or(&line);
        let text = text.strip_suffix(b"\r").unwrap_or(text);
        let (reply, last) = answer(store, text);
        let idle = input.buffer().is_empty();
        if output.write_all(&reply).is_err() || (idle && output.flush().is_err()) || last {
            break;
        }
        line.clear();
    }
    drop(output.flush());
}

fn answer(store: &Store, line: &[u8]) -> (Vec<u8>, bool) {
    let words: Vec<&[u8]> = line.splitn(3, |&byte| byte == b' ').collect();
    let verb = words[0].to_ascii_uppercase();
    let mut store = store.lock().unwrap();
    let reply = match (verb.as_slice(), &words[1..]) {
        (b"" | b" ", _) => return (Vec::new(), false),
        (b"SET", [key, value]) => {
            store.insert(key.to_vec(), value.to_vec());
            b"OK".to_vec()
        }
        (b"GET", [key]) => store.get(*key).cloned().unwrap_or_else(|| b"NULL".to_vec()),
        (b"DEL", [key]) => {
            store.remove(*key);
            b"OK_DELETED".to_vec()
        }
        (b"KEYS", []) => b"LIST 2\na\nb".to_vec(),
        (b"PING", []) => b"PONG".to_vec(),
        (b"INFO", _) => text("keys:1\ndurability:fsync\n"),
        (b"HELP", _) => text("SET key value\nGET key"),
        (b"QUIT", []) => return (b"OK\n".to_vec(), true),
        (b"SHUTDOWN", []) => return (Vec::new(), true),
        _ => b"ERR unknown command or wrong arguments".to_vec(),
    };
    ([reply, b"\n".to_vec()].concat(), false)
}

fn text(text: &str) -> Vec<u8> {
    format!("TEXT {}\n{text}", text.len()).into_bytes()
}

/// A server that reads commands in RESP and answers each as `answer` says, given the number of its
/// connection; an empty answer closes that.
pub(crate) fn serve_resp(
    answer: impl Fn(usize, &[String]) -> Vec<u8> + Send + Sync + 'static,
) -> u16 {
    serve(move |number, stream| {
        let mut input = BufReader::new(&stream);
        while let Some(words) = command(&mut input) {
            let reply = answer(number, &words);
            if reply.is_empty() || (&stream).write_all(&reply).is_err() {
                break;
            }
        }
    })
}

/// One command; none at the end of the connection.
fn command(input: &mut impl BufRead) -> Option<Vec<String>> {
    let count = number_behind(input, '*')?;
    (0..count)
        .map(|_| {
            let mut word = vec![0; number_behind(input, '$')? + 2];
            input.read_exact(&mut word).ok()?;
            word.truncate(word.len() - 2);
            Some(String::from_utf8_lossy(&word).into_owned())
        })
        .collect()
}

/// The number of the next line that is not empty, behind its mark.
fn number_behind(input: &mut impl BufRead, mark: char) -> Option<usize> {
    let mut line = String::new();
    while line.trim().is_empty() {
        line.clear();
        if input.read_line(&mut line).ok()? == 0 {
            return None;
        }
    }
    Some(line.trim().strip_prefix(mark).unwrap().parse().unwrap())
}

/// A port of this machine on which nothing listens. A free one could be given to the next test.
pub(crate) const UNUSED_PORT: u16 = 1;
