//! Walks the keys with SCAN: `--scan` lists them, the search for big keys looks at each.

use std::io;
use std::ops::ControlFlow;

use super::options::RespOptions;
use super::runner::Runner;
use super::session::Words;
use super::value::Value;
use crate::client::app::Exit;
use crate::client::error::{Error, Result};

/// One pass over the keys of the database.
pub(crate) struct Scan {
    /// The cursor of the next call; `None` before the first.
    cursor: Option<Vec<u8>>,
    /// What follows the cursor.
    options: Words,
}

impl Scan {
    pub(crate) fn new(flags: &RespOptions) -> Self {
        let count = flags.count.map(|count| count.to_string());
        let options = [("MATCH", &flags.pattern), ("COUNT", &count), ("TYPE", &flags.key_type)];
        let words = options.iter().filter_map(|(name, value)| Some((name, value.as_ref()?)));
        let words = words.flat_map(|(name, value)| [name.as_bytes(), value.as_bytes()]);
        Self { cursor: None, options: words.map(<[u8]>::to_vec).collect() }
    }

    /// The next keys, which may be none; `None` at the end.
    pub(crate) fn next(
        &mut self,
        runner: &mut Runner<'_, '_>,
    ) -> io::Result<Result<Option<Vec<Vec<u8>>>>> {
        if self.cursor.as_deref() == Some(b"0") {
            return Ok(Ok(None));
        }
        let cursor = self.cursor.clone().unwrap_or_else(|| b"0".to_vec());
        let mut command = vec![b"SCAN".to_vec(), cursor];
        command.extend_from_slice(&self.options);
        Ok(runner.ask(&[command])?.and_then(|replies| match replies.into_iter().next() {
            Some(Value::Array(page)) => self.turn(&page).map(Some),
            Some(Value::Error(error)) => {
                Err(Error::Refused(String::from_utf8_lossy(&error).into_owned()))
            }
            _ => Err(senseless()),
        }))
    }

    fn turn(&mut self, page: &[Value]) -> Result<Vec<Vec<u8>>> {
        let [cursor, keys] = page else { return Err(senseless()) };
        self.cursor = Some(cursor.text().ok_or_else(senseless)?.to_vec());
        Ok(keys.items().iter().filter_map(Value::text).map(<[u8]>::to_vec).collect())
    }
}

fn senseless() -> Error {
    Error::NotResp("no cursor and keys".to_owned())
}

/// Hands each page of keys to `look` until the end or Ctrl-C, with a pause between two if one is asked
/// for. `look` breaks with what the run ends with.
pub(crate) fn walk(
    runner: &mut Runner<'_, '_>,
    flags: &RespOptions,
    mut look: impl FnMut(&mut Runner<'_, '_>, Vec<Vec<u8>>) -> io::Result<ControlFlow<Exit>>,
) -> io::Result<ControlFlow<Exit>> {
    let mut scan = Scan::new(flags);
    while !runner.session.interrupt().is_set() {
        match scan.next(runner)? {
            Ok(Some(keys)) => {
                if let ControlFlow::Break(exit) = look(runner, keys)? {
                    return Ok(ControlFlow::Break(exit));
                }
            }
            Ok(None) => break,
            Err(error) => return failed(runner, &error).map(ControlFlow::Break),
        }
        if let Some(interval) = flags.interval {
            runner.output.out.flush()?;
            runner.session.interrupt().sleep(interval);
        }
    }
    Ok(ControlFlow::Continue(()))
}

/// Ends a run whose questions were not answered.
pub(crate) fn failed(runner: &mut Runner<'_, '_>, error: &Error) -> io::Result<Exit> {
    let exit = match error {
        Error::Interrupted => return runner.output.out.flush().map(|()| Exit::Fine),
        Error::Refused(_) => Exit::Refused,
        _ => Exit::Unusable,
    };
    runner.output.fail(error, exit)
}

/// Lists the keys, one a line.
pub(crate) fn run(runner: &mut Runner<'_, '_>, flags: &RespOptions) -> io::Result<Exit> {
    let flow = walk(runner, flags, |runner, keys| {
        // A string in each format; none of them says that it is one.
        keys.into_iter().try_for_each(|key| runner.print(&Value::Bulk(key)))?;
        Ok(ControlFlow::Continue(()))
    })?;
    Ok(flow.break_value().unwrap_or(Exit::Fine))
}
