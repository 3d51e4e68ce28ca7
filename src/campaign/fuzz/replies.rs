//! Replies: what the server encodes, the client decodes, in any pieces; and whatever the client is
//! sent, it answers with values or an error, the same in any pieces.

use std::io::{self, Read};

use super::source::Source;
use crate::client::reply::{Reply, ReplyReader};
use crate::client::request::Shape;
use crate::client::resp::decode::Decoder;
use crate::client::resp::value::Value;
use crate::engine::storage::sim::Random;
use crate::parser::{Encoder, Protocol};
use crate::server::values::float;

/// How deep a reply nests, at most.
const MOST_DEPTH: usize = 5;
/// The most elements of an aggregate.
const MOST_ELEMENTS: usize = 5;
const WORDS: [&str; 3] = ["OK", "PONG", "QUEUED"];

/// A reply.
#[derive(Debug)]
enum Node {
    Simple(&'static str),
    Error(Vec<u8>),
    Integer(i64),
    Bulk(Vec<u8>),
    Null,
    NullArray,
    Double(f64),
    Verbatim(String),
    Array(Vec<Node>),
    Map(Vec<(Node, Node)>),
    Set(Vec<Node>),
    Push(Vec<Node>),
}

/// Encodes a reply that the input spells, and has the client read it.
pub(super) fn check(input: &[u8]) -> Result<u64, String> {
    let mut source = Source::new(input);
    let protocol = source.pick(&[Protocol::Text, Protocol::Resp2, Protocol::Resp3]);
    let splits = Random(source.u8().into());
    let node = Node::read(&mut source, 0);
    let mut bytes = Vec::new();
    node.encode(&mut Encoder::new(protocol, &mut bytes));
    let found = if protocol == Protocol::Text {
        let shape = if matches!(node, Node::Bulk(_)) { Shape::Value } else { Shape::Announced };
        let mut reader = ReplyReader::new(Pieces { bytes: &bytes, random: splits });
        let found = reader.read(shape).map_err(|error| error.to_string());
        agrees(&node, &found).then_some(()).ok_or_else(|| format!("{found:?}"))
    } else {
        let (values, error) = decoded(&bytes, splits);
        let expected = node.value(protocol == Protocol::Resp3);
        let is_right = error.is_none() && values == [expected];
        is_right.then_some(()).ok_or_else(|| format!("{values:?} {error:?}"))
    };
    found.map(|()| 0).map_err(|found| {
        format!("{node:?} was encoded as {} and read as {found}", bytes.escape_ascii())
    })
}

/// Has the client read whatever the input is, at once and in pieces.
pub(super) fn check_client(input: &[u8]) -> Result<u64, String> {
    let mut source = Source::new(input);
    let (head, splits) = (source.u8(), Random(source.u8().into()));
    let bytes = source.rest();
    if head & 1 == 0 {
        let (whole, pieces) = (decoded_at_once(bytes), decoded(bytes, splits));
        return if whole == pieces { Ok(0) } else { Err(format!("{whole:?} or {pieces:?}")) };
    }
    let shape = if head & 2 == 0 { Shape::Value } else { Shape::Announced };
    let (whole, pieces) = (replies(bytes, shape), replies(Pieces { bytes, random: splits }, shape));
    if whole == pieces { Ok(0) } else { Err(format!("{whole:?} or {pieces:?}")) }
}

type Decoded = (Vec<Value>, Option<String>);

/// All values, and the error behind them.
fn decoded(bytes: &[u8], mut splits: Random) -> Decoded {
    let (mut decoder, mut values) = (Decoder::default(), Vec::new());
    let mut rest = bytes;
    while !rest.is_empty() {
        let (piece, behind) = rest.split_at(piece_len(rest.len(), &mut splits));
        rest = behind;
        decoder.feed(piece);
        if let Some(error) = drain(&mut decoder, &mut values) {
            return (values, Some(error));
        }
    }
    (values, None)
}

fn decoded_at_once(bytes: &[u8]) -> Decoded {
    let (mut decoder, mut values) = (Decoder::default(), Vec::new());
    decoder.feed(bytes);
    let error = drain(&mut decoder, &mut values);
    (values, error)
}

fn drain(decoder: &mut Decoder, values: &mut Vec<Value>) -> Option<String> {
    loop {
        match decoder.next() {
            Ok(Some(value)) => values.push(value),
            Ok(None) => return None,
            Err(error) => return Some(error.to_string()),
        }
    }
}

fn replies(bytes: impl Read, shape: Shape) -> (Vec<Reply>, String) {
    let (mut reader, mut replies) = (ReplyReader::new(bytes), Vec::new());
    loop {
        match reader.read(shape) {
            Ok(reply) => replies.push(reply),
            Err(error) => return (replies, error.to_string()),
        }
    }
}

fn piece_len(left: usize, random: &mut Random) -> usize {
    let most = [1, 3, 40, left][random.below(4) as usize];
    left.min(1 + random.below(most as u64) as usize)
}

/// Bytes that arrive in pieces.
struct Pieces<'a> {
    bytes: &'a [u8],
    random: Random,
}

