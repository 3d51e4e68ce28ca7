//! Redis's glob patterns, which KEYS, SCAN, PSUBSCRIBE and CONFIG GET match against bytes.
//!
//! `?` is any byte, `*` any number of them, `[a-z]` and `[^a-z]` one of a class, and `\` takes its
//! special meaning from the byte behind it. Every item but the star matches exactly one byte, so what
//! stands between two stars is best found where it comes first, and what stands behind the last can
//! be at one place only. Bytes that stand for themselves are searched for in linear time; where
//! others are among them, a search costs text times item, which [`check`] bounds.
//!
//! Some corners are Redis's, and kept because clients see them:
//!
//! - only the empty pattern matches the empty text, even if the pattern is stars;
//! - a class that is not closed ends with the pattern, and a backslash at the end is itself;
//! - the first `]` closes a class, so `[]` matches nothing and `[^]` any byte;
//! - the bounds of a range are signed bytes, in any order, so that one from ASCII to beyond it goes
//!   the other way round: `[a-\xe4]` is from -28 to 97;
//! - without regard to case, a byte behind a backslash in a class still has its own.

use std::borrow::Cow;

use memchr::memchr3;
use memchr::memmem;

/// The longest stretch between two stars that is not all bytes that stand for themselves.
const MOST_BETWEEN_STARS: usize = 256;

/// What is answered for a pattern that may take too long.
const TOO_COMPLEX: &str = "ERR the pattern is too complex: at most 256 bytes with '?' or a class may stand between two '*'";

/// Whether matching a pattern costs little more than reading it and the text.
///
/// # Errors
/// What to answer if not.
pub(crate) fn check(pattern: &[u8]) -> Result<(), &'static str> {
    let Some((_, mut rest)) = split_at_star(pattern) else { return Ok(()) };
    while let Some((between, behind)) = split_at_star(rest) {
        if between.len() > MOST_BETWEEN_STARS && literal(between).is_none() {
            return Err(TOO_COMPLEX);
        }
        rest = behind;
    }
    Ok(())
}

/// Whether `text` as a whole is what `pattern` describes; `nocase` takes ASCII letters for equal.
pub(crate) fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut rest, mut left) = (pattern, text);
    // Up to the first star there is no choice.
    while !matches!(rest, [] | [b'*', ..]) {
        let Some((&byte, behind)) = left.split_first() else { return false };
        let Some(rest_behind) = match_one(rest, byte, nocase) else { return false };
        (rest, left) = (rest_behind, behind);
    }
    let Some((_, behind)) = rest.split_first() else { return left.is_empty() };
    rest = behind;
    while let Some((between, behind)) = split_at_star(rest) {
        let Some(found) = behind_first(between, left, nocase) else { return false };
        (rest, left) = (behind, found);
    }
    // What is behind the last star ends where the text ends.
    let Some(start) = left.len().checked_sub(count_items(rest)) else { return false };
    rest.is_empty() || is_prefix(rest, &left[start..], nocase).is_some()
}

/// What stands before the first star, and what behind it.
fn split_at_star(pattern: &[u8]) -> Option<(&[u8], &[u8])> {
    let mut rest = pattern;
    loop {
        match rest {
            [] => return None,
            [b'*', behind @ ..] => return Some((&pattern[..pattern.len() - rest.len()], behind)),
            _ => rest = behind_item(rest),
        }
    }
}

/// What comes behind the first item of a pattern, which is no star.
fn behind_item(pattern: &[u8]) -> &[u8] {
    match *pattern {
        [] => &[],
        [b'[', ref class @ ..] => match_class(class, 0, false).1,
        [b'\\', _, ref behind @ ..] | [_, ref behind @ ..] => behind,
    }
}

/// How many items a pattern without stars has.
fn count_items(pattern: &[u8]) -> usize {
    let (mut rest, mut count) = (pattern, 0);
    while !rest.is_empty() {
        rest = behind_item(rest);
        count += 1;
    }
    count
}

/// The bytes that a pattern without stars stands for, if it stands for one text only.
fn literal(pattern: &[u8]) -> Option<Cow<'_, [u8]>> {
    if memchr3(b'?', b'[', b'\\', pattern).is_none() {
        return Some(Cow::Borrowed(pattern));
    }
    let mut bytes = Vec::with_capacity(pattern.len());
    let mut rest = pattern;
    loop {
        match *rest {
            [] => return Some(Cow::Owned(bytes)),
            [b'?' | b'[', ..] => return None,
            [b'\\', byte, ref behind @ ..] | [byte, ref behind @ ..] => {
                bytes.push(byte);
                rest = behind;
            }
        }
    }
}

