//! Which replies may differ, and how far. Everything that is not named here must be equal byte for
//! byte.

use crate::session::{Action, Outcome, Step, is};
use crate::wire::{Args, elements};

/// How two replies are compared.
#[derive(Clone, Copy)]
enum Compare {
    Exactly,
    /// Arrays whose elements may be in another order.
    Unordered,
    /// Integers up to so far apart; anything else exactly.
    Near(i64),
    /// The same kind of reply; errors exactly.
    Kind,
    /// The same kinds all the way down, and as many of them; errors exactly.
    Shape,
    /// Entries of COMMAND INFO: all that stands before the key specifications.
    Entries,
}

/// (the command's first words, how it is compared, why).
const ALLOWED: &[(&[&str], Compare, &str)] = &[
    (&["KEYS"], Compare::Unordered, "no order is promised"),
    (&["PUBSUB", "CHANNELS"], Compare::Unordered, "no order is promised"),
    (&["CONFIG", "GET"], Compare::Unordered, "no order is promised"),
    (&["SCAN"], Compare::Kind, "cursors and pages are the server's own"),
    (&["RANDOMKEY"], Compare::Kind, "any key will do; another test looks at which"),
    (&["TTL"], Compare::Near(100), "the servers are asked one after the other"),
    (&["PTTL"], Compare::Near(100_000), "the servers are asked one after the other"),
    (&["EXPIRETIME"], Compare::Near(100), "the servers are told one after the other"),
    (&["PEXPIRETIME"], Compare::Near(100_000), "the servers are told one after the other"),
    (&["OBJECT", "IDLETIME"], Compare::Near(100), "the servers are asked one after the other"),
    (&["OBJECT", "REFCOUNT"], Compare::Kind, "how values are shared is the server's own"),
    (&["OBJECT", "ENCODING"], Compare::Kind, "how strings lie in memory: here by value alone"),
    (&["MEMORY", "USAGE"], Compare::Kind, "how strings lie in memory"),
    (&["INFO"], Compare::Kind, "each server tells of itself"),
    (&["HELLO"], Compare::Shape, "each server tells of itself"),
    (&["CLIENT", "ID"], Compare::Kind, "the numbers are the server's own"),
    (&["CLIENT", "INFO"], Compare::Kind, "addresses, ages and buffers are the server's own"),
    (&["CLIENT", "LIST"], Compare::Kind, "addresses, ages and buffers are the server's own"),
    (&["COMMAND", "COUNT"], Compare::Kind, "Redis has more commands"),
    (&["COMMAND", "INFO"], Compare::Entries, "key specifications are made from positions"),
    (&["COMMAND", "LIST"], Compare::Kind, "Redis has more commands"),
    (&["COMMAND", "DOCS"], Compare::Kind, "the words are each server's own"),
    (&["LASTSAVE"], Compare::Kind, "the servers save when they like"),
    (&["TIME"], Compare::Shape, "the servers are asked one after the other"),
];

fn compare_for(args: &Args) -> Compare {
    // Without names these list all commands, of which Redis has more.
    let lists_all = args.len() == 1 && is(args, &["COMMAND"])
        || args.len() == 2 && is(args, &["COMMAND", "INFO"]);
    if lists_all {
        return Compare::Kind;
    }
    let found = ALLOWED.iter().find(|(words, _, _)| is(args, words));
    found.map_or(Compare::Exactly, |(_, compare, _)| *compare)
}

/// Whether two servers did the same in a step.
pub(crate) fn same(step: &Step, one: &Outcome, other: &Outcome) -> bool {
    let unordered_messages = matches!(&step.action, Action::Command(args)
        if args.len() == 1 && (is(args, &["UNSUBSCRIBE"]) || is(args, &["PUNSUBSCRIBE"])));
    let messages = if unordered_messages {
        // Which of its channels a client leaves first is not promised.
        let counts = |outcome: &Outcome| outcome.messages.iter().map(Vec::len).collect::<Vec<_>>();
        counts(one) == counts(other)
    } else {
        ordered(one) == ordered(other)
    };
    messages
        && one.end == other.end
        && one.executed == other.executed
        && same_replies(step, one, other)
}

/// The messages of each connection. A message that matches several of its patterns comes once for
/// each, in no promised order; these are sorted.
fn ordered(outcome: &Outcome) -> Vec<Vec<Vec<u8>>> {
    let mut all = outcome.messages.clone();
    for messages in &mut all {
        for same in messages.chunk_by_mut(|one, other| what_matched(one) == what_matched(other)) {
            same.sort();
        }
    }
    all
}

/// Channel and text of a message that matched a pattern, which is left out.
fn what_matched(message: &[u8]) -> Option<(&[u8], &[u8])> {
    match elements(message)?[..] {
        [_, _, channel, text] => Some((channel, text)),
        _ => None,
    }
}