impl Read for Pieces<'_> {
    fn read(&mut self, room: &mut [u8]) -> io::Result<usize> {
        if self.bytes.is_empty() {
            return Ok(0);
        }
        let len = piece_len(self.bytes.len().min(room.len()), &mut self.random);
        self.bytes.split_at(len).0.read(room).inspect(|len| self.bytes = &self.bytes[*len..])
    }
}

impl Node {
    fn read(source: &mut Source<'_>, depth: usize) -> Self {
        let kinds = if depth < MOST_DEPTH { 12 } else { 8 };
        let text = |source: &mut Source<'_>| String::from_utf8_lossy(source.word(40)).into_owned();
        match source.below(kinds) {
            0 => Node::Simple(source.pick(&WORDS)),
            1 => Node::Error([b"ERR ", source.word(40)].concat()),
            2 => Node::Integer(source.number().cast_signed()),
            3 => Node::Bulk(source.word(40).to_vec()),
            4 => Node::Null,
            5 => Node::NullArray,
            6 => Node::Double(f64::from_bits(source.u64())),
            7 => Node::Verbatim(text(source)),
            8 => Node::Array(Self::read_some(source, depth)),
            9 => {
                let keys = Self::read_some(source, depth).into_iter();
                Node::Map(keys.map(|key| (key, Self::read(source, depth + 1))).collect())
            }
            10 => Node::Set(Self::read_some(source, depth)),
            _ => Node::Push(Self::read_some(source, depth)),
        }
    }

    fn read_some(source: &mut Source<'_>, depth: usize) -> Vec<Node> {
        (0..source.below(MOST_ELEMENTS + 1)).map(|_| Self::read(source, depth + 1)).collect()
    }

    fn encode(&self, encoder: &mut Encoder<'_>) {
        match self {
            Node::Simple(word) => encoder.simple(word),
            Node::Error(line) => encoder.error(line),
            Node::Integer(number) => encoder.integer(*number),
            Node::Bulk(bytes) => encoder.bulk(bytes),
            Node::Null => encoder.null(),
            Node::NullArray => encoder.null_array(),
            Node::Double(number) => encoder.double(&float::format_double(*number)),
            Node::Verbatim(text) => encoder.verbatim(text),
            Node::Array(_) => encoder.array(self.elements().len()),
            Node::Map(pairs) => encoder.map(pairs.len()),
            Node::Set(_) => encoder.set(self.elements().len()),
            Node::Push(_) => encoder.push(self.elements().len()),
        }
        self.elements().iter().for_each(|element| element.encode(encoder));
    }

    /// The elements of an aggregate, the keys and values of a map in turn.
    fn elements(&self) -> Vec<&Node> {
        match self {
            Node::Array(nodes) | Node::Set(nodes) | Node::Push(nodes) => nodes.iter().collect(),
            Node::Map(pairs) => pairs.iter().flat_map(|(key, value)| [key, value]).collect(),
            _ => Vec::new(),
        }
    }

    fn is_aggregate(&self) -> bool {
        matches!(self, Node::Array(_) | Node::Map(_) | Node::Set(_) | Node::Push(_))
    }

