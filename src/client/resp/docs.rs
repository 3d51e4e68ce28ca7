//! What the server says about its own commands: `COMMAND DOCS`, as help, hints and completion.
//!
//! A server that does not know the question, or answers it in an unknown shape, leaves this empty: the
//! prompt then offers nothing, and says nothing of it.

use std::cell::RefCell;
use std::collections::BTreeMap;

use super::value::Value;
use super::words;
use crate::client::complete::{begins, remaining};
use crate::client::repl::Vocabulary;

/// Words that the prompt itself understands.
pub(crate) const PROMPT_WORDS: &[&str] = &["clear", "exit", "help", "quit"];

/// One command, or one command's subcommand.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Entry {
    summary: String,
    since: String,
    group: String,
    /// The syntax of each argument, in order.
    arguments: Vec<String>,
}

/// The server's commands by their name in capitals; a subcommand's is its command's name, a space,
/// and its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Docs {
    entries: BTreeMap<String, Entry>,
}

impl Docs {
    /// Reads the reply to `COMMAND DOCS`.
    pub(crate) fn of(reply: &Value) -> Self {
        let mut docs = Self::default();
        docs.add(reply);
        docs
    }

    fn add(&mut self, commands: &Value) {
        for (name, facts) in commands.pairs() {
            let name = name.to_text().to_ascii_uppercase().replace('|', " ");
            let facts = Facts(facts.pairs());
            if let Some(subcommands) = facts.get("subcommands") {
                self.add(subcommands);
            }
            self.entries.insert(name, entry(&facts));
        }
    }

    /// The entry that the words of a line begin with, and of how many words its name is.
    fn find(&self, words: &[String]) -> Option<(&Entry, usize)> {
        let first = words.first()?.to_ascii_uppercase();
        let second = words.get(1).map(|word| format!("{first} {}", word.to_ascii_uppercase()));
        match second.and_then(|name| self.entries.get(&name)) {
            Some(entry) => Some((entry, 2)),
            None => self.entries.get(&first).map(|entry| (entry, 1)),
        }
    }

    /// What `help` prints: on nothing, on a command, or on a group that is written with an at sign.
    pub(crate) fn help(&self, topic: &[String]) -> String {
        let name = topic.join(" ").to_ascii_uppercase();
        let wanted = |known: &str, entry: &Entry| match name.strip_prefix('@') {
            Some(group) => entry.group.to_ascii_uppercase() == group,
            None => {
                known == name || known.strip_prefix(&name).is_some_and(|rest| rest.starts_with(' '))
            }
        };
        let found: Vec<_> =
            self.entries.iter().filter(|(known, entry)| wanted(known, entry)).collect();
        if topic.is_empty() {
            return "help COMMAND    what a command does and takes, as the server says\n\
                    help @GROUP     the commands of a group, e.g. @string\n\
                    5 COMMAND ...   runs a command 5 times\n\
                    clear           clears the screen\n\
                    exit, quit      leave\n\
                    Ctrl-C ends the waiting for a reply.\n"
                .to_owned();
        }
        if found.is_empty() {
            return format!("The server has no help on '{}'.\n", topic.join(" "));
        }
        found.into_iter().map(|(name, entry)| entry.help(name)).collect()
    }
}

impl Entry {
    fn help(&self, name: &str) -> String {
        let syntax = self.arguments.join(" ");
        let gap = if syntax.is_empty() { "" } else { " " };
        let fact = |name: &str, text: &str| match text {
            "" => String::new(),
            text => format!("  {name}: {text}\n"),
        };
        let facts = [
            fact("summary", &self.summary),
            fact("since", &self.since),
            fact("group", &self.group),
        ];
        format!("\n  {name}{gap}{syntax}\n{}\n", facts.concat())
    }
}

impl Vocabulary for RefCell<Docs> {
    fn candidates(&self, line: &str, position: usize) -> (usize, Vec<String>) {
        let docs = self.borrow();
        let typed = line.get(..position).unwrap_or_default();
        let help = typed.get(..5).is_some_and(|word| word.eq_ignore_ascii_case("help "));
        let start = if help { 5 } else { 0 };
        let word = typed.get(start..).unwrap_or_default();
        let own = PROMPT_WORDS.iter().filter(|own| !help && !word.is_empty() && begins(own, word));
        let names = docs.entries.keys().filter(|name| begins(name, word)).cloned();
        (start, names.chain(own.map(|&own| own.to_owned())).collect())
    }

    fn hint(&self, line: &str) -> Option<String> {
        let words: Vec<String> = words::split(line.as_bytes())?
            .iter()
            .map(|word| String::from_utf8_lossy(word).into_owned())
            .collect();
        let docs = self.borrow();
        let (entry, named) = docs.find(&words)?;
        remaining(entry.arguments.iter().map(String::as_str), words.len() - named, line)
    }
}

/// A map of the reply.
struct Facts<'v>(Vec<(&'v Value, &'v Value)>);

