//! Inputs for the targets: those that are kept in `tests/fuzz`, and changes of them.

use std::path::{Path, PathBuf};

use crate::engine::storage::sim::Random;

/// The longest input that is made here.
const MOST_BYTES: usize = 4096;
/// The most changes to one input.
const MOST_CHANGES: u64 = 6;
/// How often an input is tried again with something left out, once it has failed.
const MOST_TRIALS: usize = 2000;

/// Numbers at which lengths and sizes turn into others.
const NUMBERS: [u64; 12] =
    [0, 1, 16, 127, 128, 255, 4095, 4096, 65_535, 1 << 20, u32::MAX as u64, u64::MAX];

/// Where the inputs of a target are kept: those that cover much, and those that failed once.
pub(super) fn directories(target: &str) -> [PathBuf; 2] {
    let kept = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/fuzz");
    [kept.join("corpus").join(target), kept.join("regressions").join(target)]
}

/// The inputs that are kept of a target, in the order of their names; none if there are no sources.
pub(super) fn kept(target: &str) -> Vec<Vec<u8>> {
    let mut paths: Vec<PathBuf> = directories(target)
        .iter()
        .filter_map(|directory| std::fs::read_dir(directory).ok())
        .flat_map(|entries| entries.filter_map(|entry| Some(entry.ok()?.path())))
        .collect();
    paths.sort();
    paths.iter().filter_map(|path| std::fs::read(path).ok()).collect()
}

/// An input that was never kept: one of the kept, changed, or words of the target's in a row.
pub(super) fn fresh(kept: &[Vec<u8>], words: &[&[u8]], random: &mut Random) -> Vec<u8> {
    let mut input = match any(kept, random) {
        Some(input) if !random.one_in(8) => input.clone(),
        _ => {
            let len = random.below(24);
            let mut input: Vec<u8> = (0..3).map(|_| random.next_u64() as u8).collect();
            for _ in 0..len {
                match any(words, random) {
                    Some(word) if !random.one_in(3) => input.extend_from_slice(word),
                    _ => input.push(random.next_u64() as u8),
                }
            }
            input
        }
    };
    for _ in 0..=random.below(MOST_CHANGES) {
        change(&mut input, kept, words, random);
    }
    input.truncate(MOST_BYTES);
    input
}

fn any<'a, T>(of: &'a [T], random: &mut Random) -> Option<&'a T> {
    of.get(random.below(of.len() as u64) as usize)
}

/// A stretch within `len` bytes.
fn stretch(len: usize, random: &mut Random) -> std::ops::Range<usize> {
    let start = random.below(len as u64 + 1) as usize;
    let most = if random.coin() { 8 } else { len as u64 };
    start..len.min(start + random.below(most + 1) as usize)
}

fn change(input: &mut Vec<u8>, kept: &[Vec<u8>], words: &[&[u8]], random: &mut Random) {
    let at = random.below(input.len() as u64) as usize;
    match random.below(9) {
        0 => input.iter_mut().skip(at).take(1).for_each(|byte| *byte ^= 1 << random.below(8)),
        1 => {
            let byte = random.next_u64() as u8;
            input.iter_mut().skip(at).take(1).for_each(|old| *old = byte);
        }
        2 => {
            let number = any(&NUMBERS, random).map_or([0; 8], |number| number.to_le_bytes());
            let len = 1 << random.below(4);
            input.iter_mut().skip(at).zip(&number[..len]).for_each(|(old, new)| *old = *new);
        }
        3 => drop(input.drain(stretch(input.len(), random))),
        4 => {
            let piece = input[stretch(input.len(), random)].to_vec();
            input.splice(at..at, piece);
        }
        5 => {
            let word = any(words, random).map_or(&b""[..], |word| word);
            input.splice(at..at, word.iter().copied());
        }
        6 => {
            let other = any(kept, random).map_or(&b""[..], |other| other);
            let piece = other[stretch(other.len(), random)].to_vec();
            input.splice(at..at, piece);
        }
        7 => {
            // A number in digits, where there is one, or anywhere.
            let digits = any(&NUMBERS, random).map_or(0, |number| *number).to_string();
            let start =
                input.iter().skip(at).position(u8::is_ascii_digit).map_or(at, |one| at + one);
            let len = input[start..].iter().take_while(|byte| byte.is_ascii_digit()).count();
            input.splice(start..start + len, digits.into_bytes());
        }
        _ => input.truncate(at),
    }
}

/// A failing input without what it does not need to fail: stretches are left out, ever shorter ones.
pub(super) fn reduced(input: &[u8], fails: impl Fn(&[u8]) -> bool) -> Vec<u8> {
    let mut input = input.to_vec();
    let mut trials = 0;
    let mut len = input.len().next_power_of_two();
    while len > 0 {
        let mut at = 0;
        while at < input.len() && trials < MOST_TRIALS {
            let end = input.len().min(at + len);
            let shorter = [&input[..at], &input[end..]].concat();
            trials += 1;
            if fails(&shorter) {
                input = shorter;
            } else {
                at = end;
            }
        }
        len /= 2;
    }
    input
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn inputs_follow_from_the_seed_and_differ() {
        let kept = [b"SET k 12\n".to_vec(), b"GET k\n".to_vec()];
        let words: [&[u8]; 2] = [b"PING", b"\r\n"];
        let some = |seed| {
            let mut random = Random(seed);
            (0..200).map(|_| fresh(&kept, &words, &mut random)).collect::<Vec<_>>()
        };
        assert_eq!(some(1), some(1));
        let (one, other) = (some(1), some(2));
        assert!(one.iter().filter(|input| other.contains(input)).count() < 100);
        assert!(fresh(&[], &[], &mut Random(3)).len() >= 2, "without anything kept");
    }

    #[test]
    fn a_reduced_input_still_fails_and_needs_all_of_itself() {
        let fails = |input: &[u8]| input.contains(&7) && input.contains(&9);
        let mut input = vec![0; 300];
        (input[100], input[200]) = (7, 9);
        assert_eq!(reduced(&input, fails), [7, 9]);
    }
}
