//! Natural numbers of any size, as far as exact conversion between decimal and binary needs them.
//!
//! Limbs of 32 bits, the lowest first, none of them zero at the top. Callers bound the sizes: every
//! function is linear in the limbs but [`Big::decimal`], which is quadratic.

use std::cmp::Ordering;

/// The largest power of ten that a limb holds, and its exponent.
const LIMB_POWER: (u32, usize) = (1_000_000_000, 9);

/// A natural number.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Big(Vec<u32>);

impl Big {
    /// A number of one word.
    pub(super) fn new(number: u64) -> Self {
        let mut big = Big(vec![number as u32, (number >> 32) as u32]);
        big.trim();
        big
    }

    /// The number that ASCII digits spell in base 10.
    pub(super) fn from_decimal(digits: impl Iterator<Item = u8>) -> Self {
        let mut big = Big(Vec::new());
        let (mut chunk, mut power) = (0, 1);
        for digit in digits {
            chunk = chunk * 10 + u32::from(digit - b'0');
            power *= 10;
            if power == LIMB_POWER.0 {
                big.multiply_add(power, chunk);
                (chunk, power) = (0, 1);
            }
        }
        big.multiply_add(power, chunk);
        big
    }

    /// The number whose digits in base 16 these are.
    pub(super) fn from_hexadecimal(digits: impl Iterator<Item = u32>) -> Self {
        let mut big = Big(Vec::new());
        digits.for_each(|digit| big.multiply_add(16, digit));
        big
    }

    /// The number times a power of ten.
    pub(super) fn times_ten_to(mut self, exponent: usize) -> Self {
        for _ in 0..exponent / LIMB_POWER.1 {
            self.multiply_add(LIMB_POWER.0, 0);
        }
        self.multiply_add(10_u32.pow((exponent % LIMB_POWER.1) as u32), 0);
        self
    }

    /// The number times a power of two.
    pub(super) fn shifted(self, bits: u32) -> Self {
        let mut limbs = vec![0; bits as usize / 32];
        limbs.extend_from_slice(&self.0);
        let mut shifted = Big(limbs);
        shifted.multiply_add(1 << (bits % 32), 0);
        shifted.trim();
        shifted
    }

    /// How many bits it has, without leading zeros.
    pub(super) fn bits(&self) -> u32 {
        self.0.last().map_or(0, |top| self.0.len() as u32 * 32 - top.leading_zeros())
    }

    pub(super) fn is_zero(&self) -> bool {
        self.0.is_empty()
    }

    /// Takes `other` away as often as it goes, which the caller knows to be less than 2^`bits` times,
    /// at most 64; answers how often.
    pub(super) fn divide(&mut self, other: &Big, bits: u32) -> u64 {
        let mut divisor = other.clone().shifted(bits);
        let mut quotient = 0;
        for _ in 0..bits {
            divisor.halve();
            quotient <<= 1;
            if divisor.compare(self) != Ordering::Greater {
                self.subtract(&divisor);
                quotient |= 1;
            }
        }
        quotient
    }

    /// In decimal; nothing for 0.
    pub(super) fn decimal(mut self) -> String {
        let mut chunks = Vec::new();
        while !self.is_zero() {
            chunks.push(self.divide_by(LIMB_POWER.0));
        }
        let top = chunks.pop().map_or(String::new(), |top| top.to_string());
        chunks.iter().rev().fold(top, |text, chunk| text + &format!("{chunk:09}"))
    }

    fn trim(&mut self) {
        let zeros = self.0.iter().rev().take_while(|limb| **limb == 0).count();
        self.0.truncate(self.0.len() - zeros);
    }

    fn multiply_add(&mut self, factor: u32, summand: u32) {
        let mut carry = u64::from(summand);
        for limb in &mut self.0 {
            carry += u64::from(*limb) * u64::from(factor);
            *limb = carry as u32;
            carry >>= 32;
        }
        if carry > 0 {
            self.0.push(carry as u32);
        }
    }

    /// Divides, and answers the remainder.
    fn divide_by(&mut self, divisor: u32) -> u32 {
        let mut rest = 0;
        for limb in self.0.iter_mut().rev() {
            rest = rest << 32 | u64::from(*limb);
            *limb = (rest / u64::from(divisor)) as u32;
            rest %= u64::from(divisor);
        }
        self.trim();
        rest as u32
    }

    fn halve(&mut self) {
        let mut carry = 0;
        for limb in self.0.iter_mut().rev() {
            let low = *limb & 1;
            *limb = *limb >> 1 | carry << 31;
            carry = low;
        }
        self.trim();
    }

    fn compare(&self, other: &Big) -> Ordering {
        let lengths = self.0.len().cmp(&other.0.len());
        lengths.then_with(|| self.0.iter().rev().cmp(other.0.iter().rev()))
    }

    /// Takes away a number that is not larger.
    fn subtract(&mut self, other: &Big) {
        let mut borrow = false;
        for (at, limb) in self.0.iter_mut().enumerate() {
            let (less, first) = limb.overflowing_sub(other.0.get(at).copied().unwrap_or(0));
            let (less, second) = less.overflowing_sub(u32::from(borrow));
            *limb = less;
            borrow = first || second;
        }
        debug_assert!(!borrow);
        self.trim();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn big(digits: &str) -> Big {
        Big::from_decimal(digits.bytes())
    }

    #[test]
    fn decimal_digits_come_back() {
        for digits in ["", "7", "999999999", "1000000000", "18446744073709551616"] {
            assert_eq!(big(digits).decimal(), digits);
        }
        let long = "9".repeat(700) + &"0".repeat(700) + "123";
        assert_eq!(big(&long).decimal(), long);
        assert_eq!(big("00000000000").decimal(), "");
        assert_eq!(Big::new(u64::MAX), big("18446744073709551615"));
        assert_eq!(Big::new(5), big("5"));
    }

    #[test]
    fn powers_multiply() {
        assert_eq!(big("12").times_ten_to(40).decimal(), "12".to_owned() + &"0".repeat(40));
        assert_eq!(Big::new(3).shifted(100).decimal(), (3_u128 << 100).to_string());
        assert_eq!(Big::new(0).shifted(100).decimal(), "");
        let bits = [Big::new(0), Big::new(1), Big::new(1 << 31), Big::new(1 << 32)];
        assert_eq!(bits.map(|big| big.bits()), [0, 1, 32, 33]);
        assert_eq!(Big::new(1).shifted(1000).bits(), 1001);
    }

    #[test]
    fn division_leaves_a_remainder() {
        let mut rest = big("123456789012345678901234567890");
        assert_eq!(rest.divide(&big("98765432109876543210"), 64), 1_249_999_988);
        assert_eq!(
            rest.decimal(),
            (123_456_789_012_345_678_901_234_567_890_u128
                - 98_765_432_109_876_543_210 * 1_249_999_988)
                .to_string()
        );
        let mut rest = big("5");
        assert_eq!((rest.divide(&big("7"), 3), rest.decimal().as_str()), (0, "5"));
        let mut rest = Big::new(u64::MAX).shifted(640);
        assert_eq!(rest.divide(&Big::new(1).shifted(640), 64), u64::MAX);
        assert!(rest.is_zero());
    }
}
