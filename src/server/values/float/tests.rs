//! What redis-server 7.0.15 answered, and what must stay cheap.

use super::*;

/// Value, increment and the value after it, or `!` with the error, apart by tabs.
const SUMS: &str = include_str!("../fixtures/incrbyfloat.txt");

/// The bits of a double, and how it was written in RESP3.
const DOUBLES: &str = include_str!("../fixtures/doubles.txt");

/// The sum or the error as text.
fn sum(current: &[u8], increment: &[u8]) -> String {
    add(current, increment).map_or_else(str::to_owned, |sum| String::from_utf8(sum).unwrap())
}

#[test]
fn sums_are_those_of_redis_to_the_last_digit() {
    let mut lines = 0;
    for line in SUMS.lines() {
        let [current, increment, expected] = line.split('\t').collect::<Vec<_>>()[..] else {
            panic!("{line}");
        };
        let expected = expected.trim_start_matches('!');
        let found = sum(current.as_bytes(), increment.as_bytes());
        assert_eq!(found, expected, "{current} + {increment}");
        lines += 1;
    }
    assert!(lines >= 300);
}

#[test]
fn doubles_are_those_of_redis_to_the_last_digit() {
    let mut lines = 0;
    for line in DOUBLES.lines() {
        let (bits, expected) = line.split_once('\t').unwrap();
        let number = f64::from_bits(u64::from_str_radix(bits, 16).unwrap());
        assert_eq!(format_double(number), expected, "{bits}");
        lines += 1;
    }
    assert!(lines >= 100);
    assert_eq!(format_double(f64::INFINITY), "inf");
    assert_eq!(format_double(f64::NEG_INFINITY), "-inf");
    assert_eq!(format_double(-f64::NAN), "nan");
}

#[test]
fn text_that_is_no_float_is_refused() {
    let long = [b'1'; MAX_CHARS];
    let refused: [&[u8]; 27] = [
        b"", b" ", b"-", b"+", b".", b"-.", b"e5", b".e5", b"1e", b"1e+", b"1e5x", b"1 ", b" 1",
        b"\t1", b"1\0", b"--1", b"1.2.3", b"1,5", b"0x", b"0x.", b"0x1p", b"0xg", b"nan",
        b"nan(1)", b"infinit", b"1_000", &long,
    ];
    for text in refused {
        assert_eq!(add(b"0", text), Err(NOT_A_FLOAT), "{}", text.escape_ascii());
        assert_eq!(add(text, b"0"), Err(NOT_A_FLOAT), "{}", text.escape_ascii());
    }
    assert_eq!(add(b"inf", b"x"), Err(NOT_A_FLOAT));
}

#[test]
fn no_text_is_expensive() {
    let digits = vec![b'7'; 5_000_000];
    assert_eq!(add(b"1", &digits), Err(NOT_A_FLOAT));
    for exponent in ["1e999999999", "1e-999999999", "0x1p99999999999999999999", "-1e4933"] {
        assert_eq!(add(b"1", exponent.as_bytes()), Err(NOT_A_FLOAT), "{exponent}");
    }
    // An exponent that cannot be counted means nothing beside zeros.
    let zeros = format!("-0.{}e{}", "0".repeat(1000), "9".repeat(1000));
    assert_eq!(sum(b"1.5", zeros.as_bytes()), "1.5");
    // As long and as small as may be: the nearest number to it is the smallest.
    let smallest = format!("{}e-9998", "36".repeat(2524));
    assert_eq!(sum(b"0", smallest.as_bytes()), "0");
    let largest = "9".repeat(4933);
    assert_eq!(sum(b"0", largest.as_bytes()), NOT_A_FLOAT);
    assert!(sum(b"0", &largest.as_bytes()[..4932]).len() >= 4932);
}

#[test]
fn numbers_past_the_ends_are_told() {
    let largest = b"0x1.fffffffffffffffep16383";
    assert_eq!(sum(b"0", largest).len(), 4933);
    assert_eq!(add(largest, b"1e4000"), Ok(add(largest, b"0").unwrap()), "too little to count");
    assert_eq!(add(largest, largest), Err(NOT_FINITE));
    assert_eq!(add(b"1", b"0x1.ffffffffffffffffp16383"), Err(NOT_A_FLOAT));
    assert_eq!(add(b"1", b"-Infinity"), Err(NOT_FINITE));
    assert_eq!(sum(b"0x1p-16445", b"1"), "1");
    assert_eq!(add(b"0x1p-16446", b"1"), Err(NOT_A_FLOAT), "half the smallest goes to zero");
    assert_eq!(sum(b"0x1.8p-16446", b"1"), "1");
}
