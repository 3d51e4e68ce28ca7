//! Commands on strings as rows of bits.

use crate::parser::{Args, Verb};

use super::super::effects::Classes;
use super::super::interrupt::{Fault, SYNTAX};
use super::super::limits::USER_VALUE_BYTES;
use super::super::values::bitfield::{self, Op};
use super::super::values::bits::{self, Operation, Unit};
use super::strings::{check_length, current, note_new, parse_integer, put_back};
use super::{Call, Handled};

/// The longest value of Redis: what is read may lie up to there, behind the end of any value.
const REDIS_VALUE_BYTES: usize = 512 << 20;

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::SetBit => set_bit(call),
        Verb::GetBit => get_bit(call),
        Verb::BitCount => bit_count(call),
        Verb::BitPos => bit_pos(call),
        Verb::BitOp => bit_op(call),
        Verb::BitField => bit_field(call, false),
        _ => bit_field(call, true),
    }
}

fn set_bit(call: &mut Call) -> Handled {
    let offset = bits::parse_offset(call.args.at(1), USER_VALUE_BYTES)?;
    let bit = match call.args.at(2) {
        b"0" => false,
        b"1" => true,
        _ => return Err("ERR bit is not an integer or out of range".into()),
    };
    let key = call.args.at(0);
    let mut current = current(call, key)?;
    let length = current.bytes.len();
    let before = bits::set(&mut current.bytes, offset, bit);
    if before != bit || current.bytes.len() > length {
        put_back(call, key, &current, "setbit")?;
    }
    call.reply.integer(i64::from(before));
    Ok(())
}

fn get_bit(call: &mut Call) -> Handled {
    let offset = bits::parse_offset(call.args.at(1), REDIS_VALUE_BYTES)?;
    let found = call.services.keyspace.string(call.client.db(), call.args.at(0))?;
    let bit = found.is_some_and(|found| bits::get(found.bytes(), offset));
    call.reply.integer(i64::from(bit));
    Ok(())
}

/// The unit that an argument names; bytes if there is none.
fn unit(argument: Option<&[u8]>) -> Result<Unit, Fault> {
    match argument {
        None => Ok(Unit::Byte),
        Some(name) if name.eq_ignore_ascii_case(b"BYTE") => Ok(Unit::Byte),
        Some(name) if name.eq_ignore_ascii_case(b"BIT") => Ok(Unit::Bit),
        Some(_) => Err(Fault::from(SYNTAX)),
    }
}

fn bit_count(call: &mut Call) -> Handled {
    let found = call.services.keyspace.string(call.client.db(), call.args.at(0))?;
    let Some(found) = found else {
        call.reply.integer(0);
        return Ok(());
    };
    let (start, end, unit) = match call.args.len() {
        1 => (0, -1, Unit::Byte),
        3 | 4 => {
            let (start, end) = (parse_integer(call.args.at(1))?, parse_integer(call.args.at(2))?);
            if start < 0 && end < 0 && start > end {
                call.reply.integer(0);
                return Ok(());
            }
            (start, end, unit(call.args.get(3))?)
        }
        _ => return Err(SYNTAX.into()),
    };
    call.reply.integer(bits::count(found.bytes(), start, end, unit).cast_signed());
    Ok(())
}

fn bit_pos(call: &mut Call) -> Handled {
    let bit = match parse_integer(call.args.at(1))? {
        0 => false,
        1 => true,
        _ => return Err("ERR The bit argument must be 1 or 0.".into()),
    };
    let found = call.services.keyspace.string(call.client.db(), call.args.at(0))?;
    let Some(found) = found else {
        call.reply.integer(if bit { -1 } else { 0 });
        return Ok(());
    };
    if call.args.len() > 5 {
        return Err(SYNTAX.into());
    }
    let start = call.args.get(2).map_or(Ok(0), parse_integer)?;
    let unit = unit(call.args.get(4))?;
    let end = call.args.get(3).map(parse_integer).transpose()?;
    let position = bits::position(found.bytes(), bit, start, end, unit);
    call.reply.integer(position.map_or(-1, u64::cast_signed));
    Ok(())
}

fn bit_op(call: &mut Call) -> Handled {
    let is = |name: &str| call.args.at(0).eq_ignore_ascii_case(name.as_bytes());
    let operation = match () {
        () if is("AND") => Operation::And,
        () if is("OR") => Operation::Or,
        () if is("XOR") => Operation::Xor,
        () if is("NOT") => Operation::Not,
        () => return Err(SYNTAX.into()),
    };
    let (db, target, keys) = (call.client.db(), call.args.at(1), call.args.from(2));
    if operation == Operation::Not && keys.len() != 1 {
        return Err("ERR BITOP NOT must be called with a single source key.".into());
    }
    let keyspace = &mut call.services.keyspace;
    keyspace.need(db, keys.iter().chain([target]))?;
    let mut sources = Vec::with_capacity(keys.len());
    for key in keys.iter() {
        let found = keyspace.string(db, key)?;
        sources.push(found.map_or_else(Vec::new, |found| found.bytes().to_vec()));
    }
    let sources: Vec<&[u8]> = sources.iter().map(Vec::as_slice).collect();
    let result = bits::operate(operation, &sources);
    let existed = keyspace.contains_quietly(db, target)?;
    if !result.is_empty() {
        keyspace.put(db, target, &result, None)?;
        note_new(call, target, existed);
        call.services.effects.notify(Classes::STRING, "set", db, target);
    } else if existed {
        keyspace.delete(db, target);
        call.services.effects.notify(Classes::GENERIC, "del", db, target);
    }
    call.reply.count(result.len());
    Ok(())
}

fn parse_ops(args: Args<'_>, read_only: bool) -> Result<Vec<Op>, Fault> {
    let words: Vec<&[u8]> = args.iter().collect();
    let ops = bitfield::parse(&words, REDIS_VALUE_BYTES, read_only)?;
    let writes = ops.iter().any(Op::writes);
    if writes { Ok(bitfield::parse(&words, USER_VALUE_BYTES, read_only)?) } else { Ok(ops) }
}

fn bit_field(call: &mut Call, read_only: bool) -> Handled {
    let ops = parse_ops(call.args.from(1), read_only)?;
    let key = call.args.at(0);
    let mut current = current(call, key)?;
    let before = current.bytes.clone();
    let results = bitfield::execute(&ops, &mut current.bytes);
    check_length(current.bytes.len())?;
    if current.bytes != before {
        put_back(call, key, &current, "setbit")?;
    }
    call.reply.array(results.len());
    for result in results {
        match result {
            Some(number) => call.reply.integer(number),
            None => call.reply.null(),
        }
    }
    Ok(())
}
