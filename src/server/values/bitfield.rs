//! BITFIELD: integers of 1 to 64 bits, anywhere in a string.
//!
//! [`parse`] turns the arguments into operations and refuses what does not fit before anything is
//! done; [`execute`] carries them out in order. Fields are big-endian and need no alignment. What
//! happens when a number leaves its type is set for the operations that follow by OVERFLOW, and
//! holds for SET as for INCRBY. Sums are made in 128 bits, so that none overflows on the way. Redis's
//! do: there, numbers near the smallest of 64 bits saturate a narrow SET to its largest number, and
//! here to its smallest.

use super::bits;
use super::integer;

/// What is answered for a type that there is not.
pub(crate) const BAD_TYPE: &str = "ERR Invalid bitfield type. Use something like i16 u8. Note that u64 is not supported but i64 is.";

/// What is answered for an overflow rule that there is not.
pub(crate) const BAD_OVERFLOW: &str = "ERR Invalid OVERFLOW type specified";

/// What is answered for an unknown subcommand, or one with too few arguments.
pub(crate) const SYNTAX: &str = "ERR syntax error";

/// What `BITFIELD_RO` answers for a subcommand that writes.
pub(crate) const READ_ONLY: &str = "ERR BITFIELD_RO only supports the GET subcommand";

/// The longest subcommand: its name and three arguments.
const LONGEST: usize = 4;

/// What becomes of a number that leaves its type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Overflow {
    /// Its lowest bits are kept.
    Wrap,
    /// It becomes the largest or smallest of the type.
    Saturate,
    /// Nothing is written, and the result is none.
    Fail,
}

/// An integer's place and type.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Field {
    is_signed: bool,
    /// 1 to 64, or to 63 without a sign.
    bits: u32,
    /// Of its first bit.
    offset: u64,
}

/// What is done with a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Answers it.
    Get,
    /// Writes a number, and answers what was there.
    Set(i64, Overflow),
    /// Adds a number, and answers the sum.
    Increment(i64, Overflow),
}

/// One operation of a BITFIELD command.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Op {
    field: Field,
    action: Action,
}

impl Op {
    /// Whether it may change the value.
    pub(crate) fn writes(&self) -> bool {
        self.action != Action::Get
    }
}

/// The operations that the arguments behind the key spell. A field begins within a value of
/// `max_bytes`, and one that is written ends within it too; `read_only` allows only GET.
pub(crate) fn parse<A: AsRef<[u8]>>(
    arguments: &[A],
    max_bytes: usize,
    read_only: bool,
) -> Result<Vec<Op>, &'static str> {
    let mut ops = Vec::new();
    let mut overflow = Overflow::Wrap;
    let mut rest = arguments;
    while !rest.is_empty() {
        // The words of the longest subcommand, as far as there are that many.
        let mut words = [&b""[..]; LONGEST];
        let given = rest.len().min(LONGEST);
        words.iter_mut().zip(rest).for_each(|(word, argument)| *word = argument.as_ref());
        let [name, first, second, third] = words;
        let is = |known: &str, arguments: usize| {
            name.eq_ignore_ascii_case(known.as_bytes()) && given > arguments
        };
        let taken = if is("overflow", 1) {
            overflow = parse_overflow(first)?;
            2
        } else if is("get", 2) {
            ops.push(Op { field: parse_field(first, second, max_bytes)?, action: Action::Get });
            3
        } else if is("set", 3) || is("incrby", 3) {
            let field = parse_field(first, second, max_bytes)?;
            if field.offset + u64::from(field.bits) > max_bytes as u64 * 8 {
                return Err(bits::BAD_OFFSET);
            }
            let number = integer::parse(third).ok_or(integer::NOT_AN_INTEGER)?;
            let action = if is("set", 3) { Action::Set } else { Action::Increment };
            ops.push(Op { field, action: action(number, overflow) });
            4
        } else {
            return Err(SYNTAX);
        };
        rest = &rest[taken..];
    }
    if read_only && ops.iter().any(Op::writes) {
        return Err(READ_ONLY);
    }
    Ok(ops)
}

/// Carries out the operations. The value grows to hold every field that is written, even if all of
/// them fail; the results are none where an overflow failed.
pub(crate) fn execute(ops: &[Op], value: &mut Vec<u8>) -> Vec<Option<i64>> {
    let written = ops.iter().filter(|op| op.writes());
    let ends = written.map(|op| (op.field.offset + u64::from(op.field.bits)).div_ceil(8) as usize);
    let needed = ends.max().unwrap_or(0);
    if needed > value.len() {
        value.resize(needed, 0);
    }
    ops.iter().map(|op| apply(*op, value)).collect()
}

