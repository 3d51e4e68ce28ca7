//! Judges what a restarted server holds against the journals of its clients.
//!
//! A client's writes must survive as a prefix: there is a number P, at least the count of those that
//! were acknowledged or shown, such that its own keys hold exactly what its first P writes leave.
//! What a hot key holds must be a write that nothing supersedes: no write that certainly happened may
//! have been sent after this one was certainly done, and no read that was sent after that may have
//! shown anything else.

use std::io::{BufReader, Write as _};
use std::net::{SocketAddr, TcpStream};

use crate::client::PATIENCE;
use crate::load::{CLIENTS, HOT_KEYS, Journal, Key, OWN_KEYS, Tag, Write, next_line};

/// What the server must hold.
#[derive(Debug, Clone)]
pub(crate) struct Oracle {
    /// By client and number.
    pub(crate) own: Vec<Vec<Option<Tag>>>,
    pub(crate) hot: Vec<Option<Tag>>,
    /// The last serial that each client used.
    pub(crate) serials: Vec<u64>,
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
    pub(crate) fn check(
        &mut self,
        journals: &[Journal],
        address: SocketAddr,
    ) -> Result<(), String> {
        let (own, hot) = read_all(address);
        self.judge(journals, own, hot)
    }

    fn judge(
        &mut self,
        journals: &[Journal],
        own: Vec<Vec<Option<Tag>>>,
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
                    "client {client}: {} writes sent, {least} acknowledged or shown, and no prefix \
                     explains what is there ({counts:?} by its own keys); {found}",
                    journal.writes.len()
                )
            })?);
        }
        for (key, &tag) in hot.iter().enumerate() {
            let case = HotKey { key, base: self.hot[key], journals, survived: &survived };
            case.judge(tag)?;
        }
        for (serial, journal) in self.serials.iter_mut().zip(journals) {
            *serial = journal.writes.last().map_or(*serial, |write| write.tag.serial);
        }
        (self.own, self.hot) = (own, hot);
        Ok(())
    }
}

/// Reads every key.
fn read_all(address: SocketAddr) -> (Vec<Vec<Option<Tag>>>, Vec<Option<Tag>>) {
    let mut socket = TcpStream::connect(address).unwrap();
    socket.set_nodelay(true).unwrap();
    socket.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut replies = BufReader::with_capacity(64 << 10, socket.try_clone().unwrap());
    let mut line = Vec::new();
    let mut read = |key: Key, client: usize| {
        socket.write_all(format!("GET {}\n", key.name(client)).as_bytes()).unwrap();
        assert!(next_line(&mut replies, &mut line), "the restarted server is gone");
        Tag::of(&line)
    };
    let mut own = |client| (0..OWN_KEYS).map(|key| read(Key::Own(key), client)).collect();
    let own = (0..CLIENTS).map(&mut own).collect();
    (own, (0..HOT_KEYS).map(|key| read(Key::Hot(key), 0)).collect())
}

/// How many of a client's writes must have happened, because a read showed the last of them.
fn most_shown(client: usize, journals: &[Journal]) -> usize {
    let Some(first) = journals[client].writes.first() else { return 0 };
    let tags = journals.iter().flat_map(|journal| &journal.shown).filter_map(|shown| shown.tag);
    let serials = tags.filter(|tag| tag.client == client).map(|tag| tag.serial);
    serials.map(|serial| (serial + 1).saturating_sub(first.tag.serial) as usize).max().unwrap_or(0)
}

/// Every count of first writes, from `least` on, that leaves what was found on the own keys.
fn prefixes(
    base: &[Option<Tag>],
    journal: &Journal,
    least: usize,
    found: &[Option<Tag>],
) -> Vec<usize> {
    let mut state = base.to_vec();
    let mut counts = Vec::new();
    for count in 0..=journal.writes.len() {
        if count >= least && state == found {
            counts.push(count);
        }
        apply(&mut state, journal.writes.get(count));
    }
    counts
}

fn apply(state: &mut [Option<Tag>], write: Option<&Write>) {
    if let Some(write) = write
        && let Key::Own(key) = write.key
    {
        state[key] = write.result();
    }
}

