//! What holds for the whole table.

use std::collections::HashSet;

use super::*;

/// One line each: name arity flags first last step group since categories.
const REDIS: &str = include_str!("redis-7.0.15.txt");

/// Commands and their subcommands.
fn everything() -> impl Iterator<Item = &'static Command> {
    all().flat_map(|command| std::iter::once(command).chain(command.subcommands))
}

fn facts(command: &Command) -> String {
    let flags: Vec<_> = command.flags.names().collect();
    let flags = if flags.is_empty() { "-".to_owned() } else { flags.join(",") };
    let Keys { first, last, step } = command.keys;
    let (name, group) = (command.full_name(), command.group.name());
    format!("{name} {} {flags} {first} {last} {step} {group} {}", command.arity, command.since)
}

#[test]
fn facts_are_those_of_redis() {
    let redis: Vec<&str> = REDIS.lines().filter(|line| !line.starts_with('#')).collect();
    let known = |name: &str| redis.iter().find(|line| line.split(' ').next() == Some(name));
    let (mut compared, mut beyond) = (0, Vec::new());
    for command in everything() {
        let name = command.full_name();
        let Some(line) = known(&name) else {
            beyond.push(name);
            continue;
        };
        let (expected, _) = line.rsplit_once(' ').expect("categories come last");
        assert_eq!(facts(command), expected);
        compared += 1;
    }
    assert_eq!(compared, redis.len());
    beyond.sort_unstable();
    let own =
        ["client|no-touch", "client|setinfo", "compact", "help", "prefix", "range", "waitaof"];
    assert_eq!(beyond, own);
}

#[test]
fn categories_are_those_of_redis() {
    for line in REDIS.lines().filter(|line| !line.starts_with('#')) {
        let name = line.split(' ').next().expect("a name comes first");
        let command = everything().find(|command| command.full_name() == name).expect(name);
        let categories = line.rsplit(' ').next().expect("categories come last");
        assert_eq!(command.categories().join(","), categories, "{name}");
    }
}

#[test]
fn names_are_capitals_and_nothing_is_there_twice() {
    let (mut names, mut verbs) = (HashSet::new(), HashSet::new());
    for command in everything() {
        let capital = |byte: u8| byte.is_ascii_uppercase() || b"_-".contains(&byte);
        assert!(!command.name.is_empty() && command.name.bytes().all(capital));
        assert!(names.insert(command.full_name()), "{}", command.full_name());
        assert!(verbs.insert(command.verb), "{:?}", command.verb);
        let verb = format!("{:?}", command.verb).to_ascii_uppercase();
        let plain = |name: &str| name.replace(['_', '-'], "");
        assert_eq!(verb, plain(command.parent) + &plain(command.name));
    }
}

#[test]
fn everything_is_documented_in_sentences() {
    for command in everything() {
        let name = command.full_name();
        assert!(!command.since.is_empty() && !command.complexity.is_empty(), "{name}");
        assert!(command.summary.ends_with('.') && !command.summary.contains("  "), "{name}");
        assert!(command.differences.is_empty() || command.differences.ends_with('.'), "{name}");
        assert!(!command.arguments.contains("  "), "{name}");
    }
}

#[test]
fn subcommands_belong_to_their_command_and_include_help() {
    for command in all() {
        assert_eq!(command.parent, "");
        for subcommand in command.subcommands {
            assert_eq!((subcommand.parent, subcommand.group), (command.name, command.group));
            assert!(subcommand.subcommands.is_empty());
            assert!(!subcommand.rest_of_line);
        }
        if !command.subcommands.is_empty() {
            let help = find_subcommand(command, b"help").expect("HELP");
            assert_eq!((help.name, help.arity, help.arguments), ("HELP", 2, ""));
        }
    }
}

#[test]
fn only_set_takes_the_rest_of_the_line() {
    let rest: Vec<_> = everything().filter(|command| command.rest_of_line).collect();
    assert_eq!(rest.iter().map(|command| command.verb).collect::<Vec<_>>(), [Verb::Set]);
}

#[test]
fn what_walks_over_keys_may_be_queued() {
    for name in ["SCAN", "KEYS", "RANDOMKEY", "DBSIZE", "RANGE", "PREFIX"] {
        let command = find(name.as_bytes()).expect(name);
        assert!(!command.flags.has(Flags::NO_MULTI), "{name}");
    }
    // The engine does these, and takes longer than a moment.
    for name in ["SAVE", "COMPACT"] {
        let command = find(name.as_bytes()).expect(name);
        assert!(command.flags.has(Flags::NO_MULTI), "{name}");
    }
}

#[test]
fn names_and_usages_are_written_as_in_redis() {
    let client = find(b"client").expect("CLIENT");
    let pause = find_subcommand(client, b"pAuSe").expect("CLIENT PAUSE");
    assert_eq!(pause.full_name(), "client|pause");
    assert_eq!(pause.usage(), "CLIENT PAUSE timeout [WRITE | ALL]");
    assert_eq!((client.full_name(), client.usage()), ("client".into(), "CLIENT".into()));
}

#[test]
fn arity_is_a_number_or_a_least_number_of_words() {
    let accepted = |name: &[u8]| {
        let command = find(name).expect("known");
        (0..6).filter(|&argc| command.accepts(argc)).collect::<Vec<_>>()
    };
    assert_eq!(accepted(b"get"), [2]);
    assert_eq!(accepted(b"set"), [3, 4, 5]);
    assert_eq!(accepted(b"ping"), [1, 2, 3, 4, 5]);
}