fn apply(Op { field, action }: Op, value: &mut [u8]) -> Option<i64> {
    let old = field.read(value);
    let (wanted, overflow) = match action {
        Action::Get => return Some(old as i64),
        Action::Set(number, overflow) => (field.reading_of(number), overflow),
        Action::Increment(number, overflow) => (old + i128::from(number), overflow),
    };
    let new = field.fit(wanted, overflow)?;
    field.write(value, new);
    Some(if matches!(action, Action::Set(..)) { old } else { new } as i64)
}

impl Field {
    /// The smallest and the largest number of the type.
    fn limits(self) -> (i128, i128) {
        if self.is_signed {
            (-(1 << (self.bits - 1)), (1 << (self.bits - 1)) - 1)
        } else {
            (0, (1 << self.bits) - 1)
        }
    }

    /// What SET takes an argument for: without a sign, -1 is the largest number of 64 bits, and so
    /// too large for the type, not too small.
    fn reading_of(self, number: i64) -> i128 {
        if self.is_signed { number.into() } else { number.cast_unsigned().into() }
    }

    /// The number of the type that stands for `number`; `None` if it may stand for none.
    fn fit(self, number: i128, overflow: Overflow) -> Option<i128> {
        let (min, max) = self.limits();
        match overflow {
            _ if (min..=max).contains(&number) => Some(number),
            Overflow::Wrap => Some(self.sign(number.cast_unsigned())),
            Overflow::Saturate => Some(number.clamp(min, max)),
            Overflow::Fail => None,
        }
    }

    /// What the lowest bits of `raw` are as a number of the type.
    fn sign(self, raw: u128) -> i128 {
        let unused = u128::BITS - self.bits;
        let raised = raw << unused;
        if self.is_signed {
            raised.cast_signed() >> unused
        } else {
            (raised >> unused).cast_signed()
        }
    }

    /// The field's bytes, of which there are at most nine, and how many bits come behind it there.
    fn window(self) -> (usize, usize, u32) {
        let first = (self.offset / 8) as usize;
        let end = self.offset + u64::from(self.bits);
        let len = end.div_ceil(8) as usize - first;
        (first, len, ((8 - end % 8) % 8) as u32)
    }

    /// Zeros behind the end of the value count as part of it.
    fn read(self, value: &[u8]) -> i128 {
        let (first, len, behind) = self.window();
        let byte = |at: usize| u128::from(value.get(first + at).copied().unwrap_or(0));
        self.sign((0..len).fold(0, |window, at| window << 8 | byte(at)) >> behind)
    }

    /// The value holds all of the field.
    fn write(self, value: &mut [u8], number: i128) {
        let (first, len, behind) = self.window();
        let mask = ((1_u128 << self.bits) - 1) << behind;
        let placed = (number.cast_unsigned() << behind) & mask;
        for (at, byte) in value[first..first + len].iter_mut().rev().enumerate() {
            let kept = *byte & !(mask >> (at * 8)) as u8;
            *byte = kept | (placed >> (at * 8)) as u8;
        }
    }
}

fn parse_overflow(argument: &[u8]) -> Result<Overflow, &'static str> {
    let kinds = [("wrap", Overflow::Wrap), ("sat", Overflow::Saturate), ("fail", Overflow::Fail)];
    let kind = kinds.iter().find(|(name, _)| argument.eq_ignore_ascii_case(name.as_bytes()));
    kind.map(|(_, kind)| *kind).ok_or(BAD_OVERFLOW)
}

