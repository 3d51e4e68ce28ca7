//! Floats as text: the arithmetic of INCRBYFLOAT, and how RESP3 writes a double.
//!
//! INCRBYFLOAT adds in the 80-bit format and prints up to 17 decimals, and clients see each of these
//! digits, so it is done here bit for bit. What it takes for a float is what C's `strtold` takes,
//! white space before it excluded: decimal, hexadecimal, signed, with or without an exponent. Text
//! from clients is bounded first ([`MAX_CHARS`]), and numbers that are far out of range are told by
//! their digits and exponent alone, so that no text is expensive.

mod big;
mod extended;

use big::Big;
use extended::Extended;

/// What INCRBYFLOAT answers for an argument or value that is not a float.
pub(crate) const NOT_A_FLOAT: &str = "ERR value is not a valid float";

/// What INCRBYFLOAT answers for a sum that is no number.
pub(crate) const NOT_FINITE: &str = "ERR increment would produce NaN or Infinity";

/// The characters of the longest text that may be a float, plus one.
const MAX_CHARS: usize = 5 * 1024;

/// Exponents of ten, of the first digit, beyond which every number is infinite or zero.
const TEN_EXPONENTS: std::ops::RangeInclusive<i64> = -4960..=4940;

/// Exponents of two, of the first hexadecimal digit, beyond which it is so.
const TWO_EXPONENTS: std::ops::RangeInclusive<i64> = -16460..=16400;

/// What text may spell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Float {
    Finite(Extended),
    Infinite,
}

/// What INCRBYFLOAT makes of a value, as text.
pub(crate) fn add(current: &[u8], increment: &[u8]) -> Result<Vec<u8>, &'static str> {
    let current = parse(current).ok_or(NOT_A_FLOAT)?;
    let increment = parse(increment).ok_or(NOT_A_FLOAT)?;
    let (Float::Finite(current), Float::Finite(increment)) = (current, increment) else {
        return Err(NOT_FINITE);
    };
    let sum = current.plus(increment).ok_or(NOT_FINITE)?;
    Ok(sum.decimal().into_bytes())
}

/// A double as RESP3 carries it: 17 significant digits at most, `inf`, `-inf` or `nan`.
pub(crate) fn format_double(number: f64) -> String {
    const DIGITS: i32 = 17;
    if number.is_nan() {
        return "nan".to_owned();
    }
    if number.is_infinite() {
        return if number > 0.0 { "inf" } else { "-inf" }.to_owned();
    }
    let scientific = format!("{number:.16e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    if (-4..DIGITS).contains(&exponent) {
        let decimals = (DIGITS - 1 - exponent).unsigned_abs() as usize;
        return without_trailing_zeros(&format!("{number:.decimals$}")).to_owned();
    }
    let digits = without_trailing_zeros(digits);
    let sign = if exponent < 0 { '-' } else { '+' };
    format!("{digits}e{sign}{:02}", exponent.unsigned_abs())
}

/// Cuts zeros behind the point, and the point if nothing is left behind it.
fn without_trailing_zeros(text: &str) -> &str {
    if text.contains('.') { text.trim_end_matches('0').trim_end_matches('.') } else { text }
}

/// The number that the whole of `text` spells; `None` if it spells none, or one that is not zero and
/// yet too small, or finite and yet too large.
fn parse(text: &[u8]) -> Option<Float> {
    if text.len() >= MAX_CHARS {
        return None;
    }
    let (unsigned, is_negative) = split_sign(text);
    if unsigned.eq_ignore_ascii_case(b"inf") || unsigned.eq_ignore_ascii_case(b"infinity") {
        return Some(Float::Infinite);
    }
    let number = match unsigned {
        [b'0', b'x' | b'X', rest @ ..] => hexadecimal(rest)?,
        rest => decimal(rest)?,
    };
    Some(Float::Finite(if is_negative { number.negated() } else { number }))
}

