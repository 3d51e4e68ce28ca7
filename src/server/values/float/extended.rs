//! Numbers of the x87's 80-bit format, whose arithmetic Redis's INCRBYFLOAT shows to its clients.
//!
//! A number is a sign and `mantissa` x 2^`exponent` with a mantissa of 64 bits; every operation
//! rounds to the nearest such number, ties to the even mantissa, as the processor does. Rejected:
//! `f64`, which gives other digits than Redis, and a library of soft floats, which cannot print a
//! given number of decimals.

use super::big::Big;

/// The bits of a mantissa.
const MANTISSA_BITS: i32 = 64;
/// The exponent of the smallest numbers, whose mantissas have leading zeros.
const MIN_EXPONENT: i32 = -16445;
/// The exponent of the largest numbers.
const MAX_EXPONENT: i32 = 16383 - 63;

/// By how many bits [`Extended::plus`] raises a mantissa.
const ROOM: u32 = 62;

/// What the decimals printed are, and their power of ten.
const DECIMALS: (usize, u128) = (17, 100_000_000_000_000_000);

/// A number that is neither infinite nor NaN.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Extended {
    is_negative: bool,
    /// Its top bit is set, or the number is zero or the exponent is the smallest.
    mantissa: u64,
    exponent: i32,
}

impl Extended {
    pub(super) const ZERO: Extended =
        Extended { is_negative: false, mantissa: 0, exponent: MIN_EXPONENT };

    pub(super) fn is_zero(self) -> bool {
        self.mantissa == 0
    }

    pub(super) fn negated(self) -> Self {
        Extended { is_negative: !self.is_negative, ..self }
    }

    /// The number nearest to `numerator` / `denominator` x 2^`exponent`; `None` past the largest.
    /// The denominator is not zero.
    pub(super) fn nearest(numerator: Big, denominator: &Big, exponent: i32) -> Option<Self> {
        if numerator.is_zero() {
            return Some(Self::ZERO);
        }
        // Scaled so that the quotient has 65 or 66 bits: the mantissa's, and at least the half.
        let surplus =
            numerator.bits().cast_signed() - denominator.bits().cast_signed() - MANTISSA_BITS - 1;
        let (mut rest, divisor) = if surplus < 0 {
            (numerator.shifted(surplus.unsigned_abs()), denominator.clone())
        } else {
            (numerator, denominator.clone().shifted(surplus.unsigned_abs()))
        };
        let high = rest.divide(&divisor.clone().shifted(2), MANTISSA_BITS.unsigned_abs());
        let low = rest.divide(&divisor, 2);
        let quotient = u128::from(high) << 2 | u128::from(low);
        // A last bit tells what is halfway from what is more.
        let sticky = u128::from(!rest.is_zero());
        Self::rounded(false, quotient << 1 | sticky, exponent + surplus - 1)
    }

    /// The number nearest to `mantissa` x 2^`exponent`; `None` past the largest.
    fn rounded(is_negative: bool, mantissa: u128, exponent: i32) -> Option<Self> {
        if mantissa == 0 {
            return Some(Self::ZERO);
        }
        let bits = (u128::BITS - mantissa.leading_zeros()).cast_signed();
        let raised = (exponent + bits - MANTISSA_BITS).max(MIN_EXPONENT);
        let (mut mantissa, mut exponent) = if raised < exponent {
            (mantissa << (exponent - raised), raised)
        } else {
            (round_off(mantissa, (raised - exponent).unsigned_abs()), raised)
        };
        if mantissa >> MANTISSA_BITS != 0 {
            mantissa >>= 1;
            exponent += 1;
        }
        let is_finite = exponent <= MAX_EXPONENT;
        is_finite.then_some(Extended { is_negative, mantissa: mantissa as u64, exponent })
    }

    /// The sum; `None` past the largest number.
    pub(super) fn plus(self, other: Self) -> Option<Self> {
        if self.is_zero() || other.is_zero() {
            return Some(if self.is_zero() { other } else { self });
        }
        let (large, small) =
            if self.exponent < other.exponent { (other, self) } else { (self, other) };
        // The larger one is raised by what a u128 has room for, the sum's carry kept free. What of
        // the smaller one is below its last bit matters only by being there, for it is far below
        // where the sum is rounded.
        let shift = large.exponent.abs_diff(small.exponent);
        let exponent = large.exponent - ROOM.cast_signed();
        let raised = u128::from(large.mantissa) << ROOM;
        let aligned = shift_left_or_right(small.mantissa, ROOM, shift);
        let (is_negative, sum) = if large.is_negative == small.is_negative {
            (large.is_negative, raised + aligned)
        } else if raised >= aligned {
            (large.is_negative, raised - aligned)
        } else {
            (small.is_negative, aligned - raised)
        };
        Self::rounded(is_negative, sum, exponent)
    }

    /// With 17 decimals at most, no zeros at their end, and no minus before a mere 0.
    pub(super) fn decimal(self) -> String {
        let (whole, decimals) = if self.exponent >= 0 {
            (Big::new(self.mantissa).shifted(self.exponent.unsigned_abs()).decimal(), 0)
        } else {
            let scaled = u128::from(self.mantissa) * DECIMALS.1;
            let scaled = round_off(scaled, self.exponent.unsigned_abs());
            ((scaled / DECIMALS.1).to_string(), scaled % DECIMALS.1)
        };
        let width = DECIMALS.0;
        let decimals = format!(".{decimals:0width$}");
        let decimals = decimals.trim_end_matches('0').trim_end_matches('.');
        let is_zero = whole == "0" && decimals.is_empty();
        let sign = if self.is_negative && !is_zero { "-" } else { "" };
        format!("{sign}{whole}{decimals}")
    }
}

/// `number` / 2^`bits`, rounded to the nearest, ties to even.
fn round_off(number: u128, bits: u32) -> u128 {
    if bits == 0 {
        return number;
    }
    let Some(halves) = number.checked_shr(bits - 1) else {
        return 0;
    };
    let (floor, is_half) = (halves >> 1, halves & 1 == 1);
    let is_more = number.trailing_zeros() < bits - 1;
    floor + u128::from(is_half && (is_more || floor & 1 == 1))
}

/// `number` x 2^(`left` - `right`), the lowest bit set if any bits fell below it.
fn shift_left_or_right(number: u64, left: u32, right: u32) -> u128 {
    let raised = u128::from(number) << left;
    let kept = raised.checked_shr(right).unwrap_or(0);
    let is_exact = raised.trailing_zeros() >= right;
    kept | u128::from(!is_exact)
}
