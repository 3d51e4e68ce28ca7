//! CLIENT: shows and changes connections.
//!
//! What a client asks of itself is changed here; whom CLIENT KILL names is closed by the reactor at
//! the end of the tick, and counts as gone from then on.

use std::collections::HashSet;
use std::fmt::Write;
use std::net::SocketAddr;

use crate::parser::{Args, Command, Protocol, Verb};

use super::super::client::{Client, Traits};
use super::super::closing::CloseReason;
use super::super::dispatch::Next;
use super::super::interrupt::{Fault, Interrupt, SYNTAX};
use super::super::values::integer;
use super::connection::client_name;
use super::help::help;
use super::{Call, Handled};

/// What Redis says of a timeout that is none.
const NO_TIMEOUT: &str = "ERR timeout is not an integer or out of range";

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::ClientId => call.reply.integer(call.client.number.cast_signed()),
        Verb::ClientInfo => {
            let line = describe(call.client, call.services.tick_ms);
            call.reply.verbatim(&line);
        }
        Verb::ClientList => return list(call),
        Verb::ClientKill => return kill(call),
        Verb::ClientGetName => {
            let name = call.client.names.as_deref().map(|names| names.name.as_bytes());
            call.reply.bulk_or_null(name.filter(|name| !name.is_empty()));
        }
        Verb::ClientSetName => {
            call.client.names().name = client_name(call.args.at(1))?;
            call.reply.ok();
        }
        Verb::ClientSetInfo => return set_info(call),
        Verb::ClientPause => return pause(call),
        Verb::ClientUnpause => {
            call.services.runtime.pause = None;
            call.services.keyspace.retry_within(std::time::Duration::ZERO);
            call.reply.ok();
        }
        Verb::ClientReply => return reply(call),
        Verb::ClientNoEvict => return switch(call, Traits::NO_EVICT),
        Verb::ClientNoTouch => return switch(call, Traits::NO_TOUCH),
        _ => help(call),
    }
    Ok(())
}

fn switch(call: &mut Call, traits: Traits) -> Handled {
    let is_on = match call.args.at(1).to_ascii_uppercase().as_slice() {
        b"ON" => true,
        b"OFF" => false,
        _ => return Err(SYNTAX.into()),
    };
    call.client.traits.put(traits, is_on);
    call.reply.ok();
    Ok(())
}

fn reply(call: &mut Call) -> Handled {
    let traits = &mut call.client.traits;
    match call.args.at(1).to_ascii_uppercase().as_slice() {
        b"ON" => {
            // Also what SKIP said of this very command.
            traits.clear(Traits::SILENT);
            traits.clear(Traits::SKIP_THIS);
            call.reply.ok();
        }
        b"OFF" => traits.set(Traits::SILENT),
        b"SKIP" => traits.put(Traits::SKIP_NEXT, !traits.has(Traits::SILENT)),
        _ => return Err(SYNTAX.into()),
    }
    Ok(())
}

fn set_info(call: &mut Call) -> Handled {
    let (option, value) = (call.args.at(1), call.args.at(2));
    let shown = String::from_utf8_lossy(option);
    let checked = || {
        let refuse = |_| {
            format!("ERR {shown} cannot contain spaces, newlines or special characters.").into()
        };
        client_name(value).map_err(|fault: Fault| -> Interrupt { refuse(fault) })
    };
    match option.to_ascii_uppercase().as_slice() {
        b"LIB-NAME" => call.client.names().library = checked()?,
        b"LIB-VER" => call.client.names().library_version = checked()?,
        _ => return Err(format!("ERR Unrecognized option '{shown}'").into()),
    }
    call.reply.ok();
    Ok(())
}

