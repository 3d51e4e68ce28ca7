//! Every type in every format. The expected bytes are what redis-cli 7.0.15 printed for the same
//! replies, but for the departures that the module names.

use super::*;

fn bulk(text: &[u8]) -> Value {
    Value::Bulk(text.to_vec())
}

fn shown(format: Format, value: &Value) -> String {
    let mut out = Vec::new();
    format.print(&mut out, value);
    String::from_utf8(out).unwrap()
}

/// Expects what a value looks like in each format, in the order of [`Format`].
#[track_caller]
fn expect(value: &Value, expected: [&str; 5]) {
    let formats = [Format::Standard, Format::Raw, Format::Csv, Format::Json, Format::QuotedJson];
    for (format, expected) in formats.into_iter().zip(expected) {
        assert_eq!(shown(format, value), format!("{expected}\n"), "{format:?}");
    }
}

#[test]
fn strings_and_errors() {
    let text = "v\"\\\u{1}\u{e9}\n\t";
    expect(
        &bulk(text.as_bytes()),
        [
            "\"v\\\"\\\\\\x01\\xc3\\xa9\\n\\t\"",
            text,
            "\"v\\\"\\\\\\x01\\xc3\\xa9\\n\\t\"",
            "\"v\\\"\\\\\\u0001\u{e9}\\n\\t\"",
            "\"v\\\\\\\"\\\\\\\\\\\\x01\\\\xc3\\\\xa9\\\\n\\\\t\"",
        ],
    );
    expect(&Value::Simple(b"OK".to_vec()), ["OK", "OK", "\"OK\"", "\"OK\"", "\"OK\""]);
    expect(
        &Value::Verbatim(b"a \"b\"\nc".to_vec()),
        [
            "a \"b\"\nc",
            "a \"b\"\nc",
            "\"a \\\"b\\\"\\nc\"",
            "\"a \\\"b\\\"\\nc\"",
            "\"a \\\\\\\"b\\\\\\\"\\\\nc\"",
        ],
    );
    expect(
        &Value::Error(b"ERR no 'x'".to_vec()),
        [
            "(error) ERR no 'x'",
            "ERR no 'x'\n",
            "ERROR,\"ERR no 'x'\"",
            "error:\"ERR no 'x'\"",
            "error:\"ERR no 'x'\"",
        ],
    );
}

#[test]
fn numbers_and_nothing() {
    expect(&Value::Integer(-7), ["(integer) -7", "-7", "-7", "-7", "-7"]);
    let double = Value::Double(b"3.141".to_vec());
    expect(&double, ["(double) 3.141", "3.141", "3.141", "3.141", "3.141"]);
    let infinite = Value::Double(b"-inf".to_vec());
    expect(&infinite, ["(double) -inf", "-inf", "-inf", "\"-inf\"", "\"-inf\""]);
    let big = Value::BigNumber(b"12345678901234567890".to_vec());
    let digits = "12345678901234567890";
    expect(&big, ["(big number) 12345678901234567890", digits, digits, digits, digits]);
    expect(&Value::Boolean(true), ["(true)", "(true)", "true", "true", "true"]);
    expect(&Value::Boolean(false), ["(false)", "(false)", "false", "false", "false"]);
    expect(&Value::Null, ["(nil)", "", "NULL", "null", "null"]);
}

#[test]
fn empty_aggregates() {
    expect(&Value::Array(Vec::new()), ["(empty array)", "", "", "[]", "[]"]);
    expect(&Value::Set(Vec::new()), ["(empty set)", "", "", "[]", "[]"]);
    expect(&Value::Push(Vec::new()), ["(empty push)", "", "", "[]", "[]"]);
    expect(&Value::Map(Vec::new()), ["(empty hash)", "", "", "{}", "{}"]);
}

