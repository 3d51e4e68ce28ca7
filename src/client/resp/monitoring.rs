//! The modes that look at a server again and again: `--stat` prints its figures, `--latency` and
//! `--latency-history` measure how long PING takes.
//!
//! Between two looks they sleep, never longer than Ctrl-C is kept waiting for. Lines have redis-cli's
//! shapes, for people have learnt to read them and programs do.

use std::io;
use std::time::{Duration, Instant};

use super::options::RespOptions;
use super::print::Format;
use super::runner::Runner;
use super::scan::failed;
use super::session::words;
use crate::client::app::Exit;

/// Time between two rows of figures.
const STAT_INTERVAL: Duration = Duration::from_secs(1);
/// Rows of figures between two titles.
const TITLE_ROWS: u64 = 20;
/// Time between two PINGs.
const SAMPLE_INTERVAL: Duration = Duration::from_millis(10);
/// How long one line of latencies takes by itself, and in a history.
const LATENCY_INTERVAL: Duration = Duration::from_secs(1);
const HISTORY_INTERVAL: Duration = Duration::from_secs(15);
/// Back to the first column of an empty line.
const CLEAR_LINE: &[u8] = b"\x1b[0G\x1b[2K";

const TITLE: &str = "\
------- data ------ --------------------- load -------------------- - child -
keys       mem      clients blocked requests            connections          ";

/// Prints a row of the server's figures, again and again.
pub(crate) fn stat(runner: &mut Runner<'_, '_>, flags: &RespOptions) -> io::Result<Exit> {
    let interval = flags.interval.unwrap_or(STAT_INTERVAL);
    let mut left = flags.repeat(None);
    let mut requests = None;
    for row in 0.. {
        if left == Some(0) || runner.session.interrupt().is_set() {
            break;
        }
        let info = match runner.ask(&[words(&["INFO"])])? {
            Ok(replies) => replies.first().map(super::value::Value::to_text).unwrap_or_default(),
            Err(error) => return failed(runner, &error),
        };
        if row % TITLE_ROWS == 0 {
            writeln!(runner.output.out, "{TITLE}")?;
        }
        let figures = Figures(&info);
        writeln!(runner.output.out, "{}", figures.row(requests))?;
        runner.output.out.flush()?;
        requests = Some(figures.number("total_commands_processed"));
        left = left.map(|left| left - 1);
        if left != Some(0) {
            runner.session.interrupt().sleep(interval);
        }
    }
    Ok(Exit::Fine)
}

/// The text of INFO.
struct Figures<'i>(&'i str);

impl Figures<'_> {
    fn text(&self, name: &str) -> Option<&str> {
        self.0.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
    }

    /// A figure; 0 where the server has none of that name.
    fn number(&self, name: &str) -> u64 {
        self.text(name).and_then(|text| text.parse().ok()).unwrap_or(0)
    }

    /// The keys of all databases.
    fn keys(&self) -> u64 {
        let counts = self.0.lines().filter_map(|line| {
            let (number, rest) = line.strip_prefix("db")?.split_once(":keys=")?;
            number.parse::<u64>().ok()?;
            rest.split(',').next()?.parse::<u64>().ok()
        });
        counts.sum()
    }

    fn child(&self) -> &'static str {
        if self.number("loading") > 0 {
            "LOAD"
        } else if self.number("rdb_bgsave_in_progress") > 0 {
            "SAVE"
        } else if self.number("aof_rewrite_in_progress") > 0 {
            "AOF"
        } else {
            ""
        }
    }

    /// A row under [`TITLE`]; `before`: the requests of the row before.
    fn row(&self, before: Option<u64>) -> String {
        let requests = self.number("total_commands_processed");
        let more = before.map_or(0, |before| requests.saturating_sub(before));
        format!(
            "{:<11}{:<8} {:<8}{:<8}{:<19} {:<12}{}",
            self.keys(),
            human_bytes(self.number("used_memory")),
            self.number("connected_clients"),
            self.number("blocked_clients"),
            format!("{requests} (+{more})"),
            format!(" {}", self.number("total_connections_received")),
            self.child()
        )
    }
}

/// `1015.00K`, as redis-cli has it.
fn human_bytes(bytes: u64) -> String {
    const UNITS: [(u64, char); 4] =
        [(1 << 40, 'T'), (1 << 30, 'G'), (1 << 20, 'M'), (1 << 10, 'K')];
    match UNITS.iter().find(|(size, _)| bytes >= *size) {
        Some((size, unit)) => format!("{:.2}{unit}", ratio(bytes, *size)),
        None => format!("{bytes}B"),
    }
}

#[expect(clippy::cast_precision_loss, reason = "two decimals are shown")]
fn ratio(part: u64, whole: u64) -> f64 {
    part as f64 / whole as f64
}

/// Latencies so far, in whole milliseconds.
#[derive(Debug, Default, Clone, Copy)]
struct Samples {
    min: u64,
    max: u64,
    sum: u64,
    count: u64,
}

