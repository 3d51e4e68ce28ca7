//! Runs the golden scripts in `tests/scripts/protocol`: each in whole lines, byte by byte, with CRLF,
//! and pipelined. The format is told in `tests/scripts/README.md`.

use std::io::Write;
use std::path::Path;
use std::time::Duration;

use super::harness::{Client, Harness};

#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// Bytes to send.
    Send(Vec<u8>),
    /// Bytes to expect.
    Expect(Vec<u8>),
    /// One line that begins so.
    ExpectLine(String),
    /// A `TEXT n` reply that contains this.
    ExpectText(String),
    /// The end of the connection.
    ExpectEnd,
    /// A new connection.
    Reconnect,
}

#[derive(Debug, Clone, Copy, PartialEq)]
enum Mode {
    Lines,
    Bytewise,
    Crlf,
    Pipelined,
}

/// Reads escapes: `\n`, `\r`, `\\`, `\xNN`, and `\{text*count}` for repetition.
fn unescape(text: &str) -> Vec<u8> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('\\') {
        out.extend_from_slice(&rest.as_bytes()[..at]);
        let tail = &rest[at + 1..];
        let used = match tail.as_bytes()[0] {
            b'n' => push(&mut out, b"\n", 1),
            b'r' => push(&mut out, b"\r", 1),
            b'\\' => push(&mut out, b"\\", 1),
            b'x' => {
                let byte = u8::from_str_radix(&tail[1..3], 16).unwrap();
                push(&mut out, &[byte], 3)
            }
            b'{' => {
                let end = tail.find('}').unwrap();
                let (unit, count) = tail[1..end].rsplit_once('*').unwrap();
                push(&mut out, &unit.as_bytes().repeat(count.parse().unwrap()), end + 1)
            }
            other => panic!("unknown escape {:?} in {text}", char::from(other)),
        };
        rest = &tail[used..];
    }
    out.extend_from_slice(rest.as_bytes());
    out
}

fn push(out: &mut Vec<u8>, bytes: &[u8], used: usize) -> usize {
    out.extend_from_slice(bytes);
    used
}

fn with_lf(text: &str) -> Vec<u8> {
    let mut bytes = unescape(text);
    bytes.push(b'\n');
    bytes
}

/// Reads one line of a script; `None` for comments and blank lines.
fn parse(line: &str) -> Option<Step> {
    if line.is_empty() || line.starts_with('#') {
        return None;
    }
    if line == "reconnect" {
        return Some(Step::Reconnect);
    }
    if line == "< [end]" {
        return Some(Step::ExpectEnd);
    }
    // An editor may have cut the space at the end of an empty request or reply.
    let (mark, text) = line.split_once(' ').unwrap_or((line, ""));
    Some(match mark {
        ">" => Step::Send(with_lf(text)),
        ">>" => Step::Send(unescape(text)),
        "<" => Step::Expect(with_lf(text)),
        "<<" => Step::Expect(unescape(text)),
        "<~" => Step::ExpectLine(text.to_owned()),
        "<text" => Step::ExpectText(text.to_owned()),
        other => panic!("unknown mark {other:?} in {line}"),
    })
}

fn expect(client: &mut Client, step: &Step) {
    match step {
        Step::Expect(bytes) => client.expect(bytes),
        Step::ExpectLine(start) => {
            let line = client.line();
            assert!(line.starts_with(start), "{line:?} does not begin with {start:?}");
        }
        Step::ExpectText(part) => {
            let text = client.text("");
            assert!(text.contains(part), "no {part:?} in {text}");
        }
        Step::ExpectEnd => client.expect_end(),
        Step::Send(_) | Step::Reconnect => unreachable!("not an expectation"),
    }
}

fn send(client: &mut Client, bytes: &[u8], mode: Mode) {
    match mode {
        Mode::Crlf => {
            let text: Vec<u8> = bytes
                .split_inclusive(|&byte| byte == b'\n')
                .flat_map(|line| match line.strip_suffix(b"\n") {
                    Some(line) if !line.ends_with(b"\r") => [line, b"\r\n"].concat(),
                    _ => line.to_vec(),
                })
                .collect();
            client.send(text);
        }
        Mode::Bytewise => {
            for &byte in bytes {
                // The server may close in the midst of it, rightly; what it answered is looked at next.
                let _ = client.socket.write_all(&[byte]);
                std::thread::sleep(Duration::from_micros(30));
            }
        }
        Mode::Lines | Mode::Pipelined => client.send(bytes),
    }
}

fn run(name: &str, steps: &[Step], mode: Mode) {
    eprintln!("{name}, {mode:?}");
    let harness = Harness::start();
    for part in steps.split(|step| *step == Step::Reconnect) {
        let mut client = harness.connect_silently();
        let (sends, expectations): (Vec<_>, Vec<_>) =
            part.iter().cloned().partition(|step| matches!(step, Step::Send(_)));
        let ordered =
            if mode == Mode::Pipelined { [sends, expectations].concat() } else { part.to_vec() };
        for step in &ordered {
            match step {
                Step::Send(bytes) => send(&mut client, bytes, mode),
                other => expect(&mut client, other),
            }
        }
    }
    harness.stop();
}

/// A script is long if sending it byte by byte would take long.
fn is_long(steps: &[Step]) -> bool {
    let sent = steps.iter().map(|step| if let Step::Send(bytes) = step { bytes.len() } else { 0 });
    sent.sum::<usize>() > 8 << 10
}

#[test]
fn golden_scripts() {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts/protocol");
    let mut paths: Vec<_> =
        std::fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    assert!(paths.len() > 5, "where are the scripts?");
    for path in paths {
        let script = std::fs::read_to_string(&path).unwrap();
        let steps: Vec<Step> = script.lines().filter_map(parse).collect();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        for mode in [Mode::Lines, Mode::Bytewise, Mode::Crlf, Mode::Pipelined] {
            let only_lines = script.contains("# only: lines");
            if (mode != Mode::Lines && only_lines) || (mode == Mode::Bytewise && is_long(&steps)) {
                continue;
            }
            run(&name, &steps, mode);
        }
    }
}