#[test]
fn aggregates_nest_and_keep_their_columns() {
    let inner = Value::Array(vec![bulk(b"a"), bulk(b"b\"\n\x01")]);
    let two = Value::Array(vec![Value::Integer(2), Value::Array(Vec::new()), inner]);
    let value = Value::Array(vec![
        Value::Integer(1),
        two,
        Value::Simple(b"x".to_vec()),
        Value::Error(b"ERR y".to_vec()),
    ]);
    expect(
        &value,
        [
            "1) (integer) 1\n2) 1) (integer) 2\n   2) (empty array)\n   3) 1) \"a\"\n      \
             2) \"b\\\"\\n\\x01\"\n3) x\n4) (error) ERR y",
            "1\n2\n\na\nb\"\n\u{1}\nx\nERR y\n",
            "1,2,,\"a\",\"b\\\"\\n\\x01\",\"x\",ERROR,\"ERR y\"",
            "[1,[2,[],[\"a\",\"b\\\"\\n\\u0001\"]],\"x\",error:\"ERR y\"]",
            "[1,[2,[],[\"a\",\"b\\\\\\\"\\\\n\\\\x01\"]],\"x\",error:\"ERR y\"]",
        ],
    );
}

#[test]
fn maps_and_sets_have_marks_of_their_own() {
    let double = Value::Map(vec![(bulk(b"double"), Value::Double(b"1.5".to_vec()))]);
    let map = Value::Map(vec![(bulk(b"a"), Value::Integer(1)), (Value::Integer(2), double)]);
    let value = Value::Set(vec![map, Value::Push(vec![Value::Null, Value::Boolean(true)])]);
    expect(
        &value,
        [
            "1~ 1# \"a\" => (integer) 1\n   2# (integer) 2 => 1# \"double\" => (double) 1.5\n\
             2~ 1) (nil)\n   2) (true)",
            "a 1\n2 double 1.5\n\n(true)",
            "\"a\",1,2,\"double\",1.5,NULL,true",
            "[{\"a\":1,\"2\":{\"double\":1.5}},[null,true]]",
            "[{\"a\":1,\"2\":{\"double\":1.5}},[null,true]]",
        ],
    );
}

#[test]
fn several_lines_begin_below_their_key() {
    let pair = || Value::Array(vec![Value::Integer(1), Value::Integer(2)]);
    let map = Value::Map(vec![
        (bulk(b"one"), Value::Array(vec![Value::Integer(1)])),
        (bulk(b"two"), pair()),
        (bulk(b"deep"), Value::Set(vec![pair()])),
        (bulk(b"text"), Value::Verbatim(b"a\nb".to_vec())),
    ]);
    let expected = [
        "1) 1# \"one\" => 1) (integer) 1",
        "   2# \"two\" => ",
        "      1) (integer) 1",
        "      2) (integer) 2",
        "   3# \"deep\" => ",
        "      1~ 1) (integer) 1",
        "         2) (integer) 2",
        "   4# \"text\" => a",
        "b",
    ];
    let text = shown(Format::Standard, &Value::Array(vec![map]));
    assert_eq!(text.lines().collect::<Vec<_>>(), expected);
}

#[test]
fn ten_items_have_two_columns_of_digits() {
    let many = Value::Array((0..10).map(Value::Integer).collect());
    let text = shown(Format::Standard, &Value::Array(vec![many]));
    let lines: Vec<_> = text.lines().collect();
    assert_eq!(lines[0], "1)  1) (integer) 0");
    assert_eq!(lines[8], "    9) (integer) 8");
    assert_eq!(lines[9], "   10) (integer) 9");
}

#[test]
fn json_is_json_whatever_the_bytes() {
    let key = Value::Array(vec![bulk(b"k\"")]);
    let ascii: Vec<u8> = (0..=127).collect();
    let value =
        Value::Map(vec![(key, bulk(&ascii)), (Value::Null, Value::Double(b"inf".to_vec()))]);
    for format in [Format::Json, Format::QuotedJson] {
        let parsed: serde_json::Value = serde_json::from_str(&shown(format, &value)).unwrap();
        assert_eq!(parsed["null"], "inf");
    }
    let parsed: serde_json::Value = serde_json::from_str(&shown(Format::Json, &value)).unwrap();
    assert_eq!(parsed["[\"k\\\"\"]"].as_str().unwrap().as_bytes(), ascii);
}