fn same_replies(step: &Step, one: &Outcome, other: &Outcome) -> bool {
    let a: Vec<&[u8]> = one.replies.iter().map(Vec::as_slice).collect();
    let b: Vec<&[u8]> = other.replies.iter().map(Vec::as_slice).collect();
    match &step.action {
        Action::Command(args) => match (results(one), results(other)) {
            (Some(a), Some(b)) => same_each(&one.executed, &a, &b),
            _ => same_each(std::slice::from_ref(args), &a, &b),
        },
        Action::Pipeline(commands) => same_each(commands, &a, &b),
        _ => a == b,
    }
}

/// What the commands of an `EXEC` replied.
fn results(outcome: &Outcome) -> Option<Vec<&[u8]>> {
    let [reply] = outcome.replies.as_slice() else { return None };
    let count = outcome.executed.len();
    elements(reply).filter(|results| count > 0 && results.len() == count)
}

/// Compares by command where each has one reply, else exactly.
fn same_each(commands: &[Args], a: &[&[u8]], b: &[&[u8]]) -> bool {
    if a.len() != commands.len() || b.len() != commands.len() {
        return a == b;
    }
    let pairs = a.iter().zip(b).zip(commands);
    pairs.into_iter().all(|((a, b), args)| same_reply(compare_for(args), a, b))
}

fn same_reply(compare: Compare, a: &[u8], b: &[u8]) -> bool {
    if a == b {
        return true;
    }
    if a[0] == b'-' || b[0] == b'-' {
        return false;
    }
    match compare {
        Compare::Exactly => false,
        Compare::Unordered => a[0] == b[0] && sorted(a) == sorted(b),
        Compare::Near(distance) => match (integer(a), integer(b)) {
            // Below zero are "no expiry" and "no key".
            (Some(a), Some(b)) => a >= 0 && b >= 0 && (a - b).abs() <= distance,
            _ => false,
        },
        Compare::Kind => kind(a) == kind(b),
        Compare::Shape => same_shape(a, b),
        Compare::Entries => entries(a) == entries(b),
    }
}

/// Of each entry its name, arity, flags, positions of keys and categories.
fn entries(reply: &[u8]) -> Vec<Vec<Vec<u8>>> {
    let facts = |entry: &&[u8]| {
        elements(entry).unwrap_or_default().iter().take(7).map(|fact| fact.to_vec()).collect()
    };
    elements(reply).unwrap_or_default().iter().map(facts).collect()
}

fn sorted(reply: &[u8]) -> Vec<&[u8]> {
    let mut elements = elements(reply).unwrap_or_default();
    elements.sort_unstable();
    elements
}

fn integer(reply: &[u8]) -> Option<i64> {
    let digits = reply.strip_prefix(b":")?.strip_suffix(b"\r\n")?;
    std::str::from_utf8(digits).ok()?.parse().ok()
}

/// The type of a reply, and whether it is null.
fn kind(reply: &[u8]) -> (u8, bool) {
    (reply[0], reply.get(1) == Some(&b'-') && reply[0] != b':')
}

fn same_shape(a: &[u8], b: &[u8]) -> bool {
    let inner = (elements(a).unwrap_or_default(), elements(b).unwrap_or_default());
    kind(a) == kind(b)
        && inner.0.len() == inner.1.len()
        && inner.0.iter().zip(inner.1).all(|(a, b)| same_shape(a, b))
}

#[test]
fn what_is_allowed_is_no_more_than_that() {
    let command = |words: &[&str]| compare_for(&crate::wire::args(words));
    let same =
        |words: &[&str], a: &str, b: &str| same_reply(command(words), a.as_bytes(), b.as_bytes());
    assert!(same(&["GET", "a"], "$1\r\nx\r\n", "$1\r\nx\r\n"));
    assert!(!same(&["GET", "a"], "$1\r\nx\r\n", "$1\r\ny\r\n"));
    assert!(!same(&["TTL", "a"], ":-1\r\n", ":-2\r\n"));
    assert!(!same(&["TTL", "a"], ":1\r\n", ":102\r\n"));
    assert!(same(&["ttl", "a"], ":1\r\n", ":101\r\n"));
    assert!(!same(&["INFO"], "$1\r\nx\r\n", "-ERR x\r\n"));
    assert!(!same(&["RANDOMKEY"], "$1\r\nx\r\n", "$-1\r\n"));
    assert!(same(&["KEYS", "*"], "*2\r\n:1\r\n:2\r\n", "*2\r\n:2\r\n:1\r\n"));
    assert!(!same(&["KEYS", "*"], "*2\r\n:1\r\n:2\r\n", "*2\r\n:2\r\n:2\r\n"));
    assert!(!same(&["TIME"], "*2\r\n:1\r\n:2\r\n", "*1\r\n:2\r\n"));
    assert!(same(&["OBJECT", "ENCODING", "a"], "$3\r\nraw\r\n", "$6\r\nembstr\r\n"));
    assert!(!same(&["OBJECT", "ENCODING", "a"], "$3\r\nraw\r\n", "-ERR no such key\r\n"));
}
