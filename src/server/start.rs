//! What an operator is told when the server starts, or why it does not.

use std::net::SocketAddr;
use std::path::Path;

use crate::engine::{Error, Recovery};

/// Says in one sentence why the data cannot be opened and what to do about it.
pub fn explain_open_error(error: &Error, data_dir: &Path) -> String {
    let dir = data_dir.display();
    let advice = match error {
        Error::Locked => "stop it, or choose another --data-dir",
        Error::Io { .. } if error.is_no_space() => "make room on the device",
        Error::Io { .. } => {
            "make the directory readable and writable, or choose another --data-dir"
        }
        Error::Corrupt { .. } => {
            "restore that file from a backup; nothing was changed; chronos check lists all damage, chronos recover --dry-run what can be kept"
        }
        Error::UnknownFormat { .. } => "nothing was changed",
        _ => "nothing is served",
    };
    format!("cannot open the data in {dir}: {error}; {advice}")
}

/// Logs what recovery found.
pub fn log_recovery(recovery: &Recovery, data_dir: &Path) {
    let dir = data_dir.display();
    if recovery.created {
        tracing::info!("created a new database in {dir}");
        return;
    }
    tracing::info!(
        writes = recovery.writes,
        groups = recovery.groups,
        log_bytes = recovery.log_bytes,
        tables = recovery.tables,
        elapsed_ms = recovery.elapsed.as_millis() as u64,
        "recovered the database in {dir}"
    );
    if let Some(torn) = &recovery.torn {
        tracing::warn!(
            file = torn.file,
            offset = torn.offset,
            copy = torn.copy,
            "dropped the end of the log, which a crash left half-written; none of it was acknowledged"
        );
    }
}

/// Warns about every address that other machines may reach.
pub fn warn_if_exposed(addresses: &[SocketAddr]) {
    for address in addresses.iter().filter(|address| !address.ip().is_loopback()) {
        tracing::warn!(
            %address,
            "listening beyond this machine without authentication: anyone who reaches this address \
             can read and change everything"
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn refusals_say_what_to_do() {
        let told = |error: Error| explain_open_error(&error, Path::new("data"));
        assert_eq!(
            told(Error::Locked),
            "cannot open the data in data: the data directory is in use by another process; \
             stop it, or choose another --data-dir"
        );
        let damaged = told(Error::corrupt("000001.sst", 7, "checksum"));
        assert!(damaged.contains("000001.sst") && damaged.contains("nothing was changed"));
    }
}
