//! Chronos as a library: a small ledger in a directory of your choice.
//!
//! `cargo run --example embedded -- /tmp/ledger`, several times: what it wrote before is there, and
//! each fifth run clears the entries.

#![expect(clippy::print_stdout, reason = "an example talks to its user")]

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use chronos::engine::{
    Batch, Conditional, Engine, Environment, Expected, KeyRange, Options, Result, WriteOptions,
};

fn main() -> Result<()> {
    let directory = std::env::args_os().nth(1).map_or_else(|| "ledger".into(), PathBuf::from);
    let (engine, recovery) = Engine::open(Environment::disk(&directory)?, Options::default())?;
    println!(
        "opened {}: {} tables, {} writes replayed, in {:?}",
        directory.display(),
        recovery.tables,
        recovery.writes,
        recovery.elapsed
    );

    // A write is durable when the call returns: it survives a power cut.
    engine.put(b"owner", b"ada")?;

    // Several writes that belong together are one batch: all of them, or none.
    let run = next_number(&engine)?;
    let mut batch = Batch::new();
    for entry in 0..3 {
        let key = format!("entry:{run:06}:{entry}");
        batch.put(key.as_bytes(), format!("amount {}", run * 10 + entry).as_bytes());
    }
    batch.put_expiring(b"lock", b"held", now_ms() + 60_000); // gone in a minute, by itself
    engine.write(&batch, WriteOptions::default())?;

    // A snapshot shows one moment, whatever is written meanwhile.
    let prefix = format!("entry:{run:06}:");
    let snapshot = engine.snapshot();
    engine.delete(format!("{prefix}0").as_bytes())?;
    let of_this_run = KeyRange::prefix(prefix.as_bytes());
    let (before, now) =
        (snapshot.scan(of_this_run.clone()).count(), engine.scan(of_this_run).count());
    println!("entries of this run: {before} in the snapshot, {now} now");

    // Scans go both ways, and lend what they show.
    let mut scan = engine.scan(KeyRange::prefix(b"entry:")).reversed();
    while scan.advance()? {
        println!("  {} = {}", text(scan.key()), text(scan.value()));
    }

    // What expires says when.
    if let Some(lock) = engine.get_record(b"lock")? {
        let left_ms = lock.expires_ms.unwrap_or(u64::MAX).saturating_sub(now_ms());
        println!("the lock is {} for another {left_ms} ms", text(&lock.value));
    }

    // A range delete costs one write, however many keys there are.
    if run.is_multiple_of(5) {
        engine.delete_range(KeyRange::prefix(b"entry:"))?;
        println!("a clean sheet");
    }
    let stats = engine.stats();
    println!("{} writes since the first run, durable up to {}", stats.last_seq, stats.durable_seq);
    engine.close() // flushes, so that the next open has nothing to replay
}

/// Counts the runs, whoever else counts at the same time.
fn next_number(engine: &Engine) -> Result<u64> {
    loop {
        let current = engine.get_record(b"runs")?;
        let number =
            current.as_ref().map_or(0, |record| text(&record.value).parse().unwrap_or(0)) + 1;
        let expected = current.map_or(Expected::Absent, |record| Expected::Version(record.version));
        let written = engine.put_if(b"runs", number.to_string().as_bytes(), expected)?;
        if let Conditional::Written { .. } = written {
            return Ok(number);
        }
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
    since.as_millis() as u64
}
