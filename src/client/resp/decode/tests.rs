//! Every type, every split, and everything that must be refused.

use super::*;

fn bulk(text: &str) -> Value {
    Value::Bulk(text.as_bytes().to_vec())
}

/// Every type once, with what it means.
fn every_type() -> Vec<(&'static [u8], Value)> {
    use Value::{Array, BigNumber, Boolean, Double, Error, Integer, Map, Null, Push, Set, Simple};
    vec![
        (b"+OK\r\n", Simple(b"OK".to_vec())),
        (b"+\r\n", Simple(Vec::new())),
        (b"-ERR no\r\n", Error(b"ERR no".to_vec())),
        (b"!8\r\nERR a\r\nb\r\n", Error(b"ERR a\r\nb".to_vec())),
        (b":-42\r\n", Integer(-42)),
        (b":9223372036854775807\r\n", Integer(i64::MAX)),
        (b"$0\r\n\r\n", bulk("")),
        (b"$5\r\na\r\n\0b\r\n", bulk("a\r\n\0b")),
        (b"$-1\r\n", Null),
        (b"*-1\r\n", Null),
        (b"_\r\n", Null),
        (b"#t\r\n", Boolean(true)),
        (b"#f\r\n", Boolean(false)),
        (b",3.140\r\n", Double(b"3.140".to_vec())),
        (b",-inf\r\n", Double(b"-inf".to_vec())),
        (
            b"(-1234567890123456789012345678901\r\n",
            BigNumber(b"-1234567890123456789012345678901".to_vec()),
        ),
        (b"=8\r\ntxt:a\r\nb\r\n", Value::Verbatim(b"a\r\nb".to_vec())),
        (b"*0\r\n", Array(Vec::new())),
        (b"*2\r\n*1\r\n:1\r\n$-1\r\n", Array(vec![Array(vec![Integer(1)]), Null])),
        (b"%1\r\n+k\r\n~1\r\n#t\r\n", Map(vec![(Simple(b"k".to_vec()), Set(vec![Boolean(true)]))])),
        (b"%0\r\n", Map(Vec::new())),
        (b">2\r\n$1\r\na\r\n:1\r\n", Push(vec![bulk("a"), Integer(1)])),
        (b"|1\r\n+ttl\r\n*1\r\n:3\r\n:7\r\n", Integer(7)),
        (b"*2\r\n|0\r\n:1\r\n|1\r\n:0\r\n:0\r\n:2\r\n", Array(vec![Integer(1), Integer(2)])),
        (b"$?\r\n;2\r\nab\r\n;1\r\nc\r\n;0\r\n", bulk("abc")),
        (b"*?\r\n:1\r\n*?\r\n.\r\n.\r\n", Array(vec![Integer(1), Array(Vec::new())])),
        (b"%?\r\n:1\r\n:2\r\n.\r\n", Map(vec![(Integer(1), Integer(2))])),
    ]
}

fn all(decoder: &mut Decoder) -> Vec<Value> {
    std::iter::from_fn(|| decoder.next().unwrap()).collect()
}

#[test]
fn every_type_is_read_alone() {
    for (wire, value) in every_type() {
        let mut decoder = Decoder::default();
        decoder.feed(wire);
        assert_eq!(decoder.next().unwrap(), Some(value), "{}", wire.escape_ascii());
        assert_eq!(decoder.next().unwrap(), None, "{}", wire.escape_ascii());
    }
}

#[test]
fn every_cut_gives_the_same_values() {
    let (wires, values): (Vec<_>, Vec<_>) = every_type().into_iter().unzip();
    let wire = wires.concat();
    for cut in 0..=wire.len() {
        let mut decoder = Decoder::default();
        decoder.feed(&wire[..cut]);
        let mut got = all(&mut decoder);
        decoder.feed(&wire[cut..]);
        got.extend(all(&mut decoder));
        assert_eq!(got, values, "cut at {cut}");
    }
    for step in 1..40 {
        let mut decoder = Decoder::default();
        let mut got = Vec::new();
        for part in wire.chunks(step) {
            decoder.feed(part);
            got.extend(all(&mut decoder));
        }
        assert_eq!(got, values, "steps of {step}");
    }
}

#[test]
fn no_prefix_of_a_value_is_a_value() {
    for (wire, _) in every_type() {
        for cut in 0..wire.len() {
            let mut decoder = Decoder::default();
            decoder.feed(&wire[..cut]);
            assert_eq!(decoder.next().unwrap(), None, "{} at {cut}", wire.escape_ascii());
        }
    }
}

#[test]
fn what_is_not_resp_is_refused() {
    let wrong: [&[u8]; 24] = [
        b"\r\n",
        b"hello\r\n",
        b"+OK\n",
        b":\r\n",
        b":1x\r\n",
        b":9223372036854775808\r\n",
        b"$-2\r\n",
        b"$+1\r\n",
        b"$ 1\r\n",
        b"$1\r\nabc",
        b"*x\r\n",
        b"*-2\r\n",
        b"%-1\r\n",
        b"#x\r\n",
        b"_x\r\n",
        b",\r\n",
        b",1.5x\r\n",
        b"(1.5\r\n",
        b"(\r\n",
        b"=3\r\ntxt\r\n",
        b".\r\n",
        b";1\r\na\r\n",
        b"$?\r\n+a\r\n",
        b"%?\r\n:1\r\n.\r\n",
    ];
    for wire in wrong {
        let mut decoder = Decoder::default();
        decoder.feed(wire);
        let refused = matches!(decoder.next(), Err(Error::NotResp(_)));
        assert!(refused, "{}", wire.escape_ascii());
    }
}

#[test]
fn lengths_are_bounded_before_anything_is_allocated() {
    let wires: [&[u8]; 5] = [
        b"$536870913\r\n",
        b"*99999999999\r\n",
        b"%40000000\r\n",
        b"~18446744073709551616\r\n",
        b"!999999999999999\r\n",
    ];
    for wire in wires {
        let mut decoder = Decoder::default();
        decoder.feed(wire);
        assert!(matches!(decoder.next(), Err(Error::TooLarge { .. })), "{}", wire.escape_ascii());
    }
    let mut decoder = Decoder::default();
    decoder.feed(&vec![b'+'; MAX_LINE_BYTES + 1]);
    assert!(matches!(decoder.next(), Err(Error::TooLarge { .. })));
}

#[test]
fn nesting_is_bounded() {
    let deep = |levels: usize| [b"*1\r\n".repeat(levels), b":1\r\n".to_vec()].concat();
    let mut decoder = Decoder::default();
    decoder.feed(&deep(MAX_DEPTH));
    assert!(decoder.next().unwrap().is_some());
    decoder.feed(&deep(MAX_DEPTH + 1));
    assert!(matches!(decoder.next(), Err(Error::NotResp(_))));
}
