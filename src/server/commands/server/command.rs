//! COMMAND: describes the commands, out of their table.

use crate::parser::error::Unresolved;
use crate::parser::table::docs::{Argument, ArgumentKind, arguments};
use crate::parser::table::{Flags, all, find, find_subcommand, keys_of};
use crate::parser::{Command, Encoder, OwnedArgs, Verb, resolve};

use super::super::super::interrupt::SYNTAX;
use super::super::super::limits::DESCRIBED_COMMANDS;
use super::super::super::values::glob;
use super::{Call, Handled};

pub(super) fn handle(call: &mut Call) -> Handled {
    let describes = matches!(call.command.verb, Verb::CommandDocs | Verb::CommandInfo);
    if describes && call.args.len() > 1 + DESCRIBED_COMMANDS {
        let line = format!("ERR at most {DESCRIBED_COMMANDS} commands are described at a time");
        return Err(line.into());
    }
    match call.command.verb {
        Verb::CommandCount => call.reply.count(all().count()),
        Verb::CommandDocs => docs(call),
        Verb::CommandGetKeys => return keys(call),
        Verb::CommandList => return list(call),
        Verb::CommandInfo if call.args.len() > 1 => {
            let names = call.args.from(1);
            call.reply.array(names.len());
            for name in names.iter() {
                match named(name) {
                    Some(command) => describe(call.reply, command),
                    None => call.reply.null(),
                }
            }
        }
        _ => {
            call.reply.array(all().count());
            all().for_each(|command| describe(call.reply, command));
        }
    }
    Ok(())
}

/// The command or subcommand with a name such as `get` or `client|list`.
fn named(name: &[u8]) -> Option<&'static Command> {
    let mut names = name.splitn(2, |&byte| byte == b'|');
    let command = find(names.next()?)?;
    names.next().map_or(Some(command), |subcommand| find_subcommand(command, subcommand))
}

fn words<'w>(reply: &mut Encoder<'_>, words: impl Iterator<Item = &'w str>) {
    let words: Vec<_> = words.collect();
    reply.set(words.len());
    for word in words {
        reply.simple(word);
    }
}

fn field(reply: &mut Encoder<'_>, name: &str, value: &str) {
    reply.bulk(name.as_bytes());
    reply.bulk(value.as_bytes());
}

/// One command as COMMAND INFO shows it.
fn describe(reply: &mut Encoder<'_>, command: &Command) {
    reply.array(10);
    reply.bulk(command.full_name().as_bytes());
    reply.integer(command.arity.into());
    words(reply, command.flags.names());
    for position in [command.keys.first, command.keys.last, command.keys.step] {
        reply.integer(position.into());
    }
    words(reply, command.categories().into_iter());
    reply.set(0);
    describe_keys(reply, command);
    reply.set(command.subcommands.len());
    command.subcommands.iter().for_each(|subcommand| describe(reply, subcommand));
}

/// Where the keys are, once more: in the notation that Redis 7 has for it.
fn describe_keys(reply: &mut Encoder<'_>, command: &Command) {
    let keys = command.keys;
    if keys.first <= 0 {
        return reply.set(0);
    }
    let flags = if command.flags.has(Flags::WRITE) { ["RW", "update"] } else { ["RO", "access"] };
    reply.set(1);
    reply.map(3);
    reply.bulk(b"flags");
    words(reply, flags.into_iter());
    reply.bulk(b"begin_search");
    reply.map(2);
    field(reply, "type", "index");
    reply.bulk(b"spec");
    reply.map(1);
    reply.bulk(b"index");
    reply.integer(keys.first.into());
    reply.bulk(b"find_keys");
    reply.map(2);
    field(reply, "type", "range");
    reply.bulk(b"spec");
    reply.map(3);
    // Here the last key is counted from the first one.
    let last = if keys.last < 0 { keys.last } else { keys.last - keys.first };
    for (name, number) in [("lastkey", last), ("keystep", keys.step), ("limit", 0)] {
        reply.bulk(name.as_bytes());
        reply.integer(number.into());
    }
}

fn docs(call: &mut Call) {
    let names = call.args.from(1);
    let meant: Vec<&Command> =
        if names.is_empty() { all().collect() } else { names.iter().filter_map(named).collect() };
    document_all(call.reply, meant.into_iter());
}

