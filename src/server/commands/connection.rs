//! Commands on one connection: who the client is, what it speaks, which database it uses.

use crate::parser::error::wrong_arity;
use crate::parser::{Args, Protocol, Verb};

use super::super::client::Traits;
use super::super::closing::CloseReason;
use super::super::dispatch::Next;
use super::super::interrupt::{Fault, NOT_AN_INTEGER, SYNTAX};
use super::super::limits::CLIENT_NAME_BYTES;
use super::super::values::integer;
use super::{Call, Handled, forget_subscriptions, forget_transaction};

pub(super) fn handle(call: &mut Call) -> Handled {
    match call.command.verb {
        Verb::Ping => ping(call),
        Verb::Echo => {
            call.reply.bulk(call.args.at(0));
            Ok(())
        }
        Verb::Quit => {
            // The socket may stay for a while, until its end is read; messages are not for it any more.
            forget_subscriptions(call.client, &mut call.services.pubsub);
            call.next = Next::Close(CloseReason::Quit);
            call.reply.ok();
            Ok(())
        }
        Verb::Select => select(call),
        Verb::Auth => auth(call),
        Verb::Hello => hello(call),
        Verb::Reset => {
            reset(call);
            Ok(())
        }
        _ => super::client::handle(call),
    }
}

fn ping(call: &mut Call) -> Handled {
    if call.args.len() > 1 {
        return Err(wrong_arity(call.command).into());
    }
    let listens_only =
        call.client.traits.has(Traits::SUBSCRIBED) && call.client.protocol == Protocol::Resp2;
    if listens_only {
        call.reply.array(2);
        call.reply.bulk(b"pong");
        call.reply.bulk(call.args.at(0));
    } else if let Some(word) = call.args.get(0) {
        call.reply.bulk(word);
    } else {
        call.reply.simple("PONG");
    }
    Ok(())
}

fn select(call: &mut Call) -> Handled {
    let Some(db) = integer::parse(call.args.at(0)) else {
        return Err(NOT_AN_INTEGER.into());
    };
    if i32::try_from(db).is_err() {
        let line = "ERR value is out of range, value must between -2147483648 and 2147483647";
        return Err(line.into());
    }
    call.client.db = database(db, call.services.keyspace.databases())?;
    call.reply.ok();
    Ok(())
}

/// The database with this number.
///
/// # Errors
/// There is none.
pub(super) fn database(number: i64, databases: usize) -> Result<u8, Fault> {
    let is_one = usize::try_from(number).is_ok_and(|number| number < databases);
    let number = u8::try_from(number).ok().filter(|_| is_one);
    number.ok_or_else(|| Fault::from("ERR DB index is out of range"))
}

fn auth(call: &mut Call) -> Handled {
    let (user, password) = match call.args.len() {
        1 => (&b"default"[..], call.args.at(0)),
        2 => (call.args.at(0), call.args.at(1)),
        _ => return Err(SYNTAX.into()),
    };
    if call.args.len() == 1 && call.services.runtime.password.is_none() {
        return Err("ERR AUTH <password> called without any password configured for the default user. Are you sure your configuration is correct?".into());
    }
    authenticate(call, user, password)?;
    call.reply.ok();
    Ok(())
}

fn authenticate(call: &mut Call, user: &[u8], password: &[u8]) -> Result<(), Fault> {
    let is_right = match &call.services.runtime.password {
        _ if user != b"default" => false,
        // As in Redis: without a password every one is right.
        None => true,
        Some(right) => is_equal(right.as_bytes(), password),
    };
    if !is_right {
        let line = "WRONGPASS invalid username-password pair or user is disabled.";
        return Err(Fault::from(line));
    }
    call.client.traits.set(Traits::AUTHENTICATED);
    Ok(())
}

/// Compares in a time that does not tell where the difference is.
fn is_equal(one: &[u8], other: &[u8]) -> bool {
    let differences = one.iter().zip(other).fold(0, |sum, (a, b)| sum | (a ^ b));
    one.len() == other.len() && differences == 0
}

