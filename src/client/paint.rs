//! How replies look: as they are for programs, made harmless and coloured for people.
//!
//! When the output is no terminal, every byte is written as it came. On a terminal, bytes that could
//! move the cursor, set the clipboard or fake a prompt are shown as escapes (`\x1b`): a stored value is
//! a stranger's text. Backslashes are left alone, so JSON stays readable and an escape is for reading
//! only, not for typing back.

use std::io::{self, IsTerminal, Write};

use super::options::ColorChoice;
use super::reply::Reply;

const DIM: &str = "\x1b[2m";
const RED: &str = "\x1b[31m";
const RESET: &str = "\x1b[0m";

/// How to write to one output.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) struct Paint {
    /// A person reads it on a terminal.
    terminal: bool,
    /// Escape sequences for colours are wanted.
    color: bool,
}

impl Paint {
    pub(crate) fn of(output: &impl IsTerminal, choice: ColorChoice) -> Self {
        let terminal = output.is_terminal();
        let color = match choice {
            ColorChoice::Always => true,
            ColorChoice::Never => false,
            ColorChoice::Auto => terminal && environment_likes_color(),
        };
        Self { terminal, color }
    }

    pub(crate) fn is_terminal(self) -> bool {
        self.terminal
    }

    pub(crate) fn is_colored(self) -> bool {
        self.color
    }

    /// Writes a reply and the end of its last line.
    pub(crate) fn reply(self, out: &mut dyn Write, reply: &Reply) -> io::Result<()> {
        match reply {
            Reply::Line(line) if line == b"NULL" => self.styled(out, DIM, line),
            Reply::Line(line) => self.line(out, line),
            Reply::Error(error) => self.error(out, error),
            Reply::Text(text) => self.text(out, text),
            Reply::List(lines) => self.list(out, lines),
        }
    }

    /// Writes a message that something went wrong.
    pub(crate) fn error(self, out: &mut dyn Write, message: &[u8]) -> io::Result<()> {
        self.styled(out, RED, message)
    }

    /// Writes a remark beside the replies.
    pub(crate) fn notice(self, out: &mut dyn Write, message: &str) -> io::Result<()> {
        self.styled(out, DIM, message.as_bytes())
    }

    fn line(self, out: &mut dyn Write, line: &[u8]) -> io::Result<()> {
        self.bytes(out, line)?;
        out.write_all(b"\n")
    }

    fn styled(self, out: &mut dyn Write, style: &str, line: &[u8]) -> io::Result<()> {
        if !self.color {
            return self.line(out, line);
        }
        out.write_all(style.as_bytes())?;
        self.bytes(out, line)?;
        writeln!(out, "{RESET}")
    }

    /// Writes lines, and the end of the last one where it lacks.
    pub(crate) fn text(self, out: &mut dyn Write, text: &[u8]) -> io::Result<()> {
        if text.is_empty() {
            return Ok(());
        }
        let text = text.strip_suffix(b"\n").unwrap_or(text);
        text.split(|&byte| byte == b'\n').try_for_each(|line| self.line(out, line))
    }

    fn list(self, out: &mut dyn Write, lines: &[Vec<u8>]) -> io::Result<()> {
        if !self.terminal {
            return lines.iter().try_for_each(|line| self.line(out, line));
        }
        if lines.is_empty() {
            return self.styled(out, DIM, b"(empty list)");
        }
        for (index, line) in lines.iter().enumerate() {
            write!(out, "{}) ", index + 1)?;
            self.line(out, line)?;
        }
        Ok(())
    }

    fn bytes(self, out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
        if self.terminal { harmless(out, bytes) } else { out.write_all(bytes) }
    }
}

#[cfg(test)]
impl Paint {
    /// What a person gets, without colours.
    pub(crate) const PERSON: Self = Self { terminal: true, color: false };
}

fn environment_likes_color() -> bool {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty());
    set("NO_COLOR").is_none() && set("TERM").is_some_and(|term| term != "dumb")
}

