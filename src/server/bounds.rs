//! The bounds on clients' memory that may be set while the server runs, in Redis's words.

use std::fmt;

use super::limits::{CLIENTS_BYTES, LEAST_CLIENTS_BYTES};

/// What clients of a class may leave unread; 0: no bound.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OutputBound {
    /// Above it a client is closed at once, in bytes.
    pub hard_bytes: usize,
    /// Above it a client is closed if it stays there, in bytes.
    pub soft_bytes: usize,
    /// For how long, in seconds.
    pub soft_seconds: u64,
}

/// The classes of clients, in Redis's order and words. There are no replicas.
const CLASSES: [&str; 3] = ["normal", "slave", "pubsub"];

/// What clients may leave unread, by their class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OutputBounds([OutputBound; 3]);

impl OutputBounds {
    /// Bounds for those who ask, and for those who listen to channels.
    pub const fn new(normal: OutputBound, pubsub: OutputBound) -> Self {
        OutputBounds([
            normal,
            OutputBound { hard_bytes: 0, soft_bytes: 0, soft_seconds: 0 },
            pubsub,
        ])
    }

    /// That of a client.
    pub(crate) fn of(&self, listens: bool) -> OutputBound {
        let [normal, _, pubsub] = self.0;
        if listens { pubsub } else { normal }
    }

    /// These bounds with those that `text` names changed: `class hard soft seconds`, several times.
    pub(crate) fn changed(mut self, text: &str) -> Result<Self, String> {
        let words: Vec<&str> = text.split_ascii_whitespace().collect();
        let (rows, []) = words.as_chunks::<4>() else {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        };
        if rows.is_empty() {
            return Err("Wrong number of arguments in buffer limit configuration.".into());
        }
        for [class, hard, soft, seconds] in rows {
            let class = if class.eq_ignore_ascii_case("replica") { "slave" } else { class };
            let named = |known: &&str| known.eq_ignore_ascii_case(class);
            let place = CLASSES.iter().position(named);
            let bound = place.and_then(|place| self.0.get_mut(place));
            let bound =
                bound.ok_or("Invalid client class specified in buffer limit configuration.")?;
            let wrong =
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.";
            *bound = OutputBound {
                hard_bytes: parse_bytes(hard).ok_or(wrong)?,
                soft_bytes: parse_bytes(soft).ok_or(wrong)?,
                soft_seconds: seconds.parse().map_err(|_| wrong)?,
            };
        }
        Ok(self)
    }
}

impl fmt::Display for OutputBounds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (place, (class, bound)) in CLASSES.iter().zip(self.0).enumerate() {
            let OutputBound { hard_bytes, soft_bytes, soft_seconds } = bound;
            let space = if place > 0 { " " } else { "" };
            write!(f, "{space}{class} {hard_bytes} {soft_bytes} {soft_seconds}")?;
        }
        Ok(())
    }
}

/// What all clients together may make the server hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ClientsBound {
    /// So many bytes; 0: no bound.
    Bytes(usize),
    /// A share of the engine's budget.
    Percent(usize),
}

impl ClientsBound {
    /// Reads `1gb`, `80%` or the like.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let Some(percent) = text.strip_suffix('%') else {
            return parse_bytes(text).map(ClientsBound::Bytes);
        };
        let percent = percent.parse().ok().filter(|percent| (1..=10_000).contains(percent));
        percent.map(ClientsBound::Percent)
    }

    /// In bytes, where the engine's budget is `memory_bytes`; 0 if it is not known. With less than the
    /// least, whoever sets it could not even take it back.
    pub(crate) fn bytes(self, memory_bytes: usize) -> usize {
        let bytes = match self {
            ClientsBound::Bytes(0) => usize::MAX,
            ClientsBound::Bytes(bytes) => bytes,
            ClientsBound::Percent(_) if memory_bytes == 0 => CLIENTS_BYTES,
            ClientsBound::Percent(percent) => (memory_bytes / 100).saturating_mul(percent),
        };
        bytes.max(LEAST_CLIENTS_BYTES)
    }
}

impl fmt::Display for ClientsBound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ClientsBound::Bytes(bytes) => write!(f, "{bytes}"),
            ClientsBound::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// Reads a number of bytes such as `1048576`, `64m`, `64MiB` or `2GB`.
pub(crate) fn parse_bytes(text: &str) -> Option<usize> {
    let digits = text.bytes().take_while(u8::is_ascii_digit).count();
    let (number, suffix) = text.split_at(digits);
    let shift = match suffix.trim().to_ascii_lowercase().as_str() {
        "" | "b" => 0,
        "k" | "kb" | "kib" => 10,
        "m" | "mb" | "mib" => 20,
        "g" | "gb" | "gib" => 30,
        _ => return None,
    };
    number.parse::<usize>().ok()?.checked_mul(1 << shift)
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: OutputBounds = OutputBounds::new(
        OutputBound { hard_bytes: 9, soft_bytes: 0, soft_seconds: 0 },
        OutputBound { hard_bytes: 7, soft_bytes: 6, soft_seconds: 5 },
    );

    #[test]
    fn output_bounds_are_read_and_told_as_in_redis() {
        assert_eq!(BOUNDS.to_string(), "normal 9 0 0 slave 0 0 0 pubsub 7 6 5");
        let changed = BOUNDS.changed("Normal 1kb 2 3  replica 4 5 6").unwrap();
        assert_eq!(changed.to_string(), "normal 1024 2 3 slave 4 5 6 pubsub 7 6 5");
        assert_eq!(changed.changed(&BOUNDS.to_string()), Ok(BOUNDS));
        assert_eq!((BOUNDS.of(false).hard_bytes, BOUNDS.of(true).hard_bytes), (9, 7));
        for (text, word) in [
            ("", "Wrong number"),
            ("normal 1 2", "Wrong number"),
            ("nobody 1 2 3", "Invalid client class"),
            ("normal x 2 3", "Error in hard, soft"),
            ("normal 1 2 -3", "Error in hard, soft"),
        ] {
            assert!(BOUNDS.changed(text).unwrap_err().starts_with(word), "{text}");
        }
    }

    #[test]
    fn the_bound_of_all_is_absolute_or_a_share() {
        let parsed = |text| ClientsBound::parse(text).map(|bound| bound.to_string());
        assert_eq!(parsed("1gb").as_deref(), Some("1073741824"));
        assert_eq!(parsed("5%").as_deref(), Some("5%"));
        for text in ["", "x", "%", "0%", "-1", "1.5g"] {
            assert_eq!(parsed(text), None, "{text}");
        }
        assert_eq!(ClientsBound::Percent(50).bytes(100 << 20), 50 << 20);
        assert_eq!(ClientsBound::Percent(50).bytes(0), CLIENTS_BYTES);
        assert_eq!(ClientsBound::Bytes(0).bytes(1000), usize::MAX);
        assert_eq!(ClientsBound::Bytes(1).bytes(1000), LEAST_CLIENTS_BYTES);
    }
}