    /// What a RESP client has to read.
    fn value(&self, is_resp3: bool) -> Value {
        let values = |nodes: &[Node]| nodes.iter().map(|node| node.value(is_resp3)).collect();
        match self {
            Node::Simple(word) => Value::Simple(word.as_bytes().to_vec()),
            Node::Error(line) => Value::Error(
                line.iter().map(|b| if matches!(b, b'\r' | b'\n') { b' ' } else { *b }).collect(),
            ),
            Node::Integer(number) => Value::Integer(*number),
            Node::Bulk(bytes) => Value::Bulk(bytes.clone()),
            Node::Null | Node::NullArray => Value::Null,
            Node::Double(number) => {
                let digits = float::format_double(*number).into_bytes();
                if is_resp3 { Value::Double(digits) } else { Value::Bulk(digits) }
            }
            Node::Verbatim(text) if is_resp3 => Value::Verbatim(text.as_bytes().to_vec()),
            Node::Verbatim(text) => Value::Bulk(text.as_bytes().to_vec()),
            Node::Set(nodes) if is_resp3 => Value::Set(values(nodes)),
            Node::Push(nodes) if is_resp3 => Value::Push(values(nodes)),
            Node::Map(pairs) if is_resp3 => {
                let both = |(key, value): &(Node, Node)| (key.value(true), value.value(true));
                Value::Map(pairs.iter().map(both).collect())
            }
            _ => Value::Array(self.elements().iter().map(|node| node.value(is_resp3)).collect()),
        }
    }

    /// The line that a scalar is in text; `None` if it is none.
    fn line(&self) -> Option<Vec<u8>> {
        match self {
            Node::Simple(word) => Some(word.as_bytes().to_vec()),
            Node::Error(line) => {
                let mut shown = Vec::new();
                for byte in line {
                    if *byte < 0x20 || *byte == 0x7f {
                        shown.extend(format!("\\x{byte:02x}").into_bytes());
                    } else {
                        shown.push(*byte);
                    }
                }
                Some(shown)
            }
            Node::Integer(number) => Some(number.to_string().into_bytes()),
            Node::Bulk(bytes) => (!bytes.contains(&b'\n')).then(|| bytes.clone()),
            Node::Null | Node::NullArray => Some(b"NULL".to_vec()),
            Node::Double(number) => Some(float::format_double(*number).into_bytes()),
            _ => None,
        }
    }
}

/// Whether a reply in text is what it has to be: what has no shape there is an error as a whole.
fn agrees(node: &Node, found: &Result<Reply, String>) -> bool {
    let Ok(found) = found else { return false };
    if node.is_aggregate() {
        let lines: Option<Vec<Vec<u8>>> = node.elements().iter().map(|node| node.line()).collect();
        return match (lines, found) {
            (Some(lines), Reply::List(found)) => lines == *found,
            (None, found) => found.is_error(),
            (Some(_), _) => false,
        };
    }
    let shown = match (node, found) {
        (Node::Verbatim(text), Reply::Text(found)) => return text.as_bytes() == found.as_slice(),
        // A value may look like an error; the protocol says so.
        (Node::Bulk(_) | Node::Error(_), Reply::Error(found)) => found,
        (Node::Verbatim(_) | Node::Error(_), _) => return false,
        (_, Reply::Line(found)) => found,
        _ => return false,
    };
    node.line().map_or(found.is_error(), |line| line == *shown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reply_that_reads_as_another_is_found() {
        let node = Node::Array(vec![Node::Integer(7), Node::Null]);
        let right = Reply::List(vec![b"7".to_vec(), b"NULL".to_vec()]);
        assert!(agrees(&node, &Ok(right)));
        let wrong = [
            Reply::List(vec![b"7".to_vec()]),
            Reply::List(vec![b"7".to_vec(), b"null".to_vec()]),
            Reply::Line(b"7".to_vec()),
            Reply::Error(b"ERR 7".to_vec()),
        ];
        for wrong in wrong {
            assert!(!agrees(&node, &Ok(wrong)));
        }
        let nested = Node::Array(vec![Node::Array(vec![])]);
        assert!(!agrees(&nested, &Ok(Reply::List(vec![b"LIST 0".to_vec()]))));
        assert!(!agrees(&nested, &Err("closed".to_owned())));
    }

    #[test]
    fn replies_of_every_kind_are_read_back() {
        for first in 0..3 {
            for kind in 0..12 {
                assert_eq!(check(&[first, 1, kind, 2, 2, 3, 3, 1, b'x', 2, 250]), Ok(0));
            }
        }
    }
}
