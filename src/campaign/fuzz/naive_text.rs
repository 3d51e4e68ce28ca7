//! The text protocol's requests as `docs/protocol.md` has them, written for clarity only: each line
//! is looked at whole, and one byte after the other.

use super::requests::{Event, Stream, Told, is_http};
use crate::parser::Command;
use crate::parser::table::all;

/// What is told of a stream, as it is delivered.
pub(super) fn told(stream: &Stream) -> Told {
    let max = stream.limits.line_bytes();
    let mut events = Vec::new();
    let mut start = 0;
    // How much had been delivered of a line when it was told to be too long.
    let mut too_long_at = None;
    for &end in &stream.ends {
        while start < end {
            let mut at = start;
            while at < end && stream.bytes[at] != b'\n' {
                at += 1;
            }
            let has_ended = at < end;
            match too_long_at {
                Some(_) if has_ended => {
                    too_long_at = None;
                    start = at + 1;
                }
                Some(since) if end - since > max => {
                    events.push(Event::Flood);
                    // The bytes of the delivery that is one too many are not taken.
                    let used = stream.ends.iter().rfind(|one| **one < end).copied();
                    return Told { events, used: used.unwrap_or(0) };
                }
                None if has_ended => {
                    let event = line(&stream.bytes[start..at], start, at + 1, max);
                    start = at + 1;
                    let Some(event) = event else { continue };
                    let used = if let Event::Attack { start } = event { Some(start) } else { None };
                    events.push(event);
                    if let Some(used) = used {
                        return Told { events, used };
                    }
                }
                None if end - start > max => {
                    events.push(too_long(max));
                    too_long_at = Some(end);
                }
                _ => break,
            }
        }
    }
    let used = if too_long_at.is_some() { stream.bytes.len() } else { start };
    Told { events, used }
}

fn too_long(max: usize) -> Event {
    Event::Refused { told: format!("line too long: at most {max} bytes are allowed"), end: None }
}

/// What a line asks for, if it asks for anything.
fn line(line: &[u8], start: usize, end: usize, max: usize) -> Option<Event> {
    if line.len() > max {
        return Some(too_long(max));
    }
    let mut text = line;
    if text.last() == Some(&b'\r') {
        text = &text[..text.len() - 1];
    }
    let words = words(text);
    let (_, name) = words.first()?;
    let answer = request(name, &words, text);
    Some(match answer {
        Ok((command, words)) => Event::Request { verb: Some(command.verb), words, end },
        Err(_) if is_http(text) => Event::Attack { start },
        Err(told) => Event::Refused { told, end: Some(end) },
    })
}

/// Each word of a line, and where it ends.
fn words(line: &[u8]) -> Vec<(usize, Vec<u8>)> {
    let mut words = Vec::new();
    let mut word = Vec::new();
    for (at, &byte) in line.iter().enumerate() {
        if byte != b' ' {
            word.push(byte);
        } else if !word.is_empty() {
            words.push((at, std::mem::take(&mut word)));
        }
    }
    if !word.is_empty() {
        words.push((line.len(), word));
    }
    words
}

fn request(
    name: &[u8],
    words: &[(usize, Vec<u8>)],
    line: &[u8],
) -> Result<(&'static Command, Vec<Vec<u8>>), String> {
    let mut command = all()
        .find(|command| name.eq_ignore_ascii_case(command.name.as_bytes()))
        .ok_or_else(|| format!("unknown command '{}': HELP lists the commands", shown(name)))?;
    let mut arguments: Vec<Vec<u8>> = words[1..].iter().map(|(_, word)| word.clone()).collect();
    if command.rest_of_line {
        // The last argument is all that stands behind the one space after the word before it.
        let plain = command.arity.unsigned_abs() as usize - 2;
        arguments.truncate(plain);
        if let Some((end, _)) = words.get(plain)
            && *end < line.len()
        {
            arguments.push(line[end + 1..].to_vec());
        }
    }
    if !command.subcommands.is_empty()
        && let Some(name) = arguments.first()
    {
        let parent = command.name;
        let known = |sub: &&Command| name.eq_ignore_ascii_case(sub.name.as_bytes());
        command = command.subcommands.iter().find(known).ok_or_else(|| {
            let name = shown(name);
            format!("unknown subcommand '{name}' of {parent}: {parent} HELP lists them")
        })?;
    }
    let least = command.arity.unsigned_abs() as usize;
    let given = arguments.len() + 1;
    if given == least || command.arity < 0 && given > least {
        return Ok((command, arguments));
    }
    Err(miscounted(command, arguments.len()))
}

/// "GET takes 1 argument, not 2: GET key".
fn miscounted(command: &Command, given: usize) -> String {
    let names = if command.parent.is_empty() { 1 } else { 2 };
    let name = [command.parent, command.name].join(" ");
    let wanted = command.arity.unsigned_abs() as usize - names;
    let least = if command.arity < 0 && !command.rest_of_line { "at least " } else { "" };
    let wanted = match wanted {
        0 => "no arguments".to_owned(),
        1 => "1 argument".to_owned(),
        more => format!("{more} arguments"),
    };
    let (name, given) = (name.trim_start(), given - (names - 1).min(given));
    format!("{name} takes {least}{wanted}, not {given}: {}", command.line_usage())
}

/// Foreign bytes, printable and in 64 characters at most.
fn shown(bytes: &[u8]) -> String {
    let mut shown = String::new();
    for &byte in bytes {
        let plain = (0x20..0x7f).contains(&byte) && byte != b'\\';
        let next = if plain { char::from(byte).to_string() } else { format!("\\x{byte:02x}") };
        if shown.len() + next.len() > 64 {
            return shown + "...";
        }
        shown.push_str(&next);
    }
    shown
}
