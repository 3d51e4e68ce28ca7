//! The table for readers: docs/commands.md for people, [`arguments`] for COMMAND DOCS.
//!
//! The page is rendered from the table and never edited; a test compares the two.

mod usage;

use std::fmt::Write;

pub use usage::{Argument, ArgumentKind, arguments};

use super::{Command, Group, all};

const OPENING: &str = "\
# Commands

<!-- Generated from src/parser/table. After a change there: cargo test --lib -- --ignored write_commands_doc -->

For whoever uses Chronos through a Redis client or the text protocol. Replies and error texts are those of Redis 7.0
unless the last column says otherwise; how the two protocols differ is in [protocol.md](protocol.md).

In a usage, `[a]` may be left out, `<a | b>` is a choice, `a [a ...]` and `[a] ...` may be repeated, and words in
capitals are given as they are. In the cost of a command

- N is the number of keys in the database, B the number of its bytes, T of its tables, F of its files, M the bytes that
  are not in tables yet;
- K is the number of keys, channels or patterns that a request names, S of its operations, A of its words, and count the
  number of keys that it returns or asks for;
- L is the length of the values in bytes, where a command has to go through them, as L1 and L2 are;
- C is the number of connections, R of those that listen to a channel, H of channels, Q of patterns that are listened to;
- V is the number of commands, P of settings, E of entries in the slow log.

O(log N) is a search in memory, then in the tables whose range holds the key: at most one of each level below the first.
A filter rules most of them out unread.
";

/// The text of docs/commands.md.
pub fn markdown() -> String {
    let mut page = OPENING.to_owned();
    for group in Group::ALL {
        section(&mut page, group);
    }
    page
}

fn section(page: &mut String, group: Group) {
    let title = group.title();
    // Writing to a string cannot fail.
    let _ = writeln!(page, "\n## {title}\n");
    page.push_str("| usage | cost | what it does | differs from Redis |\n|---|---|---|---|\n");
    for command in all().filter(|command| command.group == group) {
        for command in std::iter::once(command).chain(command.subcommands) {
            row(page, command);
        }
    }
}

fn row(page: &mut String, command: &Command) {
    // A bar ends a cell even within backquotes.
    let usage = command.usage().replace('|', "\\|");
    let [cost, summary, differences] =
        [command.complexity, command.summary, command.differences].map(escaped);
    // Writing to a string cannot fail.
    let _ = writeln!(page, "| `{usage}` | {cost} | {summary} | {differences} |");
}

/// `text` as it is, in a cell of a table.
fn escaped(text: &str) -> String {
    let mut cell = String::with_capacity(text.len());
    for c in text.chars() {
        if "\\|*<>[]`".contains(c) {
            cell.push('\\');
        }
        cell.push(c);
    }
    cell
}

#[cfg(test)]
mod tests {
    use super::*;

    const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/commands.md");

    #[test]
    fn the_page_is_what_the_table_says() {
        let page = std::fs::read_to_string(PAGE).expect("docs/commands.md");
        let hint = "run cargo test --lib -- --ignored write_commands_doc";
        assert!(page == markdown(), "docs/commands.md is not what the table says: {hint}");
    }

    #[test]
    #[ignore = "writes docs/commands.md"]
    fn write_commands_doc() {
        std::fs::write(PAGE, markdown()).expect("docs/commands.md");
    }

    #[test]
    fn every_row_has_four_cells() {
        let page = markdown();
        let rows: Vec<_> = page.lines().filter(|line| line.starts_with("| `")).collect();
        let commands = all().map(|command| 1 + command.subcommands.len()).sum::<usize>();
        assert_eq!(rows.len(), commands);
        for row in rows {
            let bars = row.matches('|').count() - row.matches("\\|").count();
            assert_eq!(bars, 5, "{row}");
        }
    }

    #[test]
    fn what_markdown_would_take_for_markup_is_escaped() {
        assert_eq!(escaped("O(L1 * L2) | <a> [b]"), "O(L1 \\* L2) \\| \\<a\\> \\[b\\]");
    }
}
