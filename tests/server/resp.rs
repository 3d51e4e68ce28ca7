//! A client that speaks RESP and tells the elements of a reply apart.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::TcpStream;

use super::harness::{Harness, PATIENCE};

/// A reply, as far as the tests need it told apart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Reply {
    /// A line with its first byte: a word, an error, a number.
    Line(String),
    Bulk(String),
    Null,
    List(Vec<Reply>),
    Map(Vec<Reply>),
}

impl Reply {
    #[track_caller]
    pub(crate) fn list(self) -> Vec<Reply> {
        match self {
            Reply::List(list) => list,
            other => panic!("{other:?} is no list"),
        }
    }

    #[track_caller]
    pub(crate) fn bulk(self) -> String {
        match self {
            Reply::Bulk(bulk) => bulk,
            other => panic!("{other:?} is no bulk"),
        }
    }
}

/// See the module.
pub(crate) struct Resp {
    socket: TcpStream,
    reader: BufReader<TcpStream>,
}

impl Resp {
    pub(crate) fn connect(harness: &Harness) -> Self {
        let socket = TcpStream::connect(harness.address).unwrap();
        socket.set_read_timeout(Some(PATIENCE)).unwrap();
        let reader = BufReader::new(socket.try_clone().unwrap());
        Resp { socket, reader }
    }

    pub(crate) fn send(&mut self, words: &[&[u8]]) {
        let mut request = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            request.extend(format!("${}\r\n", word.len()).bytes());
            request.extend(*word);
            request.extend(b"\r\n");
        }
        self.socket.write_all(&request).unwrap();
    }

    pub(crate) fn read(&mut self) -> Reply {
        let mut line = String::new();
        self.reader.read_line(&mut line).unwrap();
        let line = line.trim_end();
        let number = || line[1..].parse::<i64>().unwrap();
        let length = || usize::try_from(number()).unwrap();
        match &line[..1] {
            "$" if number() >= 0 => {
                let mut bytes = vec![0; length() + 2];
                self.reader.read_exact(&mut bytes).unwrap();
                bytes.truncate(bytes.len() - 2);
                Reply::Bulk(String::from_utf8_lossy(&bytes).into_owned())
            }
            "*" if number() >= 0 => Reply::List((0..number()).map(|_| self.read()).collect()),
            "%" => Reply::Map((0..2 * number()).map(|_| self.read()).collect()),
            "$" | "*" | "_" => Reply::Null,
            _ => Reply::Line(line.to_owned()),
        }
    }

    /// Sends words and reads a reply.
    pub(crate) fn ask(&mut self, words: &str) -> Reply {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        self.send(&words);
        self.read()
    }

    /// The bytes of a bulk reply.
    pub(crate) fn ask_for_bytes(&mut self, words: &str) -> Vec<u8> {
        let words: Vec<&[u8]> = words.split(' ').map(str::as_bytes).collect();
        self.send(&words);
        let mut head = String::new();
        self.reader.read_line(&mut head).unwrap();
        let mut bytes = vec![0; head.trim_end()[1..].parse::<usize>().unwrap() + 2];
        self.reader.read_exact(&mut bytes).unwrap();
        bytes.truncate(bytes.len() - 2);
        bytes
    }

    /// Sends words and expects a reply, written with spaces between the elements of a list.
    #[track_caller]
    pub(crate) fn expect(&mut self, words: &str, expected: &str) {
        assert_eq!(written(&self.ask(words)), expected, "{words}");
    }

    /// The elements of a list reply.
    #[track_caller]
    pub(crate) fn list(&mut self, words: &str) -> Vec<String> {
        self.ask(words).list().into_iter().map(Reply::bulk).collect()
    }
}

/// A reply as a line of text.
pub(crate) fn written(reply: &Reply) -> String {
    let all = |list: &[Reply]| list.iter().map(written).collect::<Vec<_>>().join(" ");
    match reply {
        Reply::Line(text) | Reply::Bulk(text) => text.clone(),
        Reply::Null => "(null)".to_owned(),
        Reply::List(list) => format!("[{}]", all(list)),
        Reply::Map(list) => format!("{{{}}}", all(list)),
    }
}