fn pause(call: &mut Call) -> Handled {
    let holds_reads = match call.args.at(2).to_ascii_uppercase().as_slice() {
        _ if call.args.len() != 3 => true,
        b"ALL" => true,
        b"WRITE" => false,
        _ => return Err("ERR CLIENT PAUSE mode must be WRITE or ALL".into()),
    };
    let timeout = integer::parse(call.args.at(1)).ok_or(NO_TIMEOUT)?;
    let timeout = u64::try_from(timeout).map_err(|_| "ERR timeout is negative")?;
    let now_ms = call.services.tick_ms;
    let Some(until_ms) = now_ms.checked_add(timeout).filter(|&until| i64::try_from(until).is_ok())
    else {
        return Err("ERR timeout is out of range".into());
    };
    call.services.runtime.hold(until_ms, holds_reads, now_ms);
    call.reply.ok();
    Ok(())
}

// ---- who is there ----

/// What sort of client it is to Redis.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Normal,
    /// There are none.
    Replication,
    PubSub,
}

impl Kind {
    fn of(client: &Client) -> Self {
        if client.traits.has(Traits::SUBSCRIBED) { Kind::PubSub } else { Kind::Normal }
    }

    fn parse(word: &[u8]) -> Result<Self, Fault> {
        match word.to_ascii_lowercase().as_slice() {
            b"normal" => Ok(Kind::Normal),
            b"master" | b"slave" | b"replica" => Ok(Kind::Replication),
            b"pubsub" => Ok(Kind::PubSub),
            _ => {
                let word = String::from_utf8_lossy(word);
                Err(Fault::from(format!("ERR Unknown client type '{word}'")))
            }
        }
    }
}

fn list(call: &mut Call) -> Handled {
    let option = call.args.at(1).to_ascii_uppercase();
    let (mut kind, mut numbers) = (None, None);
    match option.as_slice() {
        _ if call.args.len() == 1 => {}
        b"TYPE" if call.args.len() == 3 => kind = Some(Kind::parse(call.args.at(2))?),
        b"ID" if call.args.len() > 2 => {
            let words = call.args.from(2);
            let parsed: Option<HashSet<i64>> = words.iter().map(integer::parse).collect();
            numbers = Some(parsed.ok_or("ERR Invalid client ID")?);
        }
        _ => return Err(SYNTAX.into()),
    }
    let is_meant = |client: &&Client| {
        kind.is_none_or(|kind| kind == Kind::of(client))
            && numbers.as_ref().is_none_or(|numbers| numbers.contains(&client.number.cast_signed()))
    };
    let services = &*call.services;
    let others = services.clients.iter().filter(|client| !client.traits.has(Traits::LEAVING));
    let me = &*call.client;
    let mut clients: Vec<&Client> = others.chain(std::iter::once(me)).filter(is_meant).collect();
    clients.sort_unstable_by_key(|client| client.number);
    let text: String =
        clients.into_iter().map(|client| describe(client, services.tick_ms)).collect();
    call.reply.verbatim(&text);
    Ok(())
}

/// One line about a client, with its line end.
fn describe(client: &Client, now_ms: u64) -> String {
    let names = client.names.as_deref();
    let (name, library, version) =
        names.map_or(("", "", ""), |names| (&names.name, &names.library, &names.library_version));
    let seconds_since = |since_ms: u64| now_ms.saturating_sub(since_ms) / 1000;
    let subscriptions = client.subscriptions.as_deref();
    let (channels, patterns) =
        subscriptions.map_or((0, 0), |all| (all.channels.len(), all.patterns.len()));
    let (queued, queued_bytes) = match client.transaction.as_deref() {
        Some(queue) if client.traits.has(Traits::QUEUEING) => {
            ((queue.queue.len() as u64).cast_signed(), queue.queued_bytes)
        }
        _ => (-1, 0),
    };
    let (input, output) = (client.input_bytes as usize, client.unread_bytes as usize);
    let total = size_of::<Client>() + input + output + queued_bytes;
    let command = client.last_command.map_or_else(|| "NULL".to_owned(), Command::full_name);
    let version_of_resp = match client.protocol {
        Protocol::Text => 0,
        Protocol::Resp2 => 2,
        Protocol::Resp3 => 3,
    };
    let mut line = format!(
        "id={} addr={} laddr={} fd={} name={name} age={} idle={} flags={} db={}",
        client.number,
        client.peer,
        client.local,
        client.descriptor,
        seconds_since(client.since_ms),
        seconds_since(client.served_ms),
        flags(client.traits),
        client.db,
    );
    // A String takes every write.
    let _ = write!(
        line,
        " sub={channels} psub={patterns} ssub=0 multi={queued} qbuf={input} qbuf-free=0 \
         argv-mem=0 multi-mem={queued_bytes} rbs=0 rbp=0 obl={output} oll=0 omem={output} \
         tot-mem={total} events={} cmd={command} user=default redir=-1 resp={version_of_resp} \
         lib-name={library} lib-ver={version}",
        if output > 0 { "rw" } else { "r" },
    );
    line.push('\n');
    line
}