impl Samples {
    fn add(&mut self, milliseconds: u64) {
        self.min = if self.count == 0 { milliseconds } else { self.min.min(milliseconds) };
        self.max = self.max.max(milliseconds);
        self.sum += milliseconds;
        self.count += 1;
    }

    fn line(self, format: Format) -> String {
        let Self { min, max, count, .. } = self;
        let avg = if count == 0 { 0.0 } else { ratio(self.sum, count) };
        match format {
            Format::Standard => {
                format!("min: {min}, max: {max}, avg: {avg:.2} ({count} samples)")
            }
            Format::Csv => format!("{min},{max},{avg:.2},{count}"),
            Format::Raw => format!("{min} {max} {avg:.2} {count}"),
            Format::Json | Format::QuotedJson => {
                format!("{{\"min\": {min}, \"max\": {max}, \"avg\": {avg:.2}, \"count\": {count}}}")
            }
        }
    }
}

/// Measures PING: for a person a line that changes until Ctrl-C, for a program one line after the
/// interval.
pub(crate) fn latency(runner: &mut Runner<'_, '_>, flags: &RespOptions) -> io::Result<Exit> {
    let live = runner.format == Format::Standard;
    let interval = (!live).then(|| flags.interval.unwrap_or(LATENCY_INTERVAL));
    match sample(runner, interval)? {
        Ok(samples) if !live => writeln!(runner.output.out, "{}", samples.line(runner.format))?,
        Ok(_) => writeln!(runner.output.out)?,
        Err(exit) => return Ok(exit),
    }
    Ok(Exit::Fine)
}

/// Measures PING, with a line for each interval until Ctrl-C.
pub(crate) fn latency_history(
    runner: &mut Runner<'_, '_>,
    flags: &RespOptions,
) -> io::Result<Exit> {
    let interval = flags.interval.unwrap_or(HISTORY_INTERVAL);
    let mut left = flags.repeat(None);
    while left != Some(0) && !runner.session.interrupt().is_set() {
        let start = Instant::now();
        let samples = match sample(runner, Some(interval))? {
            Ok(samples) => samples,
            Err(exit) => return Ok(exit),
        };
        if runner.format == Format::Standard {
            let seconds = start.elapsed().as_secs_f64();
            writeln!(runner.output.out, " -- {seconds:.2} seconds range")?;
        } else {
            writeln!(runner.output.out, "{}", samples.line(runner.format))?;
        }
        left = left.map(|left| left - 1);
    }
    Ok(Exit::Fine)
}

/// Measures for so long, or until Ctrl-C. For a person the line so far is always on show.
fn sample(
    runner: &mut Runner<'_, '_>,
    interval: Option<Duration>,
) -> io::Result<std::result::Result<Samples, Exit>> {
    let start = Instant::now();
    let mut samples = Samples::default();
    while !runner.session.interrupt().is_set() {
        let sent = Instant::now();
        if let Err(error) = runner.ask(&[words(&["PING"])])? {
            return failed(runner, &error).map(Err);
        }
        samples.add(sent.elapsed().as_millis() as u64);
        if runner.format == Format::Standard {
            runner.output.out.write_all(CLEAR_LINE)?;
            write!(runner.output.out, "{}", samples.line(runner.format))?;
            runner.output.out.flush()?;
        }
        if interval.is_some_and(|interval| start.elapsed() >= interval) {
            break;
        }
        runner.session.interrupt().sleep(SAMPLE_INTERVAL);
    }
    Ok(Ok(samples))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_has_the_columns_of_the_title() {
        let info = "# Clients\r\nconnected_clients:3\r\nblocked_clients:1\r\nused_memory:1039360\r\n\
                    total_commands_processed:24\r\ntotal_connections_received:7\r\n\
                    rdb_bgsave_in_progress:1\r\ndb0:keys=500,expires=0\r\ndb11:keys=6,expires=0\r\n\
                    dbx:keys=9\r\n";
        let row = "506        1015.00K 3       1       24 (+4)              7          SAVE";
        assert_eq!(Figures(info).row(Some(20)), row);
        assert!(Figures("").row(None).starts_with("0          0B       0       0       0 (+0) "));
    }

    #[test]
    fn bytes_have_two_decimals_above_a_kibibyte() {
        assert_eq!(human_bytes(1023), "1023B");
        assert_eq!(human_bytes(3 << 20), "3.00M");
        assert_eq!(human_bytes(5 << 40), "5.00T");
    }

    #[test]
    fn latencies_have_a_line_in_each_format() {
        let mut samples = Samples::default();
        for milliseconds in [2, 0, 4] {
            samples.add(milliseconds);
        }
        assert_eq!(samples.line(Format::Standard), "min: 0, max: 4, avg: 2.00 (3 samples)");
        assert_eq!(samples.line(Format::Raw), "0 4 2.00 3");
        assert_eq!(samples.line(Format::Csv), "0,4,2.00,3");
        let json = "{\"min\": 0, \"max\": 4, \"avg\": 2.00, \"count\": 3}";
        assert_eq!(samples.line(Format::Json), json);
        assert_eq!(Samples::default().line(Format::Raw), "0 0 0.00 0");
    }
}
