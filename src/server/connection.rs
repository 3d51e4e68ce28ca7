//! One client: its unconsumed input, its parser, its replies, and the state of its socket.
//!
//! A connection gets turns. In a turn it either executes what is left over from the turn before, or
//! reads once and executes that, in place in the shared buffer; only what it cannot consume is copied
//! out. It does not read while it can execute what is left over: that is how a client that sends faster
//! than it is served is slowed down by TCP.
//!
//! But a client may send all its requests before it takes a reply, and would wait for ever for a server
//! that waits for it. So while replies wait for the client, nothing is executed, but what it sends is
//! read on into a backlog; when that is long as well, requests are executed after all, and replies
//! pile up. What ends this is the bound on the client's output, or memory, of which the reactor decides
//! who gets it. The socket is a type parameter so that tests can script it.

use std::io::{self, ErrorKind, Read, Write};
use std::num::NonZeroU64;

use crate::engine::Seq;
use crate::parser::request::{BATCH, Batch, Item, Parser};
use crate::parser::{Protocol, SyntaxError};

use super::bounds::OutputBound;
use super::client::{Client, Traits};
use super::closing::CloseReason;
use super::dispatch::{Asker, Next, Services};
pub(crate) use super::flags::Flags;
use super::holdings::Pace;
use super::input::Input;
use super::limits::{BACKLOG_BYTES, BYTES_PER_TURN, COMMANDS_PER_TURN, OUTPUT_SOFT_BYTES};
use super::outbox::{Flushed, Outbox};
use super::token::ConnectionId;

/// A short read means that the socket is empty where readiness comes from epoll; elsewhere only
/// `WouldBlock` does.
const SHORT_READ_IS_LAST: bool = cfg!(any(target_os = "linux", target_os = "android"));

/// Why a turn ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Turn {
    /// No whole request is left.
    Drained,
    /// Requests are left for the next turn.
    Budget,
    /// Replies must leave before the next request.
    Full,
    /// The next request waits for the engine.
    Stalled,
    /// The next request waits for reads that workers do.
    Awaiting,
    /// It closes when all replies are sent.
    Closing(CloseReason),
    /// Close it now: attack or flood.
    Abort(CloseReason),
}

/// See the module.
#[derive(Debug)]
pub(crate) struct Connection<S> {
    pub(crate) socket: S,
    pub(crate) id: ConnectionId,
    pub(crate) flags: Flags,
    /// Set once it closes.
    close_reason: Option<CloseReason>,
    /// Absent until the first byte has told the protocol.
    parser: Option<Parser>,
    input: Input,
    pub(crate) outbox: Outbox,
    /// When a byte came in last, in milliseconds of the reactor's clock.
    pub(crate) input_ms: u64,
    /// When output was last taken, or began to wait; also when lingering began.
    pub(crate) output_ms: u64,
    /// The millisecond after which more output has waited than its soft bound allows.
    over_soft_ms: Option<NonZeroU64>,
    pub(crate) pace: Pace,
    /// What all clients' holdings count for this one, in bytes.
    pub(crate) counted_bytes: usize,
    /// What it held when it began to close, in bytes.
    pub(crate) closing_bytes: usize,
}

impl<S: Read + Write> Connection<S> {
    pub(crate) fn new(socket: S, id: ConnectionId, now_ms: u64) -> Self {
        Connection {
            socket,
            id,
            flags: Flags::default(),
            close_reason: None,
            parser: None,
            input: Input::default(),
            outbox: Outbox::default(),
            input_ms: now_ms,
            output_ms: now_ms,
            over_soft_ms: None,
            pace: Pace::default(),
            counted_bytes: 0,
            closing_bytes: 0,
        }
    }

    /// Takes the protocol as given, whatever the first byte will be.
    pub(crate) fn expect(&mut self, protocol: Protocol) {
        self.parser = Some(Parser::of(protocol));
    }

    /// Whether a turn would do anything now. Where memory is short, nothing more is taken from a client
    /// that does not take its replies.
    pub(crate) fn wants_turn(&self, is_short: bool) -> bool {
        if self.flags.has(Flags::LINGERING) {
            return self.flags.has(Flags::READABLE);
        }
        if self.flags.has(Flags::CLOSING.or(Flags::PARKED).or(Flags::AWAITING)) {
            return false;
        }
        if self.outbox.has_room(OUTPUT_SOFT_BYTES) {
            return self.flags.has(Flags::UNPARSED.or(Flags::READABLE));
        }
        if !self.flags.has(Flags::BLOCKED) || is_short {
            return false;
        }
        let reads_on = self.flags.has(Flags::READABLE) && self.input.len() < BACKLOG_BYTES;
        reads_on || (self.may_overfill() && self.flags.has(Flags::UNPARSED.or(Flags::READABLE)))
    }

