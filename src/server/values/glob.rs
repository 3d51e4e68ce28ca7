//! Redis's glob patterns, which KEYS, SCAN, PSUBSCRIBE and CONFIG GET match against bytes.
//!
//! `?` is any byte, `*` any number of them, `[a-z]` and `[^a-z]` one of a class, and `\` takes its
//! special meaning from the byte behind it. Every item but the star matches exactly one byte, so it
//! is enough to remember the last star: a match costs at most pattern times text, whatever the
//! stars. Some corners are Redis's, and kept because clients see them:
//!
//! - only the empty pattern matches the empty text, even if the pattern is stars;
//! - a class that is not closed ends with the pattern, and a backslash at the end is itself;
//! - the first `]` closes a class, so `[]` matches nothing and `[^]` any byte;
//! - the bounds of a range are signed bytes, in any order, so that one from ASCII to beyond it goes
//!   the other way round: `[a-\xe4]` is from -28 to 97;
//! - without regard to case, a byte behind a backslash in a class still has its own.

use memchr::memchr;

/// Whether `text` as a whole is what `pattern` describes; `nocase` takes ASCII letters for equal.
pub(crate) fn matches(pattern: &[u8], text: &[u8], nocase: bool) -> bool {
    if text.is_empty() {
        return pattern.is_empty();
    }
    let (mut rest, mut left) = (pattern, text);
    // Behind the last star: the pattern, and the text at which it has been tried.
    let mut retry: Option<(&[u8], &[u8])> = None;
    loop {
        if let [b'*', behind @ ..] = rest {
            rest = behind;
            if rest.is_empty() {
                return true;
            }
            left = next_start(rest, left, nocase);
            retry = Some((rest, left));
            continue;
        }
        let Some((&byte, behind)) = left.split_first() else {
            // A later start would leave even less text.
            return rest.is_empty();
        };
        if let Some(rest_behind) = match_one(rest, byte, nocase) {
            (rest, left) = (rest_behind, behind);
        } else {
            let Some((pattern, tried)) = retry else {
                return false;
            };
            let start = next_start(pattern, &tried[1..], nocase);
            (rest, left) = (pattern, start);
            retry = Some((pattern, start));
        }
    }
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

/// Where in `text` a pattern may begin to match: what a byte that stands for itself rules out is
/// skipped.
fn next_start<'a>(pattern: &[u8], text: &'a [u8], nocase: bool) -> &'a [u8] {
    match *pattern {
        [b'*' | b'?' | b'[' | b'\\', ..] | [] => text,
        _ if nocase => text,
        [byte, ..] => memchr(byte, text).map_or(&[], |at| &text[at..]),
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
