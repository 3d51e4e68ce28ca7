//! Judges what a restarted server holds against the journals of its clients.
//!
//! A client's steps must survive as a prefix: there is a number P, at least the count of those that
//! were acknowledged or shown, such that its own keys hold exactly what its first P steps leave.
//! What a hot key holds must come from a step that nothing supersedes: no step that certainly
//! happened may have been sent after this one was certainly done, and no read that was sent after
//! that may have shown anything else.

use std::net::SocketAddr;

use super::commands::{own_database, own_name};
use super::journal::{CLIENTS, Content, FIRST_APART, HOT_KEYS, Journal, OWN_KEYS, Own, Shown};
use super::journal::{Step, Tag};
use super::load::{hot_name, hot_tag};
use crate::campaign::wire::{Broken, Protocol, Reply, Wire, show};

#[cfg(test)]
mod tests;

/// How many differences or reasons a message names.
const NAMED: usize = 5;

/// What the server must hold.
#[derive(Debug, Clone)]
pub(super) struct Oracle {
    /// By client and number.
    pub(super) own: Vec<Own>,
    pub(super) hot: Vec<Option<Tag>>,
    /// The last serial that each client used.
    pub(super) serials: Vec<u64>,
}

impl Default for Oracle {
    fn default() -> Self {
        Oracle {
            own: vec![vec![None; OWN_KEYS]; CLIENTS],
            hot: vec![None; HOT_KEYS],
            serials: vec![0; CLIENTS],
        }
    }
}

impl Oracle {
    /// Reads everything from a server and judges it; from then on that is what it must hold.
    pub(super) fn check(
        &mut self,
        journals: &[Journal],
        address: SocketAddr,
    ) -> Result<(), String> {
        let (own, hot) = read_all(address)?;
        self.judge(journals, own, hot)
    }

    fn judge(
        &mut self,
        journals: &[Journal],
        own: Vec<Own>,
        hot: Vec<Option<Tag>>,
    ) -> Result<(), String> {
        let mut survived = Vec::new();
        for (client, journal) in journals.iter().enumerate() {
            let least = journal.acked.len().max(most_shown(client, journals));
            let counts = prefixes(&self.own[client], journal, least, &own[client]);
            let fits = |count: &usize| {
                hot.iter().enumerate().all(|(key, tag)| allows(journal, client, key, *tag, *count))
            };
            let fitting = counts.iter().copied().filter(fits);
            let range = fitting.fold(None, |range: Option<Survived>, count| {
                Some(Survived { least: range.map_or(count, |range| range.least), most: count })
            });
            survived.push(range.ok_or_else(|| {
                let found = differences(&self.own[client], journal, least, &own[client]);
                format!(
                    "client {client}: {} steps sent, {least} acknowledged or shown, and no prefix \
                     explains what is there ({counts:?} by its own keys); {found}",
                    journal.steps.len()
                )
            })?);
        }
        for (key, &tag) in hot.iter().enumerate() {
            let case = HotKey { key, base: self.hot[key], journals, survived: &survived };
            case.judge(tag)?;
        }
        for (serial, journal) in self.serials.iter_mut().zip(journals) {
            *serial = journal.steps.last().map_or(*serial, |step| step.tag.serial);
        }
        (self.own, self.hot) = (own, hot);
        Ok(())
    }
}