    /// Whether a request may be executed now, so far as it depends on what waits for the client.
    fn may_execute(&self) -> bool {
        self.outbox.has_room(OUTPUT_SOFT_BYTES) || self.may_overfill()
    }

    /// Whether there is nothing to read for but replies that pile up.
    fn may_overfill(&self) -> bool {
        self.flags.has(Flags::BLOCKED)
            && self.input.len() >= BACKLOG_BYTES
            && self.outbox.may_reserve()
    }

    /// Whether a request has begun to come in and is not complete.
    pub(crate) fn has_partial(&self) -> bool {
        !self.flags.has(Flags::UNPARSED.or(Flags::CLOSING))
            && (!self.input.is_empty() || self.is_flooding())
    }

    /// Whether it sends a line without end.
    pub(crate) fn is_flooding(&self) -> bool {
        self.parser.as_ref().is_some_and(Parser::is_discarding)
    }

    /// Whether it leaves more output unread than it may.
    pub(crate) fn breaches(&mut self, bound: OutputBound, now_ms: u64) -> bool {
        let unread_bytes = self.outbox.queued_bytes();
        let is_over = |bytes| bytes > 0 && unread_bytes > bytes;
        if !is_over(bound.soft_bytes) {
            self.over_soft_ms = None;
            return is_over(bound.hard_bytes);
        }
        let since = *self.over_soft_ms.get_or_insert(NonZeroU64::MIN.saturating_add(now_ms));
        let soft_ms = bound.soft_seconds.saturating_mul(1000);
        is_over(bound.hard_bytes) || (now_ms + 1).saturating_sub(since.get()) >= soft_ms
    }

    /// For how long it has neither taken nor sent anything, in milliseconds.
    pub(crate) fn idle_ms(&self, now_ms: u64) -> u64 {
        now_ms.saturating_sub(self.input_ms.max(self.output_ms))
    }

    /// Why it closes: so far, that the client left.
    pub(crate) fn close_reason(&self) -> CloseReason {
        self.close_reason.unwrap_or(CloseReason::Ended)
    }

    /// What it has sent and nobody has consumed yet, in bytes.
    pub(crate) fn input_bytes(&self) -> usize {
        self.input.len()
    }

    /// Memory that its buffers hold, in bytes.
    pub(crate) fn buffer_bytes(&self) -> usize {
        let parsing = self.parser.as_ref().map_or(0, Parser::held_bytes);
        self.input.capacity() + self.outbox.capacity() + parsing
    }

    /// Takes a turn: see the module.
    ///
    /// # Errors
    /// The socket's, after which the connection is of no use.
    pub(crate) fn turn(
        &mut self,
        services: &mut Services<'_>,
        scratch: &mut [u8],
        now_ms: u64,
    ) -> io::Result<Turn> {
        let Some(mut client) = services.clients.take(self.id) else {
            return Ok(Turn::Abort(CloseReason::Broken));
        };
        client.served_ms = now_ms;
        let turn = self.turn_of(&mut client, services, scratch, now_ms);
        if self.flags.has(Flags::CLOSING) {
            client.traits.set(Traits::LEAVING);
        }
        services.clients.put_back(client);
        turn
    }

    fn turn_of(
        &mut self,
        client: &mut Client,
        services: &mut Services<'_>,
        scratch: &mut [u8],
        now_ms: u64,
    ) -> io::Result<Turn> {
        let is_left = self.flags.has(Flags::UNPARSED);
        if is_left && self.may_execute() {
            return Ok(self.execute_input(client, services));
        }
        if !self.flags.has(Flags::READABLE) {
            return Ok(Turn::Drained);
        }
        let Some(count) = self.read(scratch)? else { return Ok(Turn::Drained) };
        if count == 0 && is_left {
            self.flags.set(Flags::ENDS);
            self.flags.clear(Flags::READABLE);
            return Ok(Turn::Full);
        }
        if count == 0 {
            return Ok(self.end_of_input(client, services));
        }
        services.stats.reads += 1;
        services.stats.read_bytes += count as u64;
        self.input_ms = now_ms;
        self.pace.count(count, now_ms);
        if !is_left && self.may_execute() {
            return Ok(self.execute_read(&scratch[..count], client, services));
        }
        self.input.append_backlog(&scratch[..count]);
        self.flags.set(Flags::UNPARSED);
        Ok(Turn::Full)
    }

