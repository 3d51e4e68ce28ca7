//! LCS: options and the shapes of its reply.

use crate::parser::Args;

use super::super::super::interrupt::{Fault, SYNTAX};
use super::super::super::values::lcs::{Lcs, MAX_CELLS, Match};
use super::super::{Call, Handled};
use super::parse_integer;

#[derive(Debug, Default)]
struct Options {
    wants_length: bool,
    wants_matches: bool,
    with_match_length: bool,
    min_length: usize,
}

fn parse(args: Args<'_>) -> Result<Options, Fault> {
    let mut options = Options::default();
    let mut at = 0;
    while let Some(option) = args.get(at) {
        let is = |name: &str| option.eq_ignore_ascii_case(name.as_bytes());
        if is("LEN") {
            options.wants_length = true;
        } else if is("IDX") {
            options.wants_matches = true;
        } else if is("WITHMATCHLEN") {
            options.with_match_length = true;
        } else if is("MINMATCHLEN")
            && let Some(length) = args.get(at + 1)
        {
            options.min_length = usize::try_from(parse_integer(length)?).unwrap_or(0);
            at += 1;
        } else {
            return Err(Fault::from(SYNTAX));
        }
        at += 1;
    }
    if options.wants_length && options.wants_matches {
        let line = "ERR If you want both the length and indexes, please just use IDX.";
        return Err(Fault::from(line));
    }
    Ok(options)
}

pub(super) fn lcs(call: &mut Call) -> Handled {
    let db = call.client.db();
    call.services.keyspace.need(db, call.args.iter().take(2))?;
    let mut strings = [Vec::new(), Vec::new()];
    for (string, key) in strings.iter_mut().zip(call.args.iter()) {
        if let Some(found) = call.services.keyspace.lookup(db, key)? {
            let not_strings = "ERR The specified keys must contain string values";
            *string = found.string().map_err(|_| Fault::from(not_strings))?.to_vec();
        }
    }
    let options = parse(call.args.from(2))?;
    let [a, b] = &strings;
    if a.len().saturating_mul(b.len()) > MAX_CELLS {
        return Err(format!(
            "ERR the strings are too long to compare: the product of their lengths exceeds {MAX_CELLS}"
        )
        .into());
    }
    let found = Lcs::new(a, b);
    if options.wants_length {
        call.reply.count(found.len());
    } else if options.wants_matches {
        reply_matches(call, &found, &options);
    } else {
        call.reply.bulk(&found.string());
    }
    Ok(())
}

fn reply_matches(call: &mut Call, found: &Lcs<'_>, options: &Options) {
    let matches = found.matches(options.min_length);
    call.reply.map(2);
    call.reply.bulk(b"matches");
    call.reply.array(matches.len());
    for Match { a, b } in matches {
        call.reply.array(if options.with_match_length { 3 } else { 2 });
        let length = a.len();
        for range in [a, b] {
            call.reply.array(2);
            call.reply.count(range.start);
            // The last one, as Redis counts; a match is not empty.
            call.reply.count(range.end.saturating_sub(1));
        }
        if options.with_match_length {
            call.reply.count(length);
        }
    }
    call.reply.bulk(b"len");
    call.reply.count(found.len());
}