/// What of the text comes behind the first place that a pattern without stars matches.
fn behind_first<'t>(pattern: &[u8], text: &'t [u8], nocase: bool) -> Option<&'t [u8]> {
    if let Some(bytes) = literal(pattern).filter(|_| !nocase) {
        return memmem::find(text, &bytes).map(|at| &text[at + bytes.len()..]);
    }
    (0..=text.len()).find_map(|at| is_prefix(pattern, &text[at..], nocase))
}

/// What of the text comes behind what a pattern without stars matches at its beginning.
fn is_prefix<'t>(pattern: &[u8], text: &'t [u8], nocase: bool) -> Option<&'t [u8]> {
    let (mut rest, mut left) = (pattern, text);
    while !rest.is_empty() {
        let (&byte, behind) = left.split_first()?;
        (rest, left) = (match_one(rest, byte, nocase)?, behind);
    }
    Some(left)
}

/// The bytes with which every match begins, for a search that goes by ranges.
pub(crate) fn literal_prefix(pattern: &[u8]) -> Vec<u8> {
    let mut prefix = Vec::new();
    let mut rest = pattern;
    loop {
        match *rest {
            [] | [b'*' | b'?' | b'[', ..] => return prefix,
            [b'\\', byte, ref behind @ ..] | [byte, ref behind @ ..] => {
                prefix.push(byte);
                rest = behind;
            }
        }
    }
}

/// Matches one byte with the first item of a pattern, which is no star, and answers what of the
/// pattern comes behind it.
fn match_one(pattern: &[u8], byte: u8, nocase: bool) -> Option<&[u8]> {
    let (found, behind) = match *pattern {
        [] => return None,
        [b'?', ref behind @ ..] => (true, behind),
        [b'[', ref class @ ..] => match_class(class, byte, nocase),
        [b'\\', item, ref behind @ ..] | [item, ref behind @ ..] => {
            (is_equal(item, byte, nocase), behind)
        }
    };
    found.then_some(behind)
}

/// Whether a byte belongs to the class behind a `[`, and what of the pattern comes behind it.
fn match_class(class: &[u8], byte: u8, nocase: bool) -> (bool, &[u8]) {
    let (mut rest, is_negated) = match class {
        [b'^', rest @ ..] => (rest, true),
        rest => (rest, false),
    };
    let mut found = false;
    loop {
        match *rest {
            [] => return (found != is_negated, rest),
            [b'\\', item, ref behind @ ..] => {
                found |= item == byte;
                rest = behind;
            }
            [b']', ref behind @ ..] => return (found != is_negated, behind),
            [from, b'-', to, ref behind @ ..] => {
                found |= is_between(from, to, byte, nocase);
                rest = behind;
            }
            [item, ref behind @ ..] => {
                found |= is_equal(item, byte, nocase);
                rest = behind;
            }
        }
    }
}

fn is_equal(item: u8, byte: u8, nocase: bool) -> bool {
    if nocase { item.eq_ignore_ascii_case(&byte) } else { item == byte }
}