    /// Reads once. `None`: nothing there. Zero: the end.
    fn read(&mut self, scratch: &mut [u8]) -> io::Result<Option<usize>> {
        loop {
            match self.socket.read(scratch) {
                Ok(count) => {
                    let short = count < scratch.len() && !self.flags.has(Flags::READ_CLOSED);
                    if count > 0 && short && SHORT_READ_IS_LAST {
                        self.flags.clear(Flags::READABLE);
                    }
                    return Ok(Some(count));
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.flags.clear(Flags::READABLE);
                    return Ok(None);
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    fn execute_read(
        &mut self,
        bytes: &[u8],
        client: &mut Client,
        services: &mut Services<'_>,
    ) -> Turn {
        if !self.input.is_empty() {
            self.input.append(bytes);
            return self.execute_input(client, services);
        }
        let (used, turn) = self.execute(bytes, client, services);
        if used < bytes.len() {
            self.input.append(&bytes[used..]);
        }
        self.end_turn(turn)
    }

    fn execute_input(&mut self, client: &mut Client, services: &mut Services<'_>) -> Turn {
        let mut input = std::mem::take(&mut self.input);
        if input.front().is_empty() {
            input.advance();
        }
        let (used, mut turn) = self.execute(input.front(), client, services);
        input.consume(used);
        if turn == Turn::Drained && input.advance() {
            turn = Turn::Budget;
        }
        self.input = input;
        self.end_turn(turn)
    }

    fn end_turn(&mut self, turn: Turn) -> Turn {
        self.outbox.close_mark();
        let left = !self.input.is_empty();
        match turn {
            Turn::Budget | Turn::Full | Turn::Stalled | Turn::Awaiting if left => {
                self.flags.set(Flags::UNPARSED)
            }
            _ => self.flags.clear(Flags::UNPARSED),
        };
        if !self.flags.has(Flags::UNPARSED) && self.flags.clear(Flags::ENDS) {
            self.flags.set(Flags::READABLE);
        }
        match turn {
            Turn::Stalled => _ = self.flags.set(Flags::PARKED),
            Turn::Awaiting => _ = self.flags.set(Flags::AWAITING),
            Turn::Closing(reason) | Turn::Abort(reason) => self.start_closing(reason),
            _ => {}
        }
        turn
    }

    /// Executes nothing further; closes once all replies are sent.
    pub(crate) fn start_closing(&mut self, reason: CloseReason) {
        if self.close_reason.is_none() {
            self.closing_bytes = self.buffer_bytes();
        }
        // The first reason is the right one, unless the client has to be thrown out in the end.
        if self.close_reason.is_none() || reason.warning().is_some() {
            self.close_reason = Some(reason);
        }
        self.flags.set(Flags::CLOSING);
        self.flags.clear(Flags::UNPARSED.or(Flags::PARKED).or(Flags::AWAITING));
        self.input.clear();
    }

    /// Executes requests from the front of `bytes`. Returns how many bytes are done with.
    fn execute(
        &mut self,
        bytes: &[u8],
        client: &mut Client,
        services: &mut Services<'_>,
    ) -> (usize, Turn) {
        let Some(&first) = bytes.first() else { return (0, Turn::Drained) };
        if self.parser.is_none() {
            client.protocol = Protocol::detect(first);
            self.expect(client.protocol);
        }
        // Where replies pile up already, they may grow by as much at a time.
        let mut most_bytes = OUTPUT_SOFT_BYTES;
        if !self.outbox.has_room(most_bytes) {
            most_bytes += self.outbox.expected_bytes();
        }
        let mut batch = std::mem::take(&mut services.batch);
        services.turn_bytes = 0;
        let mut used = 0;
        let mut turn = Turn::Budget;
        for _ in 0..COMMANDS_PER_TURN / BATCH {
            let rest = &bytes[used..];
            let (count, end) = self.execute_batch(rest, &mut batch, most_bytes, client, services);
            used += count;
            if let Some(end) = end {
                turn = end;
                break;
            }
        }
        services.batch = batch;
        if matches!(turn, Turn::Closing(_) | Turn::Abort(_)) {
            used = bytes.len();
        }
        (used, turn)
    }

    /// Parses and executes a few requests. Returns how many bytes are done with, and why there are no
    /// more if there are none.
    fn execute_batch(
        &mut self,
        bytes: &[u8],
        batch: &mut Batch,
        most_bytes: usize,
        client: &mut Client,
        services: &mut Services<'_>,
    ) -> (usize, Option<Turn>) {
        let limits = Services::limits(client);
        let Some(parser) = self.parser.as_mut() else { return (0, Some(Turn::Drained)) };
        batch.parse(parser, bytes, &limits);
        services.prefetch(batch, bytes, client.db());
        let mut asker = Asker { client, outbox: &mut self.outbox };
        let mut used = 0;
        for item in batch.items() {
            if !matches!(item, Item::Partial) && !asker.outbox.has_room(most_bytes) {
                parser.forget();
                return (used, Some(Turn::Full));
            }
            let next = match item {
                Item::Partial => return (used, Some(Turn::Drained)),
                Item::Nothing { .. } => {
                    asker.client.skip_nothing();
                    Next::Continue
                }
                Item::Line { command, words, .. } => {
                    services.execute(command, batch.words(words, bytes), &mut asker)
                }
                Item::Array { words, .. } => {
                    services.execute_words(batch.words(words, bytes), &mut asker)
                }
                Item::Invalid { error: SyntaxError::LineTooLong { .. }, .. }
                    if limits.is_stranger && asker.client.traits.has(Traits::AUTHENTICATED) =>
                {
                    parser.forget();
                    return (used, None);
                }
                Item::Invalid { error, .. } => {
                    services.refuse_line(error, &mut asker);
                    Next::Continue
                }
                Item::Broken { .. }
                    if limits.is_stranger && asker.client.traits.has(Traits::AUTHENTICATED) =>
                {
                    // It was parsed before the client gave its password.
                    parser.forget();
                    return (used, None);
                }
                Item::Broken { error } => {
                    services.stats.count_broken(error);
                    services.refuse_bytes(error, &mut asker);
                    return (used, Some(Turn::Closing(CloseReason::Protocol)));
                }
                Item::Attack => {
                    services.stats.attacks += 1;
                    return (used, Some(Turn::Abort(CloseReason::Http)));
                }
                Item::Flood => {
                    services.stats.query_limit_closed += 1;
                    return (used, Some(Turn::Abort(CloseReason::EndlessLine)));
                }
            };
            match next {
                Next::Continue => {
                    used += item.consumed();
                    if services.turn_bytes > BYTES_PER_TURN {
                        // Others come first: what is behind it is parsed in the next turn.
                        parser.forget();
                        return (used, Some(Turn::Budget));
                    }
                }
                Next::Close(reason) => return (used, Some(Turn::Closing(reason))),
                Next::Later | Next::Await => {
                    parser.forget();
                    let turn = if next == Next::Await { Turn::Awaiting } else { Turn::Stalled };
                    return (used, Some(turn));
                }
            }
        }
        (used, None)
    }

    /// The client sends no more. A request that it left unfinished is not executed: half a SET would
    /// store half a value.
    fn end_of_input(&mut self, client: &mut Client, services: &mut Services<'_>) -> Turn {
        if self.has_partial() {
            let line = "ERR the connection ended inside a request, which was not executed";
            services.reply_error(&mut Asker { client, outbox: &mut self.outbox }, line);
        }
        self.flags.set(Flags::ENDED);
        self.flags.clear(Flags::READABLE);
        self.end_turn(Turn::Closing(CloseReason::Ended))
    }

    /// Adds an error that is no answer to a request, and closes.
    pub(crate) fn refuse(&mut self, services: &mut Services<'_>, line: &str, reason: CloseReason) {
        if let Some(mut client) = services.clients.take(self.id) {
            let mut asker = Asker { client: &mut client, outbox: &mut self.outbox };
            services.reply_error(&mut asker, line);
            services.clients.put_back(client);
        }
        self.start_closing(reason);
    }

    /// The log failed: what waits for the frontier never leaves.
    pub(crate) fn fail(&mut self, services: &mut Services<'_>, line: &str) {
        self.outbox.drop_unreleased();
        self.refuse(services, line, CloseReason::LogFailed);
    }

    /// Lets go what the frontier has reached. Returns whether there is something to write.
    pub(crate) fn release(&mut self, durable: Seq) -> bool {
        self.outbox.release(durable)
    }

    /// Writes what it may.
    pub(crate) fn flush(&mut self, now_ms: u64) -> io::Result<Flushed> {
        let flushed = self.outbox.flush(&mut self.socket)?;
        let (Flushed::All(count) | Flushed::Budget(count) | Flushed::Blocked(count)) = flushed;
        if count > 0 || !self.flags.has(Flags::BLOCKED) {
            self.output_ms = now_ms;
        }
        self.pace.count(count, now_ms);
        Ok(flushed)
    }

    /// Throws away what the client still sends. Returns whether it has ended.
    pub(crate) fn discard(&mut self, scratch: &mut [u8]) -> bool {
        matches!(self.read(scratch), Ok(Some(0)) | Err(_))
    }
}

#[cfg(test)]
mod tests;