/// Reads every key.
fn read_all(address: SocketAddr) -> Result<(Vec<Own>, Vec<Option<Tag>>), String> {
    let mut wire = Wire::connect(address, Protocol::Resp)?;
    let mut request = Vec::new();
    let mut ask = |words: &[&str]| {
        let words: Vec<&[u8]> = words.iter().map(|word| word.as_bytes()).collect();
        Protocol::Resp.request(&mut request, &words);
    };
    for client in 0..CLIENTS {
        for key in 0..OWN_KEYS {
            if key == FIRST_APART {
                ask(&["SELECT", &own_database(client)]);
            }
            let name = own_name(client, key);
            ask(&["GET", &name]);
            ask(&["PEXPIRETIME", &name]);
        }
        ask(&["SELECT", "0"]);
    }
    (0..HOT_KEYS).for_each(|key| ask(&["GET", &hot_name(key)]));
    let mut read = || -> Result<_, Broken> {
        wire.send(&request)?;
        let mut all = Vec::new();
        for _ in 0..CLIENTS {
            let mut own = Vec::new();
            for key in 0..OWN_KEYS {
                if key == FIRST_APART {
                    wire.expect(b"+OK\r\n")?;
                }
                own.push(content(wire.reply()?, &wire.reply()?)?);
            }
            wire.expect(b"+OK\r\n")?;
            all.push(own);
        }
        let mut hot = Vec::new();
        for _ in 0..HOT_KEYS {
            hot.push(hot_tag(wire.reply()?).map_err(Broken::Wrong)?);
        }
        Ok((all, hot))
    };
    read().map_err(|broken| format!("after the restart: {}", broken.describe()))
}

/// What a key holds, by the answers to GET and PEXPIRETIME.
fn content(value: Reply, expiry: &Reply) -> Result<Option<Content>, Broken> {
    match (value, expiry) {
        (Reply::Null, Reply::Number(-2)) => Ok(None),
        (Reply::Bytes(bytes), Reply::Number(at)) if *at >= -1 => {
            Ok(Some(Content { bytes: bytes.into(), expires_ms: u64::try_from(*at).ok() }))
        }
        other => Err(Broken::Wrong(format!("a key is read as {other:?}"))),
    }
}

/// How many of a client's steps must have happened, because a read showed the last of them.
fn most_shown(client: usize, journals: &[Journal]) -> usize {
    let Some(first) = journals[client].steps.first() else { return 0 };
    let tags = journals.iter().flat_map(|journal| &journal.shown).filter_map(|shown| shown.tag);
    let serials = tags.filter(|tag| tag.client == client).map(|tag| tag.serial);
    serials.map(|serial| (serial + 1).saturating_sub(first.tag.serial) as usize).max().unwrap_or(0)
}

/// Every count of first steps, from `least` on, that leaves what was found on the own keys.
fn prefixes(
    base: &[Option<Content>],
    journal: &Journal,
    least: usize,
    found: &[Option<Content>],
) -> Vec<usize> {
    let mut state = base.to_vec();
    let mut differing = (0..state.len()).filter(|&key| state[key] != found[key]).count();
    let mut counts = Vec::new();
    for count in 0..=journal.steps.len() {
        if count >= least && differing == 0 {
            counts.push(count);
        }
        for (key, content) in journal.steps.get(count).iter().flat_map(|step| &step.own) {
            differing -= usize::from(state[*key] != found[*key]);
            state[*key].clone_from(content);
            differing += usize::from(state[*key] != found[*key]);
        }
    }
    counts
}

/// What differs from the least that must be there, for the message.
fn differences(
    base: &[Option<Content>],
    journal: &Journal,
    least: usize,
    found: &[Option<Content>],
) -> String {
    let mut state = base.to_vec();
    for (key, content) in journal.steps.iter().take(least).flat_map(|step| &step.own) {
        state[*key].clone_from(content);
    }
    let differ = (0..state.len()).filter(|&key| state[key] != found[key]);
    let differ = differ.map(|key| {
        let (found, least) = (describe(found[key].as_ref()), describe(state[key].as_ref()));
        format!("key{key}: {found}, not {least} or later")
    });
    differ.take(NAMED).collect::<Vec<_>>().join("; ")
}

fn describe(content: Option<&Content>) -> String {
    let Some(content) = content else { return "nothing".to_owned() };
    let expiry = content.expires_ms.map_or(String::new(), |at| format!(" until {at}"));
    format!("{}{expiry}", show(&content.bytes))
}