/// What differs from the least that must be there, for the message.
fn differences(
    base: &[Option<Tag>],
    journal: &Journal,
    least: usize,
    found: &[Option<Tag>],
) -> String {
    let mut state = base.to_vec();
    journal.writes[..least].iter().for_each(|write| apply(&mut state, Some(write)));
    let differ = (0..state.len()).filter(|&key| state[key] != found[key]);
    let differ = differ.map(|key| format!("key{key}: {:?}, not {:?}", found[key], state[key]));
    differ.collect::<Vec<_>>().join("; ")
}

/// Whether the first `count` writes of a client, and no more, can have led to `tag` on a hot key.
fn allows(journal: &Journal, client: usize, key: usize, tag: Option<Tag>, count: usize) -> bool {
    let Some(tag) = tag.filter(|tag| tag.client == client) else { return true };
    let on_key = |write: &&Write| write.key == Key::Hot(key);
    let last = journal.writes[..count].iter().rfind(on_key);
    // A tag of an earlier round is no business of this round's writes: see `HotKey`.
    let of_this_round = journal.writes.first().is_some_and(|write| write.tag.serial <= tag.serial);
    !of_this_round || last.is_some_and(|write| write.result() == Some(tag))
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

/// How many of a client's writes may have survived: trailing ones need not show.
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
        reasons.truncate(5);
        let name = Key::Hot(self.key).name(0);
        Err(format!("{name}: {found:?} is there, but superseded or never written: {reasons:?}"))
    }

    /// The writes to this key, with their place in their journal.
    fn writes(&self) -> impl Iterator<Item = (&Journal, usize, &Write)> {
        self.journals
            .iter()
            .flat_map(|journal| {
                let numbered = journal.writes.iter().enumerate();
                numbered.map(move |(index, write)| (journal, index, write))
            })
            .filter(|(_, _, write)| write.key == Key::Hot(self.key))
    }

    fn shown(&self) -> impl Iterator<Item = &crate::load::Shown> {
        let all = self.journals.iter().flat_map(|journal| &journal.shown);
        all.filter(|shown| shown.key == self.key)
    }

    fn events(&self) -> impl Iterator<Item = Event> {
        let before = Event { tag: None, result: self.base, done: 0 };
        let survived =
            self.writes().filter(|(_, index, write)| *index < self.survived[write.tag.client].most);
        std::iter::once(before).chain(survived.map(|(journal, index, write)| {
            let acked = journal.acked.get(index).copied();
            let seen = self.shown().filter(|shown| !write.deletes && shown.tag == write.result());
            let done = seen.map(|shown| shown.done).chain(acked).min().unwrap_or(u64::MAX);
            Event { tag: Some(write.tag), result: write.result(), done }
        }))
    }

    /// What certainly came after `event`.
    fn superseded(&self, event: &Event) -> Option<String> {
        let later = |(_, index, write): &(&Journal, usize, &Write)| {
            let same = event.tag.is_some_and(|tag| tag.client == write.tag.client);
            let follows = same && event.tag.is_some_and(|tag| tag.serial < write.tag.serial);
            let survived = *index < self.survived[write.tag.client].least;
            survived && (follows || write.sent > event.done)
        };
        if let Some((_, _, write)) = self.writes().find(later) {
            return Some(format!("{:?} came after {:?}", write, event.tag));
        }
        let contradicts =
            |shown: &&crate::load::Shown| shown.sent > event.done && shown.tag != event.result;
        self.shown().find(contradicts).map(|shown| format!("{shown:?} came after {:?}", event.tag))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::Shown;

    /// Client 0 writes, in order; `-key` deletes, `hN` is a hot key. Sent at 10, 20, ...
    fn journal(writes: &str, acked: usize) -> Journal {
        let parse = |(n, word): (usize, &str)| {
            let (deletes, word) = (word.starts_with('-'), word.trim_start_matches('-'));
            let hot = word.strip_prefix('h').map(|number| Key::Hot(number.parse().unwrap()));
            Write {
                key: hot.unwrap_or_else(|| Key::Own(word.parse().unwrap())),
                tag: Tag { client: 0, serial: n as u64 + 1 },
                deletes,
                sent: 10 * (n as u64 + 1),
            }
        };
        let acked = (0..acked as u64).map(|n| 10 * (n + 1) + 5).collect();
        let writes = writes.split_whitespace().enumerate().map(parse).collect();
        Journal { writes, acked, shown: Vec::new() }
    }

    fn tag(serial: u64) -> Option<Tag> {
        (serial > 0).then_some(Tag { client: 0, serial })
    }

    /// Judges what is on the own keys 0 to 2 and the hot keys 0 and 1, by serial, 0 for nothing.
    fn judge(journals: Vec<Journal>, own: [u64; 3], hot: [u64; 2]) -> Result<(), String> {
        let mut journals = journals;
        journals.resize_with(CLIENTS, Journal::default);
        let mut found = Oracle::default();
        own.iter().enumerate().for_each(|(key, serial)| found.own[0][key] = tag(*serial));
        hot.iter().enumerate().for_each(|(key, serial)| found.hot[key] = tag(*serial));
        Oracle::default().judge(&journals, found.own, found.hot)
    }

    #[test]
    fn prefixes_from_the_acknowledged_on_are_right() {
        for own in [[3, 2, 0], [3, 0, 0], [3, 0, 5]] {
            assert_eq!(judge(vec![journal("0 1 0 -1 2", 3)], own, [0, 0]), Ok(()), "{own:?}");
        }
    }

    #[test]
    fn lost_torn_and_reordered_writes_are_found() {
        // Nothing; all but the last acknowledged one; one without its predecessor; a stale one.
        for own in [[0, 0, 0], [1, 2, 0], [3, 2, 5], [1, 0, 5]] {
            let verdict = judge(vec![journal("0 1 0 -1 2", 3)], own, [0, 0]);
            assert!(verdict.is_err_and(|reason| reason.contains("client 0")), "{own:?}");
        }
    }

    #[test]
    fn hot_keys_take_part_in_the_prefix() {
        assert_eq!(judge(vec![journal("0 h0 0", 1)], [3, 0, 0], [2, 0]), Ok(()));
        assert_eq!(judge(vec![journal("0 h0 0", 1)], [1, 0, 0], [2, 0]), Ok(()));
        assert_eq!(judge(vec![journal("0 h0 0", 1)], [1, 0, 0], [0, 0]), Ok(()));
        assert!(judge(vec![journal("0 h0 0", 1)], [3, 0, 0], [0, 0]).is_err());
        assert!(judge(vec![journal("h0 h0 0", 1)], [0, 0, 3], [1, 0]).is_err());
        assert!(judge(vec![journal("h0 -h0", 2)], [0, 0, 0], [1, 0]).is_err());
        assert_eq!(judge(vec![journal("h0 -h0", 1)], [0, 0, 0], [1, 0]), Ok(()));
        assert_eq!(judge(vec![journal("h0 -h0", 1)], [0, 0, 0], [0, 0]), Ok(()));
    }

    #[test]
    fn what_was_shown_must_survive() {
        let with = |serial, sent, done| {
            let other = Shown { key: 0, tag: tag(serial), sent, done };
            vec![journal("0 h0 0", 1), Journal { shown: vec![other], ..Journal::default() }]
        };
        assert_eq!(judge(with(0, 1, 2), [1, 0, 0], [0, 0]), Ok(()));
        assert_eq!(judge(with(2, 21, 22), [1, 0, 0], [2, 0]), Ok(()));
        assert!(judge(with(2, 21, 22), [1, 0, 0], [0, 0]).is_err(), "shown and lost");
        // A miss was shown after the value was there: a delete, which is lost.
        let mut journals = with(0, 40, 41);
        journals[0].acked = vec![15, 25, 35];
        assert!(judge(journals, [3, 0, 0], [2, 0]).is_err());
    }

    #[test]
    fn of_two_clients_the_later_write_wins() {
        let two = |first: (u64, u64), second: (u64, u64)| {
            let write = |client, sent| Write {
                key: Key::Hot(0),
                tag: Tag { client, serial: 1 },
                deletes: false,
                sent,
            };
            let journal = |client, (sent, done)| Journal {
                writes: vec![write(client, sent)],
                acked: vec![done],
                shown: Vec::new(),
            };
            vec![journal(0, first), journal(1, second)]
        };
        assert_eq!(judge(two((10, 30), (20, 40)), [0; 3], [1, 0]), Ok(()), "at the same time");
        assert_eq!(judge(two((30, 40), (10, 20)), [0; 3], [1, 0]), Ok(()));
        assert!(judge(two((10, 20), (30, 40)), [0; 3], [1, 0]).is_err());
    }
}