impl<'v> Facts<'v> {
    fn get(&self, name: &str) -> Option<&'v Value> {
        let found = self.0.iter().find(|(key, _)| key.text() == Some(name.as_bytes()));
        found.map(|(_, value)| *value)
    }

    fn text(&self, name: &str) -> String {
        self.get(name).map(Value::to_text).unwrap_or_default()
    }

    fn arguments(&self) -> Vec<String> {
        let arguments = self.get("arguments").map(Value::items).unwrap_or_default();
        arguments.iter().map(|argument| Facts(argument.pairs()).syntax()).collect()
    }

    fn has_flag(&self, flag: &str) -> bool {
        let flags = self.get("flags").map(Value::items).unwrap_or_default();
        flags.iter().any(|known| known.text() == Some(flag.as_bytes()))
    }

    /// How one argument is written: `[EX seconds|KEEPTTL]`, `key [key ...]`.
    fn syntax(&self) -> String {
        let token = self.text("token");
        let name = match self.text("type").as_str() {
            "pure-token" => String::new(),
            "oneof" => self.arguments().join("|"),
            "block" => self.arguments().join(" "),
            _ if self.get("display_text").is_some() => self.text("display_text"),
            _ => self.text("name"),
        };
        let gap = if token.is_empty() || name.is_empty() { "" } else { " " };
        let repeated = if self.has_flag("multiple_token") {
            format!("{token}{gap}{name}")
        } else {
            name.clone()
        };
        let more =
            if self.has_flag("multiple") { format!(" [{repeated} ...]") } else { String::new() };
        let whole = format!("{token}{gap}{name}{more}");
        if self.has_flag("optional") { format!("[{whole}]") } else { whole }
    }
}

fn entry(facts: &Facts<'_>) -> Entry {
    Entry {
        summary: facts.text("summary"),
        since: facts.text("since"),
        group: facts.text("group"),
        arguments: facts.arguments(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Value {
        Value::Bulk(text.as_bytes().to_vec())
    }

    fn map(pairs: Vec<(&str, Value)>) -> Value {
        Value::Map(pairs.into_iter().map(|(key, value)| (text(key), value)).collect())
    }

    fn flags(flags: &[&str]) -> Value {
        Value::Set(flags.iter().map(|flag| Value::Simple(flag.as_bytes().to_vec())).collect())
    }

    fn named(name: &str, kind: &str, more: Vec<(&str, Value)>) -> Value {
        let head = vec![("name", text(name)), ("type", text(kind))];
        map(head.into_iter().chain(more).collect())
    }

    /// SET with its options, MGET, and CONFIG with a subcommand.
    fn reply() -> Value {
        let seconds = named("seconds", "integer", vec![("token", text("EX"))]);
        let keep = named("keepttl", "pure-token", vec![("token", text("KEEPTTL"))]);
        let expiry =
            vec![("flags", flags(&["optional"])), ("arguments", Value::Array(vec![seconds, keep]))];
        let set = vec![
            named("key", "key", vec![]),
            named("value", "string", vec![]),
            named("e", "oneof", expiry),
        ];
        let mget = vec![named("key", "key", vec![("flags", flags(&["multiple"]))])];
        let get = vec![named("parameter", "string", vec![])];
        let subcommand = map(vec![("summary", text("Reads.")), ("arguments", Value::Array(get))]);
        let subcommands = map(vec![("config|get", subcommand)]);
        map(vec![
            (
                "set",
                map(vec![
                    ("summary", text("Sets.")),
                    ("group", text("string")),
                    ("arguments", Value::Array(set)),
                ]),
            ),
            ("mget", map(vec![("group", text("string")), ("arguments", Value::Array(mget))])),
            ("config", map(vec![("since", text("2.0.0")), ("subcommands", subcommands)])),
        ])
    }

    /// The same in RESP2, where maps are flat arrays.
    fn flattened(value: Value) -> Value {
        match value {
            Value::Map(pairs) => Value::Array(
                pairs.into_iter().flat_map(|(key, value)| [key, flattened(value)]).collect(),
            ),
            Value::Array(items) => Value::Array(items.into_iter().map(flattened).collect()),
            Value::Set(items) => Value::Array(items),
            other => other,
        }
    }

    #[test]
    fn hints_follow_the_arguments() {
        let docs = RefCell::new(Docs::of(&reply()));
        let cases = [
            ("set", Some(" key value [EX seconds|KEEPTTL]")),
            ("SET ", Some("key value [EX seconds|KEEPTTL]")),
            ("set \"a b\" ", Some("value [EX seconds|KEEPTTL]")),
            ("set k v 1", None),
            ("set \"open", None),
            ("mget ", Some("key [key ...]")),
            ("config get ", Some("parameter")),
            ("nothing ", None),
        ];
        for (line, hint) in cases {
            assert_eq!(docs.hint(line).as_deref(), hint, "{line:?}");
        }
    }

    #[test]
    fn names_are_completed_subcommands_too() {
        let docs = RefCell::new(Docs::of(&reply()));
        assert_eq!(
            docs.candidates("c", 1),
            (0, vec!["CONFIG".to_owned(), "CONFIG GET".to_owned(), "clear".to_owned()])
        );
        assert_eq!(docs.candidates("config g", 8).1, ["CONFIG GET"]);
        assert_eq!(docs.candidates("HELP m", 6), (5, vec!["MGET".to_owned()]));
        assert_eq!(docs.candidates("", 0).1.len(), 4);
        assert!(docs.candidates("set k", 5).1.is_empty());
    }

    #[test]
    fn help_is_on_commands_and_groups() {
        let docs = Docs::of(&reply());
        let set = "\n  SET key value [EX seconds|KEEPTTL]\n  summary: Sets.\n  group: string\n\n";
        assert_eq!(docs.help(&["set".to_owned()]), set);
        assert_eq!(
            docs.help(&["@String".to_owned()]),
            format!("\n  MGET key [key ...]\n  group: string\n\n{set}")
        );
        assert!(docs.help(&["config".to_owned()]).contains("CONFIG GET parameter"));
        assert!(docs.help(&["x".to_owned()]).contains("no help on 'x'"));
        assert!(docs.help(&[]).contains("@GROUP"));
    }

    #[test]
    fn resp2_says_the_same_and_nonsense_says_nothing() {
        assert_eq!(Docs::of(&flattened(reply())), Docs::of(&reply()));
        for reply in
            [Value::Null, Value::Error(b"ERR unknown".to_vec()), Value::Array(vec![Value::Null])]
        {
            assert_eq!(Docs::of(&reply), Docs::default());
        }
    }
}
