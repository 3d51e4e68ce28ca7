//! How the tools speak: keys as text, figures, and what to do about an error.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use crate::engine::{Error, KeySpan};

/// Bytes of a key that are shown.
const SHOWN_BYTES: usize = 64;

/// A key as text: what does not print is escaped as `\xHH`, a long one is cut off.
pub(super) struct Key<'a>(pub(super) &'a [u8]);

impl fmt::Display for Key<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown = &self.0[..self.0.len().min(SHOWN_BYTES)];
        write!(f, "\"{}\"", shown.escape_ascii())?;
        if shown.len() < self.0.len() { write!(f, "… ({} bytes)", self.0.len()) } else { Ok(()) }
    }
}

/// A stretch of keys as text.
pub(super) struct Span<'a>(pub(super) &'a KeySpan);

impl fmt::Display for Span<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let from = if self.0.excludes_first { "behind" } else { "from" };
        write!(f, "{from} {} up to {}", Key(&self.0.first), Key(&self.0.last))
    }
}

/// Why a tool cannot do its work on `dir`, and what to do about it.
pub(super) fn explain(what: &str, dir: &Path, error: &Error) -> String {
    let dir = dir.display();
    let advice = match error {
        Error::Locked => {
            "; stop its server first, or work on a backup of it: chronos backup --from HOST:PORT TARGET"
        }
        Error::UnknownFormat { .. } => "; use the version that wrote it",
        Error::Io { .. } if error.is_no_space() => {
            "; make room on the device, or raise its quota or the limit on the size of files"
        }
        _ => "",
    };
    format!("cannot {what} {dir}: {error}{advice}")
}

/// A moment in milliseconds since the Unix epoch, as `2026-11-30 20:15:02 UTC`.
pub(super) struct Utc(pub(super) u64);

impl fmt::Display for Utc {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (days, seconds) = (self.0 / 86_400_000, self.0 / 1000 % 86_400);
        let (hour, minute, second) = (seconds / 3600, seconds / 60 % 60, seconds % 60);
        let (year, month, day) = date(days);
        write!(f, "{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
    }
}

/// Year, month and day of the day that is so many days after 1 January 1970. Counted from 1 March of the
/// year 0, months have a regular length and the leap day comes last (Howard Hinnant, "chrono-compatible
/// low-level date algorithms").
fn date(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, day_of_era) = (days / 146_097, days % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    (400 * era + year_of_era + u64::from(month <= 2), month, day)
}

/// A length of time in its largest units: `2 d 3 h`.
pub(super) struct Length(pub(super) Duration);

impl fmt::Display for Length {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let seconds = self.0.as_secs();
        let (large, small, unit, part) = match seconds {
            0..60 => return write!(f, "{seconds} s"),
            60..3_600 => (60, 1, "min", "s"),
            3_600..86_400 => (3_600, 60, "h", "min"),
            _ => (86_400, 3_600, "d", "h"),
        };
        write!(f, "{} {unit}", seconds / large)?;
        match seconds % large / small {
            0 => Ok(()),
            rest => write!(f, " {rest} {part}"),
        }
    }
}

/// Reads a length of time such as `90s`, `15m`, `24h` or `7d`.
pub(super) fn duration(text: &str) -> Result<Duration, String> {
    let wrong = "give a length of time with its unit: 90s, 15m, 24h or 7d";
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.trim().parse().map_err(|_| wrong)?;
    let unit = match &text[digits.len()..] {
        "s" => 1,
        "m" | "min" => 60,
        "h" => 3_600,
        "d" => 86_400,
        _ => return Err(wrong.to_owned()),
    };
    number.checked_mul(unit).map(Duration::from_secs).ok_or_else(|| wrong.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_and_lengths_of_time_are_for_people() {
        for (ms, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399_999, "2000-02-28 23:59:59 UTC"),
            (951_782_400_000, "2000-02-29 00:00:00 UTC"),
            (1_796_068_802_345, "2026-11-30 20:00:02 UTC"),
            (4_102_444_800_000, "2100-01-01 00:00:00 UTC"),
            (4_107_542_400_000, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(Utc(ms).to_string(), text);
        }
        for (seconds, text) in [
            (59, "59 s"),
            (60, "1 min"),
            (3_599, "59 min 59 s"),
            (7_260, "2 h 1 min"),
            (180_000, "2 d 2 h"),
        ] {
            assert_eq!(Length(Duration::from_secs(seconds)).to_string(), text);
        }
        assert_eq!(duration("24h").unwrap(), Duration::from_hours(24));
        assert_eq!(duration("7d").unwrap(), Duration::from_hours(7 * 24));
        for wrong in ["", "5", "h", "1.5h", "-1s", "9999999999999999999d", "1y"] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn keys_are_shown_on_one_line_and_bounded() {
        assert_eq!(Key(b"\0a \"\n\xff").to_string(), "\"\\x00a \\\"\\n\\xff\"");
        let long = Key(&[b'k'; 1_000]).to_string();
        assert!(long.ends_with("… (1000 bytes)") && long.len() < 100, "{long}");
        let span = KeySpan { first: b"a".to_vec(), excludes_first: true, last: b"b".to_vec() };
        assert_eq!(Span(&span).to_string(), "behind \"a\" up to \"b\"");
    }
}