/// Whether a byte lies between two bounds. They are put in order before case is left out of account.
fn is_between(from: u8, to: u8, byte: u8, nocase: bool) -> bool {
    let signed = |byte: u8| if nocase { byte.to_ascii_lowercase() } else { byte }.cast_signed();
    let (from, to) = if from.cast_signed() > to.cast_signed() { (to, from) } else { (from, to) };
    (signed(from)..=signed(to)).contains(&signed(byte))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Random;
    use super::*;

    /// Pattern, text and what redis-server 7.0.15 made of them, in hexadecimal and apart by spaces.
    const MATCHES: &str = include_str!("fixtures/glob.txt");

    fn bytes(hex: &str) -> Vec<u8> {
        let digits = hex.as_bytes().chunks(2);
        digits.map(|two| u8::from_str_radix(str::from_utf8(two).unwrap(), 16).unwrap()).collect()
    }

    /// By trying everything. The text is not empty.
    fn naive(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
        match (pattern, text) {
            ([], _) => text.is_empty(),
            ([b'*', behind @ ..], _) => {
                (0..=text.len()).any(|skipped| naive(behind, &text[skipped..], nocase))
            }
            (_, []) => false,
            (_, [byte, left @ ..]) => {
                match_one(pattern, *byte, nocase).is_some_and(|behind| naive(behind, left, nocase))
            }
        }
    }

    fn random_bytes(random: &mut Random, alphabet: &[u8], longest: u64) -> Vec<u8> {
        let len = 1 + random.below(longest);
        (0..len).map(|_| alphabet[random.below(alphabet.len() as u64) as usize]).collect()
    }

    #[test]
    fn matches_are_those_of_redis() {
        let mut lines = 0;
        for line in MATCHES.lines() {
            let [pattern, text, expected] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let (pattern, text) = (bytes(pattern), bytes(text));
            let message = format!("{} {}", pattern.escape_ascii(), text.escape_ascii());
            assert_eq!(matches(&pattern, &text, false), expected == "1", "{message}");
            lines += 1;
        }
        assert!(lines >= 300);
    }

    #[test]
    fn the_corners_are_those_of_redis() {
        assert!(
            matches(b"", b"", false) && !matches(b"*", b"", false) && !matches(b"", b"a", false)
        );
        assert!(matches(b"h[^e]llo", b"hallo", false) && !matches(b"h[^e]llo", b"hello", false));
        assert!(matches(b"a\\", b"a\\", false) && matches(b"\\*", b"*", false));
        assert!(matches(b"[ab", b"b", false) && matches(b"[^", b"x", false));
        assert!(!matches(b"[]a]", b"a", false) && matches(b"[^]", b"x", false));
        assert!(matches(b"[c-a]", b"b", false) && matches(b"[a-\xe4]", b"A", false));
        assert!(!matches(b"[a-\xe4]", b"z", false) && matches(b"[\\]]", b"]", false));
    }

    #[test]
    fn case_may_be_left_out_of_account() {
        assert!(matches(b"MaX*", b"maxMEMORY", true) && !matches(b"MaX*", b"maxMEMORY", false));
        assert!(matches(b"*[M-O]x", b"nX", true) && matches(b"[A]", b"a", true));
        assert!(!matches(b"[\\A]", b"a", true) && matches(b"\\A", b"a", true));
        assert!(!matches(b"[a-Z]", b"m", true), "swapped to Z-a, then z-a");
    }

    #[test]
    fn it_finds_what_trying_everything_finds() {
        let mut random = Random(7);
        let mut found = 0;
        for _ in 0..200_000 {
            let pattern = random_bytes(&mut random, b"aaaBB***??[]^-\\\xe4", 8);
            let text = random_bytes(&mut random, b"aaaBB]-\xe4", 4);
            let nocase = random.below(2) == 0;
            let expected = naive(&pattern, &text, nocase);
            let message = format!("{} {}", pattern.escape_ascii(), text.escape_ascii());
            assert_eq!(matches(&pattern, &text, nocase), expected, "{message}");
            assert!(
                !expected || nocase || text.starts_with(&literal_prefix(&pattern)),
                "{message}"
            );
            found += u32::from(expected);
        }
        assert!(found > 5_000);
    }

    #[test]
    fn many_stars_are_not_exponential() {
        let text = vec![b'a'; 20_000];
        assert!(!matches(&[b"a*".repeat(2_000), b"b".to_vec()].concat(), &text, false));
        assert!(!matches(&[b"?*".repeat(2_000), b"[b]".to_vec()].concat(), &text, true));
        assert!(matches(&b"*a".repeat(20_000), &text, false));
    }

    #[test]
    fn long_stretches_between_stars_are_searched_for_in_linear_time() {
        let text = vec![b'a'; 1 << 20];
        let stretch = b"a".repeat(1 << 19);
        let pattern = [b"*", &stretch[..], b"b*"].concat();
        assert!(check(&pattern).is_ok() && !matches(&pattern, &text, false));
        let escaped = [b"*", &stretch[..], b"\\b*"].concat();
        assert!(check(&escaped).is_ok() && !matches(&escaped, &text, false));
        let last = [b"*", &b"?".repeat(1 << 20)[..]].concat();
        assert!(check(&last).is_ok() && matches(&last, &text, false));
    }

    #[test]
    fn what_may_take_long_is_told() {
        let between = |items: &[u8], count| [b"x*", &items.repeat(count)[..], b"*"].concat();
        assert!(check(&between(b"?", 256)).is_ok() && check(&between(b"?", 257)).is_err());
        assert!(check(&between(b"a", 10_000)).is_ok());
        assert!(check(&[b"*[", &b"a".repeat(300)[..], b"]*"].concat()).is_err());
        assert!(check(&[&b"?".repeat(300)[..], b"*"].concat()).is_ok());
    }

    #[test]
    fn a_prefix_ends_before_what_may_vary() {
        let prefixes: [(&[u8], &[u8]); 8] = [
            (b"", b""),
            (b"user:*", b"user:"),
            (b"user:?", b"user:"),
            (b"user:[1]", b"user:"),
            (b"*user", b""),
            (b"us\\*er\\[*", b"us*er["),
            (b"user", b"user"),
            (b"user\\", b"user\\"),
        ];
        for (pattern, prefix) in prefixes {
            assert_eq!(literal_prefix(pattern), prefix, "{}", pattern.escape_ascii());
        }
    }
}
