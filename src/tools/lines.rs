//! The dump format: a database as lines of text. `docs/operations.md` documents it.
//!
//! The last line tells how many records there are and the checksum of all that stands before it: a
//! dump that was cut off or changed is not loaded. Printable ASCII stands for itself, so that the
//! usual tools for text work on a dump; every other byte, and the backslash, is escaped.

use std::io::{self, BufRead, Write};

use crc32c::crc32c_append;

use crate::engine::{MAX_KEY_BYTES, MAX_VALUE_BYTES};

/// The first line.
const HEADER: &str = "chronos-dump 1";

/// The longest line that a record can take: every byte escaped, two tabs, an expiry, the end.
const MAX_LINE_BYTES: u64 = 4 * (MAX_KEY_BYTES + MAX_VALUE_BYTES) as u64 + 24;

/// A record of a dump.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Record {
    /// As the engine stores it.
    pub(super) key: Vec<u8>,
    /// As the engine stores it.
    pub(super) value: Vec<u8>,
    /// When it expires, in milliseconds since the Unix epoch.
    pub(super) expires_ms: Option<u64>,
}

/// Writes a dump.
pub(super) struct DumpWriter<W> {
    out: W,
    line: Vec<u8>,
    count: u64,
    checksum: u32,
}

impl<W: Write> DumpWriter<W> {
    /// Begins a dump.
    pub(super) fn new(out: W) -> io::Result<Self> {
        let mut writer = DumpWriter { out, line: HEADER.into(), count: 0, checksum: 0 };
        writer.end_line()?;
        Ok(writer)
    }

    /// Writes a record.
    pub(super) fn write(
        &mut self,
        key: &[u8],
        value: &[u8],
        expires_ms: Option<u64>,
    ) -> io::Result<()> {
        escape(key, &mut self.line);
        self.line.push(b'\t');
        escape(value, &mut self.line);
        if let Some(expires_ms) = expires_ms {
            write!(self.line, "\t{expires_ms}")?;
        }
        self.count += 1;
        self.end_line()
    }

    /// Records so far.
    pub(super) fn count(&self) -> u64 {
        self.count
    }

    /// Writes the last line, and returns what was written to.
    pub(super) fn finish(mut self) -> io::Result<W> {
        writeln!(self.out, "end {} crc32c={:08x}", self.count, self.checksum)?;
        self.out.flush()?;
        Ok(self.out)
    }

    fn end_line(&mut self) -> io::Result<()> {
        self.line.push(b'\n');
        self.checksum = crc32c_append(self.checksum, &self.line);
        self.out.write_all(&self.line)?;
        self.line.clear();
        Ok(())
    }
}

/// Reads a dump, line by line. [`DumpReader::next`] returns `None` only behind a last line that
/// agrees with all before it.
pub(super) struct DumpReader<R> {
    input: R,
    line: Vec<u8>,
    number: u64,
    count: u64,
    checksum: u32,
}

impl<R: BufRead> DumpReader<R> {
    /// Reads from `input`, of which the first line says that it is a dump.
    pub(super) fn open(input: R) -> Result<Self, String> {
        let mut reader = DumpReader { input, line: Vec::new(), number: 0, count: 0, checksum: 0 };
        reader.read_line()?;
        if reader.line != HEADER.as_bytes() {
            return Err(reader.bad(&format!("a dump begins with \"{HEADER}\"")));
        }
        reader.take_line();
        Ok(reader)
    }

    /// The next record; an error names the line.
    pub(super) fn next(&mut self) -> Result<Option<Record>, String> {
        self.read_line()?;
        if let Some(end) = self.line.strip_prefix(b"end ")
            && !self.line.contains(&b'\t')
        {
            let right = format!("{} crc32c={:08x}", self.count, self.checksum);
            if end != right.as_bytes() {
                return Err(self.bad("the end does not agree with the lines before it"));
            }
            return match self.input.fill_buf() {
                Ok([]) => Ok(None),
                Ok(_) => Err(self.bad("something follows the end")),
                Err(error) => Err(self.bad(&error.to_string())),
            };
        }
        let record = parse(&self.line).ok_or_else(|| {
            self.bad("not a key, a tab and a value, and maybe a tab and an expiry")
        })?;
        self.take_line();
        self.count += 1;
        Ok(Some(record))
    }

    /// Bytes of the line last read.
    pub(super) fn line_bytes(&self) -> u64 {
        self.line.len() as u64 + 1
    }

    /// What is wrong with the current line.
    pub(super) fn bad(&self, what: &str) -> String {
        format!("line {}: {what}", self.number)
    }

    /// Reads a line, which must be whole.
    fn read_line(&mut self) -> Result<(), String> {
        self.line.clear();
        self.number += 1;
        let mut limited = io::Read::take(&mut self.input, MAX_LINE_BYTES);
        if let Err(error) = limited.read_until(b'\n', &mut self.line) {
            return Err(self.bad(&error.to_string()));
        }
        if self.line.pop_if(|byte| *byte == b'\n').is_some() {
            return Ok(());
        }
        let is_long = self.line.len() as u64 == MAX_LINE_BYTES;
        Err(self.bad(if is_long { "it is too long" } else { "the dump is cut off here" }))
    }