fn flags(traits: Traits) -> String {
    let letters = [
        (Traits::MONITOR, 'O'),
        (Traits::SUBSCRIBED, 'P'),
        (Traits::QUEUEING, 'x'),
        (Traits::DISTURBED, 'd'),
        (Traits::NO_EVICT, 'e'),
        (Traits::NO_TOUCH, 'T'),
    ];
    let set: String =
        letters.into_iter().filter(|(one, _)| traits.has(*one)).map(|(_, letter)| letter).collect();
    if set.is_empty() { "N".into() } else { set }
}

// ---- closing ----

/// Whom CLIENT KILL means: those of whom everything holds.
#[derive(Default)]
struct Target {
    number: Option<i64>,
    peer: Option<SocketAddr>,
    local: Option<SocketAddr>,
    kind: Option<Kind>,
    min_age_ms: Option<u64>,
    /// An address or the like that nobody can have.
    is_nobody: bool,
    spares_me: bool,
}

impl Target {
    fn parse(mut options: Args<'_>) -> Result<Self, Fault> {
        let mut target = Target { spares_me: true, ..Target::default() };
        while !options.is_empty() {
            if options.len() < 2 {
                return Err(Fault::from(SYNTAX));
            }
            target.add(options.at(0), options.at(1))?;
            options = options.from(2);
        }
        Ok(target)
    }

    fn add(&mut self, option: &[u8], value: &[u8]) -> Result<(), Fault> {
        match option.to_ascii_uppercase().as_slice() {
            b"ID" => {
                let number = integer::parse(value).filter(|&number| number > 0);
                let number = number.ok_or("ERR client-id should be greater than 0")?;
                self.number = Some(number);
            }
            b"TYPE" => self.kind = Some(Kind::parse(value)?),
            b"ADDR" => self.peer = self.address(value),
            b"LADDR" => self.local = self.address(value),
            b"USER" if value == b"default" => {}
            b"USER" => {
                let user = String::from_utf8_lossy(value);
                return Err(Fault::from(format!("ERR No such user '{user}'")));
            }
            b"SKIPME" => match value.to_ascii_uppercase().as_slice() {
                b"YES" => self.spares_me = true,
                b"NO" => self.spares_me = false,
                _ => return Err(Fault::from(SYNTAX)),
            },
            b"MAXAGE" => {
                let seconds =
                    integer::parse(value).ok_or("ERR maxage is not an integer or out of range")?;
                let seconds = u64::try_from(seconds).ok().filter(|&seconds| seconds > 0);
                let seconds = seconds.ok_or("ERR maxage should be greater than 0")?;
                self.min_age_ms = Some(seconds.saturating_mul(1000));
            }
            _ => return Err(Fault::from(SYNTAX)),
        }
        Ok(())
    }

    fn address(&mut self, word: &[u8]) -> Option<SocketAddr> {
        let address = std::str::from_utf8(word).ok().and_then(|word| word.parse().ok());
        self.is_nobody |= address.is_none();
        address
    }