/// Writes `bytes` so that a terminal shows them and does nothing else.
fn harmless(out: &mut dyn Write, bytes: &[u8]) -> io::Result<()> {
    for chunk in bytes.utf8_chunks() {
        let mut rest = chunk.valid();
        while let Some((at, bad)) = rest.char_indices().find(|&(_, c)| is_harmful(c)) {
            let (good, tail) = rest.split_at(at);
            out.write_all(good.as_bytes())?;
            escape(out, bad)?;
            rest = tail.strip_prefix(bad).unwrap_or_default();
        }
        out.write_all(rest.as_bytes())?;
        chunk.invalid().iter().try_for_each(|byte| write!(out, "\\x{byte:02x}"))?;
    }
    Ok(())
}

/// Control characters, and those that turn the direction of the text around them.
fn is_harmful(character: char) -> bool {
    (character.is_control() && character != '\t')
        || matches!(character, '\u{200e}'..='\u{200f}' | '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

fn escape(out: &mut dyn Write, character: char) -> io::Result<()> {
    match character {
        '\r' => write!(out, "\\r"),
        '\n' => write!(out, "\\n"),
        other if other.is_ascii() => write!(out, "\\x{:02x}", u32::from(other)),
        other => write!(out, "{}", other.escape_unicode()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const PERSON: Paint = Paint::PERSON;
    const PROGRAM: Paint = Paint { terminal: false, color: false };

    fn shown(paint: Paint, reply: &Reply) -> Vec<u8> {
        let mut out = Vec::new();
        paint.reply(&mut out, reply).unwrap();
        out
    }

    fn line(bytes: &[u8]) -> Reply {
        Reply::Line(bytes.to_vec())
    }

    #[test]
    fn programs_get_every_byte_as_it_came() {
        let value = b"\x1b[2J\xff\r\t\0";
        assert_eq!(shown(PROGRAM, &line(value)), [&value[..], b"\n"].concat());
        let list = Reply::List(vec![b"a".to_vec(), b"b".to_vec()]);
        assert_eq!(shown(PROGRAM, &list), b"a\nb\n");
        assert_eq!(shown(PROGRAM, &Reply::List(Vec::new())), b"");
    }

    #[test]
    fn a_terminal_gets_nothing_that_could_harm_it() {
        let cases: [(&[u8], &str); 6] = [
            (b"\x1b[2Jgone", "\\x1b[2Jgone\n"),
            (b"a\rb\x7f\0", "a\\rb\\x7f\\x00\n"),
            ("\u{9b}31m".as_bytes(), "\\u{9b}31m\n"),
            ("\u{202e}txt".as_bytes(), "\\u{202e}txt\n"),
            (b"\xff\xfe", "\\xff\\xfe\n"),
            ("{\"n\":\"\\u00e9 é ❤\"}\t".as_bytes(), "{\"n\":\"\\u00e9 é ❤\"}\t\n"),
        ];
        for (value, expected) in cases {
            assert_eq!(String::from_utf8(shown(PERSON, &line(value))).unwrap(), expected);
        }
    }

    #[test]
    fn text_keeps_its_lines_and_ends_with_one() {
        assert_eq!(shown(PERSON, &Reply::Text(b"a\n\nb".to_vec())), b"a\n\nb\n");
        assert_eq!(shown(PROGRAM, &Reply::Text(b"a\nb\n".to_vec())), b"a\nb\n");
        assert_eq!(shown(PROGRAM, &Reply::Text(Vec::new())), b"");
    }

    #[test]
    fn people_get_numbered_lists_and_colours_only_when_asked() {
        assert_eq!(shown(PERSON, &Reply::List(vec![b"a".to_vec()])), b"1) a\n");
        assert_eq!(shown(PERSON, &Reply::List(Vec::new())), b"(empty list)\n");
        assert_eq!(shown(PERSON, &line(b"NULL")), b"NULL\n");
        let colored = Paint { terminal: true, color: true };
        assert_eq!(shown(colored, &Reply::Error(b"ERR x".to_vec())), b"\x1b[31mERR x\x1b[0m\n");
        assert_eq!(shown(colored, &line(b"v")), b"v\n");
    }
}
