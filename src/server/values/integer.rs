//! Integers as decimal text: which bytes count as one, and how one is written.
//!
//! A value that reads as an integer is written back byte for byte the same, so there is exactly one
//! spelling of each number: no plus, no spaces, no leading zeros, no `-0`. Everything else is a
//! string, which INCR refuses.

/// What a command answers for an argument or value that [`parse`] refuses.
pub(crate) const NOT_AN_INTEGER: &str = "ERR value is not an integer or out of range";

/// The digits of `u64::MAX`.
const MAX_DIGITS: usize = 20;

/// The integer that `text` spells; `None` if it is not the one spelling of an `i64`.
pub(crate) fn parse(text: &[u8]) -> Option<i64> {
    let (digits, is_negative) = match text {
        [b'-', digits @ ..] => (digits, true),
        digits => (digits, false),
    };
    match digits {
        [b'0'] if !is_negative => return Some(0),
        [b'1'..=b'9', ..] if digits.len() < MAX_DIGITS => {}
        _ => return None,
    }
    let mut magnitude = 0_u64;
    for &byte in digits {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        // At most 19 digits: below 2^64.
        magnitude = magnitude * 10 + u64::from(digit);
    }
    if is_negative { 0_i64.checked_sub_unsigned(magnitude) } else { i64::try_from(magnitude).ok() }
}

/// Appends a number in decimal.
pub(crate) fn push(number: i64, out: &mut Vec<u8>) {
    let mut digits = [0; MAX_DIGITS];
    let mut start = digits.len();
    let mut rest = number.unsigned_abs();
    loop {
        start -= 1;
        digits[start] = b'0' + (rest % 10) as u8;
        rest /= 10;
        if rest == 0 {
            break;
        }
    }
    if number < 0 {
        out.push(b'-');
    }
    out.extend_from_slice(&digits[start..]);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pushed(number: i64) -> String {
        let mut out = Vec::new();
        push(number, &mut out);
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn each_integer_has_one_spelling() {
        let mut numbers =
            vec![0, 1, -1, 9, 10, -10, i64::MAX, i64::MIN, i64::MAX - 1, i64::MIN + 1];
        for power in 0..63 {
            numbers.extend([1 << power, -(1 << power), (1 << power) - 1]);
        }
        for number in numbers {
            assert_eq!(pushed(number), number.to_string());
            assert_eq!(parse(number.to_string().as_bytes()), Some(number));
        }
    }

    #[test]
    fn every_other_spelling_is_a_string() {
        let refused: [&[u8]; 20] = [
            b"",
            b"-",
            b"+1",
            b" 1",
            b"1 ",
            b"01",
            b"00",
            b"-0",
            b"-01",
            b"--1",
            b"1.0",
            b"1e3",
            b"0x1",
            b"1\0",
            b"9223372036854775808",
            b"-9223372036854775809",
            b"18446744073709551616",
            b"99999999999999999999",
            b"-99999999999999999999",
            &[b'1'; 5000],
        ];
        for text in refused {
            assert_eq!(parse(text), None, "{}", text.escape_ascii());
        }
    }
}