fn document_all<'c>(reply: &mut Encoder<'_>, commands: impl ExactSizeIterator<Item = &'c Command>) {
    reply.map(commands.len());
    for command in commands {
        reply.bulk(command.full_name().as_bytes());
        document(reply, command);
    }
}

/// One command as COMMAND DOCS shows it.
fn document(reply: &mut Encoder<'_>, command: &Command) {
    let arguments = arguments(command.arguments);
    let (has_arguments, has_subcommands) = (!arguments.is_empty(), !command.subcommands.is_empty());
    reply.map(4 + usize::from(has_arguments) + usize::from(has_subcommands));
    field(reply, "summary", command.summary);
    field(reply, "since", command.since);
    field(reply, "group", command.group.name());
    field(reply, "complexity", command.complexity);
    if has_arguments {
        reply.bulk(b"arguments");
        document_arguments(reply, &arguments);
    }
    if has_subcommands {
        reply.bulk(b"subcommands");
        document_all(reply, command.subcommands.iter());
    }
}

fn document_arguments(reply: &mut Encoder<'_>, arguments: &[Argument]) {
    reply.array(arguments.len());
    for argument in arguments {
        let flags = [
            (argument.optional, "optional"),
            (argument.multiple, "multiple"),
            (argument.multiple_token, "multiple_token"),
        ];
        let flags: Vec<_> =
            flags.into_iter().filter_map(|(is_set, name)| is_set.then_some(name)).collect();
        let is_key = argument.kind == ArgumentKind::Key;
        let further =
            [is_key, argument.token.is_some(), !flags.is_empty(), !argument.arguments.is_empty()];
        reply.map(2 + further.into_iter().filter(|&is_there| is_there).count());
        field(reply, "name", &argument.name);
        field(reply, "type", argument.kind.name());
        if is_key {
            reply.bulk(b"key_spec_index");
            reply.integer(0);
        }
        if let Some(token) = &argument.token {
            field(reply, "token", token);
        }
        if !flags.is_empty() {
            reply.bulk(b"flags");
            words(reply, flags.into_iter());
        }
        if !argument.arguments.is_empty() {
            reply.bulk(b"arguments");
            document_arguments(reply, &argument.arguments);
        }
    }
}

fn list(call: &mut Call) -> Handled {
    let everything =
        || all().flat_map(|command| std::iter::once(command).chain(command.subcommands));
    let value = call.args.at(3);
    let filter = call.args.at(2).to_ascii_uppercase();
    let is_filter = call.args.at(1).eq_ignore_ascii_case(b"FILTERBY") && call.args.len() == 4;
    let names: Vec<String> = match filter.as_slice() {
        _ if call.args.len() == 1 => all().map(Command::full_name).collect(),
        b"MODULE" if is_filter => Vec::new(),
        b"ACLCAT" if is_filter => {
            let category = [b"@", value].concat().to_ascii_lowercase();
            let belongs =
                |command: &&Command| command.categories().iter().any(|c| c.as_bytes() == category);
            everything().filter(belongs).map(Command::full_name).collect()
        }
        b"PATTERN" if is_filter => {
            glob::check(value)?;
            let names = everything().map(Command::full_name);
            names.filter(|name| glob::matches(value, name.as_bytes(), true)).collect()
        }
        _ => return Err(SYNTAX.into()),
    };
    call.reply.array(names.len());
    for name in names {
        call.reply.bulk(name.as_bytes());
    }
    Ok(())
}

/// GETKEYS: the keys among the words of a request.
fn keys(call: &mut Call) -> Handled {
    let argv: Vec<&[u8]> = call.args.from(1).iter().collect();
    let owned = OwnedArgs::copy(argv.iter().copied());
    let (command, is_whole) = match resolve(owned.args()) {
        Ok(command) => (command, true),
        Err(Unresolved::Arity(command)) => (command, false),
        Err(_) => return Err("ERR Invalid command specified".into()),
    };
    if command.keys.first <= 0 {
        return Err("ERR The command has no key arguments".into());
    }
    if !is_whole {
        return Err("ERR Invalid number of arguments specified for command".into());
    }
    let Some(positions) = keys_of(command, &argv) else {
        return Err("ERR Invalid arguments specified for command".into());
    };
    call.reply.array(positions.len());
    for at in positions {
        call.reply.bulk(argv.get(at).copied().unwrap_or_default());
    }
    Ok(())
}