    /// Counts the current line in.
    fn take_line(&mut self) {
        self.checksum = crc32c_append(crc32c_append(self.checksum, &self.line), b"\n");
    }
}

/// Appends bytes as text: without tabs, line ends or anything that does not print.
fn escape(bytes: &[u8], line: &mut Vec<u8>) {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    for byte in bytes {
        match byte {
            b'\\' => line.extend_from_slice(b"\\\\"),
            b' '..=b'~' => line.push(*byte),
            _ => {
                let digit = |shift: u8| DIGITS[usize::from(byte >> shift & 15)];
                line.extend_from_slice(&[b'\\', b'x', digit(4), digit(0)]);
            }
        }
    }
}

fn parse(line: &[u8]) -> Option<Record> {
    let mut fields = line.split(|byte| *byte == b'\t');
    let (key, value) = (unescape(fields.next()?)?, unescape(fields.next()?)?);
    let expires_ms = match fields.next() {
        Some(digits) => Some(str::from_utf8(digits).ok()?.parse().ok()?),
        None => None,
    };
    fields.next().is_none().then_some(Record { key, value, expires_ms })
}

fn unescape(text: &[u8]) -> Option<Vec<u8>> {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.iter();
    while let Some(byte) = rest.next() {
        match byte {
            b'\\' => bytes.push(match rest.next()? {
                b'\\' => b'\\',
                b'x' => 16 * hex(*rest.next()?)? + hex(*rest.next()?)?,
                _ => return None,
            }),
            b' '..=b'~' => bytes.push(*byte),
            _ => return None,
        }
    }
    Some(bytes)
}

fn hex(digit: u8) -> Option<u8> {
    char::from(digit).to_digit(16).map(|value| value as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample() -> Vec<Record> {
        let all: Vec<u8> = (0..=255).collect();
        let record = |key: &[u8], value: &[u8], expires_ms| Record {
            key: key.into(),
            value: value.into(),
            expires_ms,
        };
        vec![
            record(&all, &all, None),
            record(b"end 2 crc32c=00000000", b"", None),
            record(b"\\x41", b"\\", Some(u64::MAX)),
        ]
    }

    fn dump(records: &[Record]) -> Vec<u8> {
        let mut writer = DumpWriter::new(Vec::new()).unwrap();
        for record in records {
            writer.write(&record.key, &record.value, record.expires_ms).unwrap();
        }
        writer.finish().unwrap()
    }

    fn read(bytes: &[u8]) -> Result<Vec<Record>, String> {
        let mut reader = DumpReader::open(bytes)?;
        let mut records = Vec::new();
        while let Some(record) = reader.next()? {
            records.push(record);
        }
        Ok(records)
    }

    #[test]
    fn a_dump_returns_whatever_the_bytes_are() {
        for records in [sample(), Vec::new()] {
            let bytes = dump(&records);
            assert!(bytes.iter().all(|byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t')));
            assert_eq!(read(&bytes), Ok(records));
        }
    }

    #[test]
    fn a_dump_that_was_cut_off_or_changed_anywhere_is_refused_by_line() {
        let bytes = dump(&sample());
        for cut in 0..bytes.len() {
            assert!(read(&bytes[..cut]).unwrap_err().starts_with("line "), "cut at {cut}");
        }
        for at in 0..bytes.len() {
            let mut changed = bytes.clone();
            changed[at] ^= 1;
            assert!(read(&changed).is_err(), "changed at {at}");
        }
        let longer = [&bytes[..], b"more\n"].concat();
        assert_eq!(read(&longer).unwrap_err(), "line 5: something follows the end");
        assert_eq!(
            read(b"chronos-dump 2\n").unwrap_err(),
            "line 1: a dump begins with \"chronos-dump 1\""
        );
    }

    #[test]
    fn the_documented_dump_is_one() {
        let document = include_str!("../../docs/operations.md");
        let from = document.find("chronos-dump 1\n").unwrap();
        let until = from + document[from..].find("```").unwrap();
        let text = &document[from..until];
        let records = read(text.as_bytes()).unwrap();
        assert_eq!((records.len(), records[0].key.as_slice()), (2, &b"\0user:1"[..]));
        assert_eq!(dump(&records), text.as_bytes());
    }

    #[test]
    fn what_is_no_record_is_refused() {
        for line in ["key", "a\tb\tc", "a\tb\t1\t2", "a\\\tb", "a\\x4\tb", "\u{e9}\tb", "a\tb\t-1"]
        {
            let text = format!("chronos-dump 1\n{line}\n");
            assert!(read(text.as_bytes()).unwrap_err().starts_with("line 2: not a key"), "{line}");
        }
    }
}