/// The protocol that HELLO asks for.
fn hello_protocol(args: Args<'_>) -> Result<Option<Protocol>, Fault> {
    let Some(version) = args.get(0) else { return Ok(None) };
    match integer::parse(version) {
        Some(2) => Ok(Some(Protocol::Resp2)),
        Some(3) => Ok(Some(Protocol::Resp3)),
        Some(_) => Err(Fault::from("NOPROTO unsupported protocol version")),
        None => Err(Fault::from("ERR Protocol version is not an integer or out of range")),
    }
}

/// Carries out HELLO's options one by one: those before a wrong one are in force, as in Redis.
fn hello_options(call: &mut Call) -> Result<(), Fault> {
    let args = call.args;
    let mut at = 1;
    while let Some(option) = args.get(at) {
        let left = args.len() - at - 1;
        if option.eq_ignore_ascii_case(b"AUTH") && left >= 2 {
            authenticate(call, args.at(at + 1), args.at(at + 2))?;
            at += 3;
        } else if option.eq_ignore_ascii_case(b"SETNAME") && left >= 1 {
            call.client.names().name = client_name(args.at(at + 1))?;
            at += 2;
        } else {
            return Err(Fault::repeating("ERR Syntax error in HELLO option '", option, "'"));
        }
    }
    Ok(())
}

fn hello(call: &mut Call) -> Handled {
    let protocol = hello_protocol(call.args)?;
    hello_options(call)?;
    if !call.client.traits.has(Traits::AUTHENTICATED) {
        return Err("NOAUTH HELLO must be called with the client already authenticated, otherwise the HELLO AUTH <user> <pass> option can be used to authenticate the client and select the RESP protocol version at the same time".into());
    }
    if let Some(protocol) = protocol {
        call.client.protocol = protocol;
        call.reply.set_protocol(protocol);
    }
    let version = if call.client.protocol == Protocol::Resp3 { 3 } else { 2 };
    call.reply.map(7);
    for (field, value) in [
        ("server", super::super::info::SERVER_NAME),
        ("version", super::super::info::REDIS_VERSION),
    ] {
        call.reply.bulk(field.as_bytes());
        call.reply.bulk(value.as_bytes());
    }
    call.reply.bulk(b"proto");
    call.reply.integer(version);
    call.reply.bulk(b"id");
    call.reply.integer(call.client.number.cast_signed());
    for (field, value) in [("mode", "standalone"), ("role", "master")] {
        call.reply.bulk(field.as_bytes());
        call.reply.bulk(value.as_bytes());
    }
    call.reply.bulk(b"modules");
    call.reply.array(0);
    Ok(())
}

/// A name that a client may give itself.
///
/// # Errors
/// It is too long, or has bytes that would break CLIENT LIST.
pub(super) fn client_name(name: &[u8]) -> Result<String, Fault> {
    if !name.iter().all(u8::is_ascii_graphic) {
        let line = "ERR Client names cannot contain spaces, newlines or special characters.";
        return Err(Fault::from(line));
    }
    if name.len() > CLIENT_NAME_BYTES {
        let bytes = name.len();
        let line =
            format!("ERR the name has {bytes} bytes, at most {CLIENT_NAME_BYTES} are allowed");
        return Err(line.into());
    }
    Ok(String::from_utf8_lossy(name).into_owned())
}

fn reset(call: &mut Call) {
    let services = &mut *call.services;
    forget_transaction(call.client, &mut services.keyspace);
    forget_subscriptions(call.client, &mut services.pubsub);
    services.monitors.retain(|&id| id != call.client.id);
    let is_open = services.runtime.password.is_none();
    // As in Redis, one that is to be skipped is not answered for all that.
    let is_skipped = call.client.traits.has(Traits::SKIP_THIS);
    call.client.traits = Traits::default();
    call.client.traits.put(Traits::SKIP_THIS, is_skipped);
    call.client.traits.put(Traits::AUTHENTICATED, is_open);
    call.client.db = 0;
    if let Some(names) = call.client.names.as_mut() {
        names.name = String::new();
    }
    if call.client.protocol == Protocol::Resp3 {
        call.client.protocol = Protocol::Resp2;
        call.reply.set_protocol(Protocol::Resp2);
    }
    call.reply.simple("RESET");
}
