//! The load tester: closed loops of SET, GET and DEL over one or many connections, in text or RESP,
//! with every reply checked. Without flags one connection asks 10,000 times, one request after the other.
//!
//! `options` → `test` (what to ask, what came of it; `workload`, `wire`) → `load` (the poll loop over
//! `lane`s) → `report`. It must never report a rate that hides errors: an error reply ends the run without
//! a report, a wrong value fails it.

mod lane;
mod load;
mod login;
mod options;
mod probe;
mod report;
mod test;
mod wire;
mod workload;

use std::io::{self, Write};
use std::process::ExitCode;

use clap::Parser;

use self::load::Load;
use self::options::{Options, Protocol};
use self::test::{Outcome, Test};
use self::workload::Values;
use super::app::Exit;
use super::connection::Endpoint;
use super::error::{Error, Result};
use super::options::PASSWORD_WARNING;
use super::state::Credentials;

/// Runs the load tester with the process's arguments and streams.
pub fn main() -> ExitCode {
    let options = Options::parse();
    let mut err = io::stderr();
    if options.auth.shows_password() {
        drop(writeln!(err, "{PASSWORD_WARNING}"));
    }
    let exit = match options.check().and_then(|()| options.auth.credentials()) {
        Err(message) => complain(&mut err, &message),
        Ok(credentials) => run(&options, &credentials, &mut io::stdout().lock(), &mut err),
    };
    exit.into()
}

fn complain(err: &mut dyn Write, message: &str) -> Exit {
    drop(writeln!(err, "{message}"));
    Exit::Unusable
}

fn run(
    options: &Options,
    credentials: &Credentials,
    out: &mut dyn Write,
    err: &mut dyn Write,
) -> Exit {
    let endpoint = options.endpoint.clone().endpoint();
    let (durability, outcomes) = match measure(options, &endpoint, credentials) {
        Ok(measured) => measured,
        Err(error @ Error::Answered { .. }) => {
            complain(err, &error.to_string());
            return Exit::Refused;
        }
        Err(error) => return complain(err, &explain(&error, options.protocol)),
    };
    let durability = durability.as_deref();
    let written = if options.csv {
        report::csv(out, options, durability, &outcomes)
    } else if options.quiet {
        report::lines(out, &outcomes)
    } else {
        report::table(out, options, &endpoint, durability, &outcomes)
    };
    if let Err(error) = written.and_then(|()| out.flush()) {
        return complain(err, &format!("cannot write the report: {error}"));
    }
    match outcomes.iter().map(|outcome| outcome.wrong).sum::<u64>() {
        0 => Exit::Fine,
        wrong => {
            complain(err, &format!("{wrong} replies were wrong"));
            Exit::Refused
        }
    }
}

fn measure(
    options: &Options,
    endpoint: &Endpoint,
    credentials: &Credentials,
) -> Result<(Option<String>, Vec<Outcome>)> {
    let durability = probe::durability(endpoint, options.protocol, credentials)?;
    let mut load = Load::open(endpoint, options.connections, options.protocol, credentials)?;
    let mut values = Values::new(options);
    let mut outcomes = Vec::new();
    for &operation in &options.tests {
        let mut test = Test::new(options, operation, &mut values)
            .map_err(|error| Error::Broken(io::Error::other(error)))?;
        let elapsed = load.run(&mut test)?;
        outcomes.push(test.finish(elapsed));
    }
    Ok((durability, outcomes))
}

/// An error in words, with what may be behind it.
fn explain(error: &Error, protocol: Protocol) -> String {
    match error {
        Error::Closed | Error::Malformed(_) if protocol == Protocol::Text => {
            format!("{error} (for Redis and its kin, add --protocol resp)")
        }
        other => other.to_string(),
    }
}

#[cfg(test)]
mod tests;
