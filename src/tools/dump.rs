//! `chronos dump` and `chronos load`: a database to lines of text and back.

use std::fs::File;
use std::io::{self, BufRead, BufReader, BufWriter, IsTerminal, Write};
use std::path::Path;

use super::lines::{DumpReader, DumpWriter, Record};
use super::words::explain;
use super::{Outcome, Told, environment, options, progress, say, sync_name};
use crate::engine::{Engine, Ingest, Offline};

/// Records between two drawings of the bar, at least.
const TELL_EVERY: u64 = 1_024;

/// Writes all that is in the database in `dir` to `output`, or to `out`.
pub(super) fn dump(dir: &Path, output: Option<&Path>, out: &mut dyn Write) -> Told<Outcome> {
    let failed = |error| explain("dump", dir, &error);
    let mut database = environment(dir).and_then(|world| Offline::open(&world)).map_err(failed)?;
    let unwritable = |error: io::Error| {
        let name = output.map_or("stdout".into(), Path::to_string_lossy);
        format!("cannot write {name}: {error}; what was written is no whole dump")
    };
    let file = output.map(File::create_new).transpose().map_err(unwritable)?;
    let target: Box<dyn Write + '_> = match &file {
        Some(file) => Box::new(file),
        None => Box::new(out),
    };
    let bar = progress::entries("dumping");
    bar.set_length(database.entries());
    let mut writer = DumpWriter::new(BufWriter::new(target)).map_err(unwritable)?;
    while database.advance().map_err(failed)? {
        let (key, value) = (database.key(), database.value());
        writer.write(key, value, database.expires_ms()).map_err(unwritable)?;
        if writer.count().is_multiple_of(TELL_EVERY) {
            bar.set_position(writer.count());
        }
    }
    drop(writer.finish().map_err(unwritable)?);
    bar.finish_and_clear();
    if let (Some(file), Some(path)) = (file, output) {
        file.sync_all().and_then(|()| sync_name(path)).map_err(unwritable)?;
    }
    Ok(Outcome::Good)
}

/// Adds all records of a dump to the database in `dir`, which is created if it is missing: all of them
/// or none.
pub(super) fn load(dir: &Path, input: Option<&Path>, out: &mut dyn Write) -> Told<Outcome> {
    let failed = |error| explain("load into", dir, &error);
    let name = input.map_or("stdin".into(), Path::to_string_lossy);
    let unreadable = |error: io::Error| format!("cannot read {name}: {error}");
    let file = input.map(File::open).transpose().map_err(unreadable)?;
    let bar = progress::bytes("loading");
    if let Some(length) = file.as_ref().and_then(|file| file.metadata().ok()) {
        bar.set_length(length.len());
    }
    if file.is_none() && io::stdin().is_terminal() {
        // Where nobody reads stderr, nobody waits either.
        let _ = writeln!(
            io::stderr().lock(),
            "chronos: reading a dump from the terminal; Ctrl-D ends it (--input FILE reads a file)"
        );
    }
    let source: Box<dyn BufRead> = match file {
        Some(file) => Box::new(BufReader::with_capacity(1 << 20, file)),
        None => Box::new(io::stdin().lock()),
    };
    let refused = |what: String| format!("cannot load {name}: {what}; nothing was loaded");
    // Before a database is created that nobody wants.
    let mut reader = DumpReader::open(source).map_err(refused)?;
    let world = environment(dir).map_err(failed)?;
    let (engine, _) = Engine::open(world, options()).map_err(failed)?;
    let mut ingest = engine.ingest();
    let now_ms = engine.now_ms();
    let mut expired = 0_u64;
    while let Some(record) = reader.next().map_err(refused)? {
        // What has expired is loaded as well: an older value under it must not come back.
        expired += u64::from(record.expires_ms.is_some_and(|expires_ms| expires_ms <= now_ms));
        add(&mut ingest, &record).map_err(|what| refused(reader.bad(&what)))?;
        bar.inc(reader.line_bytes());
    }
    let loaded = ingest.progress().entries - expired;
    ingest.finish().map_err(failed)?;
    bar.finish_and_clear();
    say(out, format_args!("loaded {loaded} records; {expired} more had expired"))?;
    engine.close().map_err(|error| explain("close", dir, &error))?;
    Ok(Outcome::Good)
}

fn add(ingest: &mut Ingest, record: &Record) -> Told<()> {
    let added = match record.expires_ms {
        Some(expires_ms) => ingest.put_expiring(&record.key, &record.value, expires_ms),
        None => ingest.put(&record.key, &record.value),
    };
    added.map_err(|error| error.to_string())
}
