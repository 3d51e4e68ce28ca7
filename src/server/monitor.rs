//! MONITOR: clients that see every command that the server runs.
//!
//! They are told after it has run, without the passwords in it; what it wrote is durable before they
//! hear of it. Commands for those who run the server are not shown, as in Redis.

use std::time::{SystemTime, UNIX_EPOCH};

use crate::parser::table::Flags;
use crate::parser::{Args, Command, Protocol};

use super::client::Client;
use super::dispatch::Services;
use super::slowlog::shown_words;
use super::values::quote;

impl Services<'_> {
    /// Shows a command to those who see all commands, with time, database and client.
    pub(crate) fn show_to_monitors(&mut self, command: &Command, args: Args<'_>, client: &Client) {
        let is_hidden = [Flags::SKIP_MONITOR, Flags::ADMIN].map(|flag| command.flags.has(flag));
        if self.monitors.is_empty() || is_hidden.contains(&true) {
            return;
        }
        let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let (seconds, micros) = (now.as_secs(), now.subsec_micros());
        let mut line =
            format!("{seconds}.{micros:06} [{} {}]", client.db, client.peer).into_bytes();
        for word in shown_words(command, args) {
            line.push(b' ');
            quote::push_quoted(&word, &mut line);
        }
        let seq = self.keyspace.last_seq();
        for to in self.monitors.clone() {
            let other = self.clients.get_mut(to).map(|other| (other.protocol, other.is_silent()));
            let (protocol, is_silent) = other.unwrap_or((client.protocol, client.is_silent()));
            if is_silent {
                continue;
            }
            self.deliver(to, line.len(), seq, || match protocol {
                Protocol::Text => [&line[..], b"\n"].concat(),
                Protocol::Resp2 | Protocol::Resp3 => [b"+", &line[..], b"\r\n"].concat(),
            });
        }
    }
}