    fn means(&self, client: &Client, now_ms: u64) -> bool {
        !self.is_nobody
            && self.number.is_none_or(|number| number == client.number.cast_signed())
            && self.peer.is_none_or(|peer| peer == client.peer)
            && self.local.is_none_or(|local| local == client.local)
            && self.kind.is_none_or(|kind| kind == Kind::of(client))
            && self.min_age_ms.is_none_or(|age| now_ms.saturating_sub(client.since_ms) >= age)
    }
}

fn kill(call: &mut Call) -> Handled {
    let is_old_form = call.args.len() == 2;
    let target = if is_old_form {
        let mut target = Target::default();
        target.peer = target.address(call.args.at(1));
        target
    } else {
        Target::parse(call.args.from(1))?
    };
    let services = &mut *call.services;
    let now_ms = services.tick_ms;
    let is_me = !target.spares_me && target.means(call.client, now_ms);
    let mut count = usize::from(is_me);
    for client in services.clients.iter_mut() {
        if !client.traits.has(Traits::LEAVING) && target.means(client, now_ms) {
            client.traits.set(Traits::LEAVING);
            services.kills.push((client.id, CloseReason::Killed));
            count += 1;
        }
    }
    if is_me {
        // The answer still goes out.
        call.next = Next::Close(CloseReason::Killed);
    }
    if !is_old_form {
        call.reply.count(count);
    } else if count > 0 {
        call.reply.ok();
    } else {
        return Err("ERR No such client".into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::super::token::ConnectionId;
    use super::*;

    fn client() -> Client {
        let (peer, local) = ("127.0.0.1:5".parse().unwrap(), "127.0.0.1:6".parse().unwrap());
        let mut client = Client::new(7, ConnectionId { slot: 0, generation: 0 }, peer, local);
        (client.since_ms, client.served_ms) = (1_000, 8_500);
        client
    }

    #[test]
    fn a_client_in_one_line() {
        let mut client = client();
        let line = describe(&client, 11_000);
        let start =
            "id=7 addr=127.0.0.1:5 laddr=127.0.0.1:6 fd=-1 name= age=10 idle=2 flags=N db=0";
        assert!(line.starts_with(start), "{line}");
        assert!(line.ends_with(" resp=0 lib-name= lib-ver=\n"), "{line}");
        client.traits.set(Traits::MONITOR);
        client.traits.set(Traits::QUEUEING);
        client.traits.set(Traits::NO_EVICT);
        client.transaction();
        client.names().name = "me".into();
        let line = describe(&client, 11_000);
        assert!(line.contains(" name=me ") && line.contains(" flags=Oxe "), "{line}");
        assert!(line.contains(" multi=0 ") && line.contains(" cmd=NULL "), "{line}");
    }

    #[test]
    fn who_is_meant() {
        let means = |request: &str| {
            let words = crate::parser::OwnedArgs::copy(request.split(' ').map(str::as_bytes));
            let target = Target::parse(words.args())
                .map_err(|fault| String::from_utf8_lossy(fault.line()).into_owned());
            target.map(|target| target.means(&client(), 11_000))
        };
        for request in [
            "ID 7",
            "id 7 addr 127.0.0.1:5 laddr 127.0.0.1:6 type normal user default",
            "MAXAGE 10",
        ] {
            assert_eq!(means(request), Ok(true), "{request}");
        }
        for request in ["ID 8", "ADDR 127.0.0.1:6", "ADDR nobody", "TYPE master", "MAXAGE 11"] {
            assert_eq!(means(request), Ok(false), "{request}");
        }
        for request in ["ID", "ID 7 8", "SKIPME maybe", "WHO me"] {
            assert_eq!(means(request), Err(SYNTAX.to_owned()), "{request}");
        }
        assert!(means("ID 0").unwrap_err().contains("greater than 0"));
        assert!(means("MAXAGE 0").unwrap_err().contains("greater than 0"));
        assert!(means("USER me").unwrap_err().contains("No such user 'me'"));
    }
}
