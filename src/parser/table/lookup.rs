//! From the words of a request to its command and its keys.
//!
//! `find` runs for every request, so it hashes the length and three letters into an index that the
//! compiler has filled, and compares one or two names. Names that share a slot take the next free
//! one; a slot that is empty ends the search.

use super::{COMMANDS, Command};

/// A power of two, some four times the number of commands: most names are at home in their slot.
const SLOTS: usize = 512;
/// Marks a slot without a command.
const EMPTY: u8 = u8::MAX;

/// Slot to position in `COMMANDS`.
static INDEX: [u8; SLOTS] = {
    assert!(COMMANDS.len() <= SLOTS / 2 && COMMANDS.len() < EMPTY as usize);
    let mut index = [EMPTY; SLOTS];
    let mut at = 0;
    while at < COMMANDS.len() {
        let mut slot = home(COMMANDS[at].name.as_bytes());
        while index[slot] != EMPTY {
            slot = (slot + 1) % SLOTS;
        }
        index[slot] = at as u8;
        at += 1;
    }
    index
};

/// The slot where the search for a name begins, the same in any case. The name is not empty.
const fn home(name: &[u8]) -> usize {
    // Letters differ from their capitals in this bit only.
    const CASE: u8 = 0x20;
    let length = name.len();
    let (first, middle, last) = (name[0] | CASE, name[length / 2] | CASE, name[length - 1] | CASE);
    let letters = u32::from_le_bytes([first, middle, last, length as u8]);
    // The multiplier is 2^32 divided by the golden ratio (Knuth, TAOCP 3, 6.4).
    (letters.wrapping_mul(0x9E37_79B1) >> (u32::BITS - SLOTS.trailing_zeros())) as usize
}

/// Finds a command by its name, in any case.
pub fn find(name: &[u8]) -> Option<&'static Command> {
    if name.is_empty() {
        return None;
    }
    let mut slot = home(name);
    loop {
        let command = COMMANDS.get(usize::from(INDEX[slot]))?;
        if command.name.as_bytes().eq_ignore_ascii_case(name) {
            return Some(command);
        }
        slot = (slot + 1) % SLOTS;
    }
}

/// Finds a subcommand of `command` by its own name, in any case.
pub fn find_subcommand(command: &Command, name: &[u8]) -> Option<&'static Command> {
    command.subcommands.iter().find(|found| found.name.as_bytes().eq_ignore_ascii_case(name))
}

/// The positions of the keys in `argv`, the words of a whole request with its name; `None` if there
/// are no keys. Of a command that has subcommands, `argv` tells which one is meant.
pub fn keys_of(command: &Command, argv: &[&[u8]]) -> Option<Vec<usize>> {
    let keys = match argv.get(1).and_then(|name| find_subcommand(command, name)) {
        Some(subcommand) => subcommand.keys,
        None => command.keys,
    };
    let first = usize::try_from(keys.first).ok().filter(|&first| first > 0)?;
    let step = usize::try_from(keys.step).ok().filter(|&step| step > 0)?;
    let last = match usize::try_from(keys.last) {
        Ok(last) => last.min(argv.len().checked_sub(1)?),
        Err(_) => argv.len().checked_sub(keys.last.unsigned_abs().into())?,
    };
    let positions: Vec<usize> = (first..=last).step_by(step).collect();
    (!positions.is_empty()).then_some(positions)
}

#[cfg(test)]
mod tests {
    use super::super::{Verb, all};
    use super::*;

    fn positions(request: &str) -> Option<Vec<usize>> {
        let argv: Vec<&[u8]> = request.split(' ').map(str::as_bytes).collect();
        keys_of(find(argv[0]).expect("known"), &argv)
    }

    #[test]
    fn every_name_is_found_in_any_case() {
        for command in all() {
            let mixed: String = command
                .name
                .chars()
                .enumerate()
                .map(|(at, c)| if at % 2 == 0 { c.to_ascii_lowercase() } else { c })
                .collect();
            for name in [command.name, &command.name.to_ascii_lowercase(), &mixed] {
                assert!(std::ptr::eq(find(name.as_bytes()).expect(name), command));
            }
            for subcommand in command.subcommands {
                let name = subcommand.name.to_ascii_lowercase();
                let found = find_subcommand(command, name.as_bytes()).expect("listed");
                assert_eq!(found.verb, subcommand.verb);
            }
        }
    }

    #[test]
    fn names_that_are_not_quite_right_are_not_found() {
        let known = |name: &[u8]| all().any(|command| command.name.as_bytes() == name);
        for command in all() {
            let name = command.name.as_bytes();
            for at in 0..name.len() {
                // Each bit of each letter but the one that is the case of a letter.
                for bit in 0..8 {
                    let mut near = name.to_vec();
                    near[at] ^= 1 << bit;
                    let found = find(&near).is_some();
                    assert_eq!(found, known(&near.to_ascii_uppercase()), "{near:?}");
                }
                let cut = [&name[..at], &name[at + 1..]].concat();
                assert_eq!(find(&cut).is_some(), known(&cut), "{cut:?}");
            }
            let longer = [name, b" "].concat();
            assert!(find(&longer).is_none());
        }
        assert!(find(b"").is_none());
        assert!(find(&[b'G'; 300]).is_none());
        assert!(find(b"CLIENT|LIST").is_none());
    }

    #[test]
    fn subcommands_are_found_within_their_command_only() {
        let verb = |command: &[u8], name: &[u8]| {
            find_subcommand(find(command).expect("known"), name).map(|found| found.verb)
        };
        assert_eq!(verb(b"client", b"list"), Some(Verb::ClientList));
        assert_eq!(verb(b"command", b"LIST"), Some(Verb::CommandList));
        assert_eq!(verb(b"config", b"list"), None);
        assert_eq!(verb(b"client", b""), None);
        assert_eq!(verb(b"get", b"help"), None);
    }

    #[test]
    fn names_are_near_their_home_in_the_index() {
        let steps = all().map(|command| {
            let home = home(command.name.as_bytes());
            let found = (0..SLOTS).find(|step| {
                let at = INDEX[(home + step) % SLOTS];
                COMMANDS.get(usize::from(at)).is_some_and(|other| other.name == command.name)
            });
            found.expect("indexed")
        });
        let steps: Vec<usize> = steps.collect();
        assert!(steps.iter().sum::<usize>() < steps.len() / 4, "{steps:?}");
    }

    #[test]
    fn keys_are_where_redis_finds_them() {
        assert_eq!(positions("GET a"), Some(vec![1]));
        assert_eq!(positions("set a b EX 3"), Some(vec![1]));
        assert_eq!(positions("MGET a b c"), Some(vec![1, 2, 3]));
        assert_eq!(positions("MSET a 1 b 2"), Some(vec![1, 3]));
        assert_eq!(positions("BITOP AND d a b"), Some(vec![2, 3, 4]));
        assert_eq!(positions("LCS a b IDX"), Some(vec![1, 2]));
        assert_eq!(positions("memory usage a"), Some(vec![2]));
        assert_eq!(positions("OBJECT ENCODING a"), Some(vec![2]));
    }

    #[test]
    fn no_keys_are_found_where_there_are_none() {
        for request in ["PING", "PING a", "OBJECT HELP", "OBJECT what a", "GET", "BITOP", "SCAN 0"]
        {
            assert_eq!(positions(request), None, "{request}");
        }
        assert_eq!(keys_of(find(b"mget").expect("known"), &[]), None);
    }
}
