//! The search for big keys: every key is looked at once, by its elements (`--bigkeys`) or by its memory
//! (`--memkeys`), and the biggest of each type is named.
//!
//! It asks one page of keys at a time, so a server serves others between two questions. A key that goes
//! away or changes its type meanwhile is left out. The lines of the report are redis-cli's.

use std::fmt::Write as _;
use std::io;
use std::ops::ControlFlow;

use super::options::RespOptions;
use super::runner::Runner;
use super::scan::{failed, walk};
use super::session::{Words, words};
use super::value::Value;
use super::words::quoted_text;
use crate::client::app::Exit;

/// What counts as big.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Measure {
    /// What the type's own count says: elements, fields, or bytes of a string.
    Elements,
    /// Bytes of memory, as the server estimates them.
    Memory,
}

/// A type of keys and what was seen of it.
#[derive(Debug, Default)]
struct Kind {
    name: String,
    /// The command that counts, if one is known.
    command: Option<&'static str>,
    /// What is counted.
    unit: &'static str,
    keys: u64,
    sum: u64,
    biggest: u64,
    biggest_key: Option<Vec<u8>>,
}

/// The known types: name, command that counts, and what it counts.
const KINDS: &[(&str, &str, &str)] = &[
    ("list", "LLEN", "items"),
    ("hash", "HLEN", "fields"),
    ("string", "STRLEN", "bytes"),
    ("stream", "XLEN", "entries"),
    ("set", "SCARD", "members"),
    ("zset", "ZCARD", "members"),
];

/// Everything that was seen.
struct Survey {
    measure: Measure,
    memory_samples: Option<u64>,
    kinds: Vec<Kind>,
    keys: u64,
    key_bytes: u64,
    /// The keys of the database when the survey began.
    expected_keys: u64,
}

/// Looks at all keys and reports.
pub(crate) fn run(
    runner: &mut Runner<'_, '_>,
    flags: &RespOptions,
    measure: Measure,
) -> io::Result<Exit> {
    let expected_keys = match runner.ask(&[words(&["DBSIZE"])])? {
        Ok(replies) => replies.first().and_then(Value::number).unwrap_or(0),
        Err(error) => return failed(runner, &error),
    };
    let mut survey = Survey {
        measure,
        memory_samples: flags.memkeys_samples,
        kinds: KINDS.iter().map(|kind| Kind::known(kind, measure)).collect(),
        keys: 0,
        key_bytes: 0,
        expected_keys: u64::try_from(expected_keys).unwrap_or(0),
    };
    writeln!(
        runner.output.out,
        "\n# Looks at every key for the biggest of each type and the average sizes.\n\
         # Use -i 0.1 to pause 0.1 s after each SCAN.\n"
    )?;
    let flow = walk(runner, flags, |runner, keys| survey.look(runner, keys))?;
    match flow {
        ControlFlow::Break(exit) => Ok(exit),
        ControlFlow::Continue(()) => {
            runner.output.out.write_all(survey.summary().as_bytes()).map(|()| Exit::Fine)
        }
    }
}

impl Kind {
    fn known(
        &(name, command, unit): &(&str, &'static str, &'static str),
        measure: Measure,
    ) -> Self {
        let unit = if measure == Measure::Memory { "bytes" } else { unit };
        Self { name: name.to_owned(), command: Some(command), unit, ..Self::default() }
    }
}

impl Survey {
    /// Looks at one page of keys.
    fn look(
        &mut self,
        runner: &mut Runner<'_, '_>,
        keys: Vec<Vec<u8>>,
    ) -> io::Result<ControlFlow<Exit>> {
        let questions: Vec<_> =
            keys.iter().map(|key| vec![b"TYPE".to_vec(), key.clone()]).collect();
        let types = match runner.ask(&questions)? {
            Ok(types) => types,
            Err(error) => return failed(runner, &error).map(ControlFlow::Break),
        };
        let known: Vec<_> = keys
            .into_iter()
            .zip(types)
            .filter(|(_, name)| name.text().is_some_and(|name| name != b"none"))
            .map(|(key, name)| (key, self.kind(&name.to_text())))
            .collect();
        let questions: Vec<_> = known.iter().map(|(key, kind)| self.question(key, *kind)).collect();
        let sizes = match runner.ask(&questions)? {
            Ok(sizes) => sizes,
            Err(error) => return failed(runner, &error).map(ControlFlow::Break),
        };
        for ((key, kind), size) in known.into_iter().zip(sizes) {
            if let Value::Error(error) = &size {
                let error = String::from_utf8_lossy(error).into_owned();
                runner.output.complain(&format!("{}: {error}", quoted_text(&key)))?;
            } else if let Some(size) = size.number().and_then(|size| u64::try_from(size).ok())
                && let Some(line) = self.count(key, kind, size)
            {
                writeln!(runner.output.out, "{line}")?;
            }
        }
        runner.output.out.flush().map(ControlFlow::Continue)
    }