fn parse_field(kind: &[u8], offset: &[u8], max_bytes: usize) -> Result<Field, &'static str> {
    let (is_signed, bits) = match kind {
        [b'i', bits @ ..] => (true, bits),
        [b'u', bits @ ..] => (false, bits),
        _ => return Err(BAD_TYPE),
    };
    let widest = if is_signed { 64 } else { 63 };
    let bits = integer::parse(bits).and_then(|bits| u32::try_from(bits).ok());
    let bits = bits.filter(|bits| (1..=widest).contains(bits)).ok_or(BAD_TYPE)?;
    let offset = match offset {
        [b'#', index @ ..] => {
            let index = bits::parse_offset(index, max_bytes)?;
            let offset = index.checked_mul(u64::from(bits)).ok_or(bits::BAD_OFFSET)?;
            Some(offset).filter(|offset| offset / 8 < max_bytes as u64).ok_or(bits::BAD_OFFSET)?
        }
        offset => bits::parse_offset(offset, max_bytes)?,
    };
    Ok(Field { is_signed, bits, offset })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Arguments, the results as text, and the value behind them in hexadecimal; apart by bars. Each
    /// line goes on with the value of the line before it, from an empty one after a blank line.
    const COMMANDS: &str = include_str!("fixtures/bitfield.txt");

    const MAX_BYTES: usize = 1 << 29;

    fn split(command: &str) -> Vec<&[u8]> {
        command.split_ascii_whitespace().map(str::as_bytes).collect()
    }

    fn run(command: &str, value: &mut Vec<u8>) -> String {
        let ops = match parse(&split(command), MAX_BYTES, false) {
            Ok(ops) => ops,
            Err(error) => return error.to_owned(),
        };
        let results = execute(&ops, value).into_iter();
        let text = results.map(|one| one.map_or("nil".to_owned(), |number| number.to_string()));
        text.collect::<Vec<_>>().join(" ")
    }

    #[test]
    fn commands_do_what_redis_does() {
        let mut value = Vec::new();
        let mut lines = 0;
        for line in COMMANDS.lines() {
            let [command, results, hex] = line.split('|').collect::<Vec<_>>()[..] else {
                value.clear();
                continue;
            };
            assert_eq!(run(command, &mut value), results, "{line}");
            let found = value.iter().fold(String::new(), |hex, byte| hex + &format!("{byte:02x}"));
            assert_eq!(found, hex, "{line}");
            lines += 1;
        }
        assert!(lines >= 300);
    }

    #[test]
    fn errors_are_those_of_redis() {
        let mut value = Vec::new();
        for (command, error) in [
            ("GET u64 0", BAD_TYPE),
            ("GET i65 0", BAD_TYPE),
            ("GET u0 0", BAD_TYPE),
            ("GET I8 0", BAD_TYPE),
            ("GET i08 0", BAD_TYPE),
            ("GET 8 0", BAD_TYPE),
            ("GET u8 -1", bits::BAD_OFFSET),
            ("GET u8 #", bits::BAD_OFFSET),
            ("GET u8 #-1", bits::BAD_OFFSET),
            ("GET u8 4294967296", bits::BAD_OFFSET),
            ("GET u8 #536870912", bits::BAD_OFFSET),
            ("GET u63 #9223372036854775807", bits::BAD_OFFSET),
            ("SET u8 0 x", integer::NOT_AN_INTEGER),
            ("SET u8 x x", bits::BAD_OFFSET),
            ("SET u8 0", SYNTAX),
            ("GET u8", SYNTAX),
            ("INCRBY u8 0", SYNTAX),
            ("OVERFLOW", SYNTAX),
            ("GET u8 0 FLY", SYNTAX),
            ("OVERFLOW none GET u8 0", BAD_OVERFLOW),
            ("SET u8 0 1 GET u8 x", bits::BAD_OFFSET),
        ] {
            assert_eq!(run(command, &mut value), error, "{command}");
        }
        assert!(value.is_empty(), "nothing is done unless all is right");
        assert_eq!(run("get u8 4294967295 GET u8 #536870911", &mut value), "0 0");
        assert_eq!(run("", &mut value), "");
    }

    #[test]
    fn the_smallest_number_saturates_to_the_smallest() {
        let mut value = Vec::new();
        let command = "OVERFLOW SAT SET i8 0 -9223372036854775808 GET i8 0";
        assert_eq!(run(command, &mut value), "0 -128");
    }

    #[test]
    fn only_get_is_read_only() {
        let parsed = |command| parse(&split(command), MAX_BYTES, true);
        assert_eq!(parsed("GET u8 0 SET u8 0 1"), Err(READ_ONLY));
        assert_eq!(parsed("INCRBY u8 0 1"), Err(READ_ONLY));
        assert_eq!(parsed("INCRBY u8 0 1 FLY"), Err(SYNTAX));
        assert_eq!(parsed("OVERFLOW sat GET u8 0").map(|ops| ops.len()), Ok(1));
    }

    #[test]
    fn what_is_written_ends_within_the_largest_value() {
        let parsed = |command| parse(&split(command), 2, false).map(|ops| ops.len());
        assert_eq!(parsed("SET u8 8 1 INCRBY i16 0 1 GET i64 15"), Ok(3));
        assert_eq!(parsed("SET u8 9 1"), Err(bits::BAD_OFFSET));
        assert_eq!(parsed("GET u1 16"), Err(bits::BAD_OFFSET));
    }
}