/// Whether the first `count` steps of a client, and no more, can have led to `tag` on a hot key.
fn allows(journal: &Journal, client: usize, key: usize, tag: Option<Tag>, count: usize) -> bool {
    let Some(tag) = tag.filter(|tag| tag.client == client) else { return true };
    let last = journal.steps[..count].iter().rfind(|step| step.is_on(key));
    // A tag of an earlier round is no business of this round's steps: see `HotKey`.
    let of_this_round = journal.steps.first().is_some_and(|step| step.tag.serial <= tag.serial);
    !of_this_round || last.is_some_and(|step| step.result() == Some(tag))
}

/// A hot key and all that is known about it.
struct HotKey<'a> {
    key: usize,
    /// What it held before the round.
    base: Option<Tag>,
    journals: &'a [Journal],
    /// By client.
    survived: &'a [Survived],
}

/// How many of a client's steps may have survived: trailing ones need not show.
#[derive(Debug, Clone, Copy)]
struct Survived {
    least: usize,
    most: usize,
}

/// Something after which a key holds what it holds.
struct Event {
    /// Whose, and which; none for the state before the round.
    tag: Option<Tag>,
    result: Option<Tag>,
    /// When it was certainly done.
    done: u64,
}

impl HotKey<'_> {
    fn judge(&self, found: Option<Tag>) -> Result<(), String> {
        let mut reasons = Vec::new();
        for event in self.events().filter(|event| event.result == found) {
            match self.superseded(&event) {
                None => return Ok(()),
                Some(reason) => reasons.push(reason),
            }
        }
        reasons.truncate(NAMED);
        let name = hot_name(self.key);
        Err(format!("{name}: {found:?} is there, but superseded or never written: {reasons:?}"))
    }

    /// The steps that write this key, with their place in their journal.
    fn writes(&self) -> impl Iterator<Item = (&Journal, usize, &Step)> {
        self.journals
            .iter()
            .flat_map(|journal| {
                let numbered = journal.steps.iter().enumerate();
                numbered.map(move |(index, step)| (journal, index, step))
            })
            .filter(|(_, _, step)| step.is_on(self.key))
    }

    fn shown(&self) -> impl Iterator<Item = &Shown> {
        let all = self.journals.iter().flat_map(|journal| &journal.shown);
        all.filter(|shown| shown.key == self.key)
    }

    fn events(&self) -> impl Iterator<Item = Event> {
        let before = Event { tag: None, result: self.base, done: 0 };
        let survived =
            self.writes().filter(|(_, index, step)| *index < self.survived[step.tag.client].most);
        std::iter::once(before).chain(survived.map(|(journal, index, step)| {
            let result = step.result();
            let acked = journal.acked.get(index).copied();
            let seen = self.shown().filter(|shown| result.is_some() && shown.tag == result);
            let done = seen.map(|shown| shown.done).chain(acked).min().unwrap_or(u64::MAX);
            Event { tag: Some(step.tag), result, done }
        }))
    }

    /// What certainly came after `event`.
    fn superseded(&self, event: &Event) -> Option<String> {
        let is_later = |(_, index, step): &(&Journal, usize, &Step)| {
            let same = event.tag.is_some_and(|tag| tag.client == step.tag.client);
            let follows = same && event.tag.is_some_and(|tag| tag.serial < step.tag.serial);
            let survived = *index < self.survived[step.tag.client].least;
            survived && (follows || step.sent > event.done)
        };
        if let Some((_, _, step)) = self.writes().find(is_later) {
            let (tag, sent, result) = (step.tag, step.sent, step.result());
            return Some(format!("{tag:?}, sent at {sent}, left {result:?} after {:?}", event.tag));
        }
        let contradicts = |shown: &&Shown| shown.sent > event.done && shown.tag != event.result;
        self.shown().find(contradicts).map(|shown| format!("{shown:?} came after {:?}", event.tag))
    }
}