    /// The place of a type among the kinds, a new one if need be.
    fn kind(&mut self, name: &str) -> usize {
        let found = self.kinds.iter().position(|kind| kind.name == name);
        found.unwrap_or_else(|| {
            let unit = if self.measure == Measure::Memory { "bytes" } else { "?" };
            self.kinds.push(Kind { name: name.to_owned(), unit, ..Kind::default() });
            self.kinds.len() - 1
        })
    }

    /// The command that tells a key's size. A type that nobody knows has none in elements: that such a
    /// key exists is all there is to count.
    fn question(&self, key: &[u8], kind: usize) -> Words {
        let command = self.kinds[kind].command;
        let mut question = match (self.measure, command) {
            (Measure::Memory, _) => words(&["MEMORY", "USAGE"]),
            (Measure::Elements, Some(command)) => words(&[command]),
            (Measure::Elements, None) => words(&["EXISTS"]),
        };
        question.push(key.to_vec());
        if let (Measure::Memory, Some(samples)) = (self.measure, self.memory_samples) {
            question.extend(words(&["SAMPLES", &samples.to_string()]));
        }
        question
    }

    /// Counts a key. Returns what to say when it is the biggest of its type so far.
    fn count(&mut self, key: Vec<u8>, kind: usize, size: u64) -> Option<String> {
        self.keys += 1;
        self.key_bytes += key.len() as u64;
        let share = share(self.keys, self.expected_keys.max(self.keys));
        let kind = &mut self.kinds[kind];
        kind.keys += 1;
        kind.sum += size;
        if kind.biggest_key.is_some() && size <= kind.biggest {
            return None;
        }
        let line = format!(
            "[{share:05.2}%] Biggest {:<6} found so far '{}' with {size} {}",
            kind.name,
            quoted_text(&key),
            kind.unit
        );
        (kind.biggest, kind.biggest_key) = (size, Some(key));
        Some(line)
    }

    fn summary(&self) -> String {
        let mut text = format!(
            "\n-------- summary -------\n\nSampled {} keys in the keyspace!\n\
             Total key length in bytes is {} (avg len {:.2})\n\n",
            self.keys,
            self.key_bytes,
            average(self.key_bytes, self.keys)
        );
        for kind in &self.kinds {
            if let Some(key) = &kind.biggest_key {
                let (name, key) = (&kind.name, quoted_text(key));
                // Writing to a string cannot fail.
                let _ = writeln!(
                    text,
                    "Biggest {name:>6} found '{key}' has {} {}",
                    kind.biggest, kind.unit
                );
            }
        }
        text.push('\n');
        for kind in &self.kinds {
            let _ = writeln!(
                text,
                "{} {}s with {} {} ({:05.2}% of keys, avg size {:.2})",
                kind.keys,
                kind.name,
                kind.sum,
                kind.unit,
                share(kind.keys, self.keys),
                average(kind.sum, kind.keys)
            );
        }
        text
    }
}

/// A part of a whole in percent; 0 of nothing.
fn share(part: u64, whole: u64) -> f64 {
    100.0 * average(part, whole)
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn average(sum: u64, count: u64) -> f64 {
    if count == 0 { 0.0 } else { sum as f64 / count as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn survey(measure: Measure) -> Survey {
        Survey {
            measure,
            memory_samples: Some(3),
            kinds: KINDS.iter().map(|kind| Kind::known(kind, measure)).collect(),
            keys: 0,
            key_bytes: 0,
            expected_keys: 4,
        }
    }

    #[test]
    fn the_first_and_every_bigger_key_are_told() {
        let mut survey = survey(Measure::Elements);
        let kind = survey.kind("string");
        let told = survey.count(b"a\"".to_vec(), kind, 0);
        let line = "[25.00%] Biggest string found so far '\"a\\\"\"' with 0 bytes";
        assert_eq!(told.as_deref(), Some(line));
        assert_eq!(survey.count(b"b".to_vec(), kind, 0), None);
        assert!(survey.count(b"c".to_vec(), kind, 7).unwrap().contains("with 7 bytes"));
        let odd = survey.kind("odd");
        assert!(
            survey.count(b"d".to_vec(), odd, 1).unwrap().starts_with("[100.00%] Biggest odd   ")
        );
        let summary = survey.summary();
        for line in [
            "Sampled 4 keys in the keyspace!\n",
            "Total key length in bytes is 5 (avg len 1.25)\n",
            "Biggest string found '\"c\"' has 7 bytes\n",
            "Biggest    odd found '\"d\"' has 1 ?\n",
            "3 strings with 7 bytes (75.00% of keys, avg size 2.33)\n",
            "0 lists with 0 items (00.00% of keys, avg size 0.00)\n",
        ] {
            assert!(summary.contains(line), "{line}{summary}");
        }
    }

    #[test]
    fn the_question_follows_the_measure() {
        let mut elements = survey(Measure::Elements);
        let (set, odd) = (elements.kind("set"), elements.kind("odd"));
        assert_eq!(elements.question(b"k", set), words(&["SCARD", "k"]));
        assert_eq!(elements.question(b"k", odd), words(&["EXISTS", "k"]));
        let memory = survey(Measure::Memory);
        assert_eq!(memory.question(b"k", 0), words(&["MEMORY", "USAGE", "k", "SAMPLES", "3"]));
    }
}
