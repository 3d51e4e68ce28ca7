//! What the prompt offers while a person types: names of commands, and hints of the arguments that are
//! still to come. Pure functions over the line; both follow the command table.

use crate::parser::table::{self, COMMANDS, Verb};

/// Words that the prompt itself understands.
pub(crate) const LEAVE_WORDS: &[&str] = &["exit", "quit"];

/// The names that fit the word before `position`, and where that word begins.
pub(crate) fn candidates(line: &str, position: usize) -> (usize, Vec<String>) {
    let typed = line.get(..position).unwrap_or_default();
    let start = typed.rfind(' ').map_or(0, |space| space + 1);
    let (before, word) = typed.split_at(start);
    let names = match before.trim() {
        "" => names_of(word).chain(leave_words_of(word)).collect(),
        first if is_help(first) => names_of(word).collect(),
        _ => Vec::new(),
    };
    (start, names)
}

fn is_help(word: &str) -> bool {
    table::find(word.as_bytes()).is_some_and(|command| command.verb == Verb::Help)
}

fn names_of(word: &str) -> impl Iterator<Item = String> + '_ {
    COMMANDS.iter().map(|command| command.name).filter(|name| begins(name, word)).map(str::to_owned)
}

fn leave_words_of(word: &str) -> impl Iterator<Item = String> + '_ {
    let known = |name: &str| table::find(name.as_bytes()).is_some();
    LEAVE_WORDS
        .iter()
        .filter(move |name| !known(name) && !word.is_empty() && begins(name, word))
        .map(|&name| name.to_owned())
}

/// Whether `name` begins with `word`, in any case.
pub(crate) fn begins(name: &str, word: &str) -> bool {
    name.get(..word.len()).is_some_and(|head| head.eq_ignore_ascii_case(word))
}

/// The arguments that `line` still lacks, to be shown behind it.
pub(crate) fn hint(line: &str) -> Option<String> {
    let mut typed = line.split(' ').skip_while(|word| word.is_empty());
    let command = table::find(typed.next()?.as_bytes())?;
    let given = typed.filter(|word| !word.is_empty()).count();
    remaining(arguments(command.line_arguments()), given, line)
}

/// The arguments behind the first `given`, as they are shown behind `line`.
pub(crate) fn remaining<'a>(
    arguments: impl Iterator<Item = &'a str>,
    given: usize,
    line: &str,
) -> Option<String> {
    let missing = arguments.skip(given).collect::<Vec<_>>().join(" ");
    if missing.is_empty() {
        return None;
    }
    let gap = if line.ends_with(' ') { "" } else { " " };
    Some(format!("{gap}{missing}"))
}

/// Splits `key [EX seconds]` into its arguments; what is in brackets stays together.
fn arguments(text: &str) -> impl Iterator<Item = &str> {
    let mut depth = 0_usize;
    text.split(move |character| {
        match character {
            '[' => depth += 1,
            ']' => depth = depth.saturating_sub(1),
            _ => {}
        }
        character == ' ' && depth == 0
    })
    .filter(|argument| !argument.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(line: &str) -> Vec<String> {
        candidates(line, line.len()).1
    }

    #[test]
    fn the_first_word_completes_to_commands() {
        assert_eq!(names("shu"), ["SHUTDOWN"]);
        assert_eq!(names("GETB"), ["GETBIT"]);
        assert_eq!(names("exi"), ["EXISTS", "exit"]);
        assert_eq!(names("q"), ["QUIT"]);
        assert_eq!(names("").len(), COMMANDS.len());
        assert!(names("nothing").is_empty());
        assert!(names("é").is_empty());
    }

    #[test]
    fn later_words_complete_only_after_help() {
        assert!(names("GET s").is_empty());
        assert_eq!(candidates("help getb", 9), (5, vec!["GETBIT".to_owned()]));
        assert!(names("HELP GET s").is_empty());
        assert_eq!(candidates("  pi", 4), (2, vec!["PING".to_owned()]));
        assert_eq!(candidates("COMPACTx", 4).1, ["COMPACT"], "the cursor counts, not the end");
    }

    #[test]
    fn a_hint_shows_only_what_is_still_missing() {
        let cases = [
            ("SET", Some(" key value")),
            ("set ", Some("key value")),
            ("SET k", Some(" value")),
            ("SET k ", Some("value")),
            ("SET k v", None),
            ("SET k v more", None),
            ("  GET ", Some("key")),
            ("DBSIZE", None),
            ("HELP ", Some("[command [subcommand]]")),
            ("GETX ", None),
            ("", None),
        ];
        for (line, expected) in cases {
            assert_eq!(hint(line).as_deref(), expected, "{line:?}");
        }
    }

    #[test]
    fn brackets_hold_an_argument_together() {
        let split: Vec<_> = arguments("key value [EX seconds] [NX|XX]").collect();
        assert_eq!(split, ["key", "value", "[EX seconds]", "[NX|XX]"]);
    }
}