/// The text behind a sign, and whether that is a minus.
fn split_sign(text: &[u8]) -> (&[u8], bool) {
    let unsigned = text.strip_prefix(b"-").or(text.strip_prefix(b"+")).unwrap_or(text);
    (unsigned, text.starts_with(b"-"))
}

/// A length of text, which is far below the limits of both.
fn signed(len: usize) -> i64 {
    len.cast_signed() as i64
}

/// The parts of a number without its sign.
struct Literal {
    /// ASCII digits without the point, none of them a zero at either end.
    digits: Vec<u8>,
    /// The power of the base by which the digits, read as an integer, are multiplied.
    scale: i64,
    /// The exponent behind the letter that introduces it.
    exponent: i64,
}

impl Literal {
    /// Takes `text` apart; `None` if it is not of the form digits, point, digits, exponent.
    fn parse(text: &[u8], is_digit: fn(&u8) -> bool, letter: u8) -> Option<Self> {
        let count = |text: &[u8]| text.iter().take_while(|byte| is_digit(byte)).count();
        let (whole, rest) = text.split_at(count(text));
        let (fraction, rest) = match rest {
            [b'.', rest @ ..] => rest.split_at(count(rest)),
            rest => (&[][..], rest),
        };
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let exponent = match rest {
            [] => 0,
            [first, rest @ ..] if first.eq_ignore_ascii_case(&letter) => parse_exponent(rest)?,
            _ => return None,
        };
        let mut digits = [whole, fraction].concat();
        let zeros = digits.iter().rev().take_while(|digit| **digit == b'0').count();
        digits.truncate(digits.len() - zeros);
        let leading = digits.iter().take_while(|digit| **digit == b'0').count();
        digits.drain(..leading);
        let scale = signed(zeros) - signed(fraction.len());
        Some(Literal { digits, scale, exponent })
    }
}

/// The exponent that `text` spells, cut off where no number of [`MAX_CHARS`] can tell any more.
fn parse_exponent(text: &[u8]) -> Option<i64> {
    const ENOUGH: i64 = 1 << 40;
    let (digits, is_negative) = split_sign(text);
    if digits.is_empty() || !digits.iter().all(u8::is_ascii_digit) {
        return None;
    }
    let shifted = |number: i64, digit: &u8| (number * 10 + i64::from(digit - b'0')).min(ENOUGH);
    let magnitude = digits.iter().fold(0, shifted);
    Some(if is_negative { -magnitude } else { magnitude })
}

fn decimal(text: &[u8]) -> Option<Extended> {
    let Literal { digits, scale, exponent } = Literal::parse(text, u8::is_ascii_digit, b'e')?;
    if digits.is_empty() {
        return Some(Extended::ZERO);
    }
    let power = scale + exponent;
    if !TEN_EXPONENTS.contains(&(power + signed(digits.len()))) {
        return None;
    }
    let numerator = Big::from_decimal(digits.into_iter());
    let tens = power.unsigned_abs() as usize;
    let number = if power < 0 {
        Extended::nearest(numerator, &Big::new(1).times_ten_to(tens), 0)
    } else {
        Extended::nearest(numerator.times_ten_to(tens), &Big::new(1), 0)
    };
    number.filter(|number| !number.is_zero())
}

fn hexadecimal(text: &[u8]) -> Option<Extended> {
    let Literal { digits, scale, exponent } = Literal::parse(text, u8::is_ascii_hexdigit, b'p')?;
    if digits.is_empty() {
        return Some(Extended::ZERO);
    }
    let power = scale * 4 + exponent;
    if !TWO_EXPONENTS.contains(&(power + signed(digits.len()) * 4)) {
        return None;
    }
    let value = |digit: u8| char::from(digit).to_digit(16).unwrap_or(0);
    let numerator = Big::from_hexadecimal(digits.into_iter().map(value));
    let number = Extended::nearest(numerator, &Big::new(1), power as i32);
    number.filter(|number| !number.is_zero())
}

#[cfg(test)]
mod tests;
