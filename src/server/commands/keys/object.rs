//! OBJECT: what Redis would tell of how a value is kept. Chronos keeps every value in the same way.

use crate::parser::Verb;

use super::super::super::values::integer;
use super::super::{Call, Handled};

/// The longest string that Redis keeps beside its header, in bytes.
const EMBEDDED_BYTES: usize = 44;

/// What Redis answers while it does not count accesses.
const NO_FREQUENCY: &str = "ERR An LFU maxmemory policy is not selected, access frequency not tracked. Please note that when switching between policies at runtime LRU and LFU data will take some time to adjust.";

pub(super) const HELP: [&str; 11] = [
    "OBJECT <subcommand> [<arg> [value] [opt] ...]. Subcommands are:",
    "ENCODING <key>",
    "    Names the encoding that Redis would choose for the value.",
    "FREQ <key>",
    "    Is an error: accesses are not counted.",
    "IDLETIME <key>",
    "    Answers 0: times of access are not kept.",
    "REFCOUNT <key>",
    "    Answers 1.",
    "HELP",
    "    Prints this.",
];

pub(super) fn tell(call: &mut Call) -> Handled {
    let found = call.services.keyspace.lookup(call.client.db(), call.args.at(1))?;
    let Some(found) = found else {
        call.reply.null();
        return Ok(());
    };
    match call.command.verb {
        Verb::ObjectEncoding => {
            let name = encoding(found.string()?);
            call.reply.bulk(name.as_bytes());
        }
        Verb::ObjectFreq => return Err(NO_FREQUENCY.into()),
        Verb::ObjectIdleTime => call.reply.integer(0),
        _ => call.reply.integer(1),
    }
    Ok(())
}

/// How Redis would keep a string that was just set.
fn encoding(value: &[u8]) -> &'static str {
    if integer::parse(value).is_some() {
        "int"
    } else if value.len() <= EMBEDDED_BYTES {
        "embstr"
    } else {
        "raw"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn encodings_follow_from_the_value() {
        assert_eq!(encoding(b"-9223372036854775808"), "int");
        assert_eq!(encoding(b"9223372036854775808"), "embstr");
        assert_eq!(encoding(&[b'x'; 44]), "embstr");
        assert_eq!(encoding(&[b'x'; 45]), "raw");
        assert_eq!(encoding(b""), "embstr");
    }
}
