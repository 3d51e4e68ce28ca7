//! How many keys each database has, for INFO and MEMORY STATS.
//!
//! Counting takes longer than the reactor has, so a worker does it, in slices ([`Counting`]), and who
//! asks waits parked and runs again. What was counted is kept per namespace and answers further
//! questions as long as it is right: a small database is counted anew after any write, a larger one once
//! enough was written to matter. A count that was dear is not made again at once, unless so much was
//! written that the last one may be wrong by more than a tenth.
//!
//! Who asks is answered from counts that began after the question (or are as good), so that a client
//! sees its own writes; it asks once, however often its command runs. Where a count does not come for
//! [`PATIENCE`], because reads from disk hang, say, it is told the last ones: INFO is what people look
//! at then.

use std::collections::HashMap;
use std::time::{Duration, Instant};

use crate::engine::{KeyCount, KeyCounter, KeyRange, Seq};

use super::dispatch::Services;
use super::interrupt::Interrupt;
use super::limits::WORK_SLICE;
use super::token::ConnectionId;
use super::workers::Job;

/// A database that has no more keys than this is counted anew after each write: its count is exact.
const EXACT_KEYS: u64 = 10_000;

/// A larger one is counted anew once the writes since are more than one in this many of its keys.
const DRIFT: u64 = 50;

/// With so many it is, whatever that costs.
const GREAT_DRIFT: u64 = 12;

/// Otherwise the time since its last count must be this many times what that took.
const REST: u64 = 10;

/// How long somebody waits for a count.
const PATIENCE: Duration = Duration::from_secs(5);

/// Steps between two looks at the clock.
const STEPS_PER_LOOK: usize = 4;

/// What was counted of a namespace.
#[derive(Debug, Clone, Copy)]
struct Counted {
    count: KeyCount,
    /// The last write that is in it.
    seq: Seq,
    /// When it was begun, and what it took, in milliseconds.
    begun_ms: u64,
    took_ms: u64,
}

/// When a client asked, and what it must see.
#[derive(Debug, Clone, Copy)]
struct Question {
    seq: Seq,
    asked_ms: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    counted: HashMap<u8, Counted>,
    /// Clients whose commands wait.
    questions: HashMap<ConnectionId, Question>,
    is_counting: bool,
}

impl Counted {
    /// Whether it is as good as a count that is made for the question.
    fn answers(&self, question: Question) -> bool {
        let writes = question.seq.saturating_sub(self.seq);
        let KeyCount { keys, expiring, .. } = self.count;
        let is_timeless = expiring == 0 || self.begun_ms >= question.asked_ms;
        if writes == 0 && is_timeless {
            return true;
        }
        if keys <= EXACT_KEYS + EXACT_KEYS / DRIFT || writes > keys / GREAT_DRIFT {
            return false;
        }
        let matters = if expiring == 0 { keys } else { keys.min(expiring.max(EXACT_KEYS)) };
        let is_close = writes <= matters / DRIFT && is_timeless;
        let age_ms = question.asked_ms.saturating_sub(self.begun_ms + self.took_ms);
        is_close || age_ms < REST * self.took_ms
    }
}

impl Counts {
    /// What is known of a namespace.
    pub(crate) fn of(&self, namespace: u8) -> KeyCount {
        self.counted.get(&namespace).map(|counted| counted.count).unwrap_or_default()
    }

    /// A client waits no longer.
    pub(crate) fn end_question(&mut self, id: ConnectionId) {
        if !self.questions.is_empty() {
            self.questions.remove(&id);
        }
    }

    /// Whether a client waits for a count.
    pub(crate) fn is_asked_by(&self, id: ConnectionId) -> bool {
        self.questions.contains_key(&id)
    }

    /// Takes over what was counted.
    pub(crate) fn finish(&mut self, counting: &Counting) {
        self.is_counting = false;
        let (seq, begun_ms) = (counting.counter.seq(), counting.begun_ms);
        let results = counting.counter.counts().iter().zip(&counting.took_ms);
        for (namespace, (count, took_ms)) in counting.namespaces.iter().zip(results) {
            let counted = Counted { count: *count, seq, begun_ms, took_ms: *took_ms };
            self.counted.insert(*namespace, counted);
        }
    }
}

/// A count of some namespaces that a worker does.
pub(crate) struct Counting {
    counter: KeyCounter,
    namespaces: Vec<u8>,
    begun_ms: u64,
    /// What each that is done took, in milliseconds, and what was spent since.
    took_ms: Vec<u64>,
    spent: Duration,
}

impl Counting {
    /// Goes on for a few milliseconds. Returns whether all is counted.
    pub(crate) fn run(&mut self) -> bool {
        let begun = Instant::now();
        let spent_before = self.spent;
        loop {
            let is_over = (0..STEPS_PER_LOOK).any(|_| self.counter.step());
            let elapsed = begun.elapsed();
            self.spent = spent_before + elapsed;
            self.note_done();
            if is_over || elapsed >= WORK_SLICE {
                return is_over;
            }
        }
    }

    fn note_done(&mut self) {
        while self.took_ms.len() < self.counter.counts().len() {
            let earlier: u64 = self.took_ms.iter().sum();
            let spent_ms = u64::try_from(self.spent.as_millis()).unwrap_or(u64::MAX);
            self.took_ms.push(spent_ms.saturating_sub(earlier));
        }
    }
}

impl Services<'_> {
    /// Sees to it that the counts of all databases are those of now, or as good.
    ///
    /// # Errors
    /// [`Interrupt::Later`] while they are being made.
    pub(crate) fn count_keys(&mut self, id: ConnectionId) -> Result<(), Interrupt> {
        let seq = self.keyspace.last_seq();
        let asked = Question { seq, asked_ms: self.tick_ms };
        let question = *self.counts.questions.entry(id).or_insert(asked);
        let namespaces: Vec<u8> =
            (0..self.keyspace.databases()).map(|db| self.keyspace.namespace(db)).collect();
        let counted = |namespace: &u8| self.counts.counted.get(namespace);
        let wanted: Vec<u8> = namespaces
            .into_iter()
            .filter(|namespace| {
                let cleared_seq = self.keyspace.cleared_seq(*namespace);
                let is_good =
                    |c: &Counted| c.seq >= cleared_seq.min(question.seq) && c.answers(question);
                !counted(namespace).is_some_and(is_good)
            })
            .collect();
        let elapsed = Duration::from_millis(self.tick_ms.saturating_sub(question.asked_ms));
        if wanted.is_empty() || elapsed >= PATIENCE {
            // A figure, not a value: it does not wait for the sync, which may be what hangs.
            return Ok(());
        }
        if !self.counts.is_counting {
            self.counts.is_counting = self.start_counting(wanted);
        }
        self.keyspace.retry_within(PATIENCE.saturating_sub(elapsed));
        Err(Interrupt::Later)
    }

    /// Has a worker count. Returns whether one took it.
    fn start_counting(&mut self, namespaces: Vec<u8>) -> bool {
        let range = |namespace: &u8| KeyRange::from(vec![*namespace]..vec![namespace + 1]);
        let ranges = namespaces.iter().map(range).collect();
        let counter = self.keyspace.engine().count_keys(ranges);
        let (begun_ms, took_ms) = (self.tick_ms, Vec::new());
        let counting =
            Counting { counter, namespaces, begun_ms, took_ms, spent: Duration::default() };
        self.workers.submit(Job::Count(Box::new(counting)))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::super::Settings;
    use super::super::notify::Notifier;
    use super::*;
    use crate::engine::storage::sim::SimStorage;
    use crate::engine::{Engine, Environment, Options, SystemClock};

    fn counted(keys: u64, expiring: u64) -> Counted {
        let count = KeyCount { keys, expiring, is_exact: keys < EXACT_KEYS };
        Counted { count, seq: 1_000, begun_ms: 500, took_ms: 10 }
    }

    #[test]
    fn a_count_answers_as_long_as_it_is_right() {
        let ask = |writes: u64, asked_ms| Question { seq: 1_000 + writes, asked_ms };
        let small = counted(10_000, 0);
        assert!(small.answers(ask(0, 1 << 40)), "nothing was written");
        assert!(!small.answers(ask(1, 501)), "it is exact");
        assert!(!counted(5, 1).answers(ask(0, 501)), "a key may have expired");
        let large = counted(1_000_000, 0);
        assert!(large.answers(ask(20_000, 1 << 40)) && !large.answers(ask(20_001, 1 << 40)));
        assert!(large.answers(ask(80_000, 600)), "it has to rest");
        assert!(!large.answers(ask(90_000, 600)), "it may be wrong by a tenth");
        let expiring = counted(1_000_000, 15_000);
        assert!(!expiring.answers(ask(301, 1 << 40)), "most writes may expire");
        assert!(
            expiring.answers(Question { seq: 900, asked_ms: 400 }),
            "it began after the question"
        );
    }

    #[test]
    fn who_has_waited_for_long_is_told_the_last_count() {
        let environment = Environment {
            storage: Arc::new(SimStorage::new(1)),
            clock: Arc::new(SystemClock),
            random: Arc::new(|| 4),
        };
        let (engine, _) = Engine::open(environment, Options::default()).unwrap();
        let poll = mio::Poll::new().unwrap();
        let notifier = Arc::new(Notifier::new(poll.registry()).unwrap());
        let settings = Settings { workers: 1, ..Settings::default() };
        let mut services = Services::new(&engine, &settings, Vec::new(), notifier).unwrap();
        // A count that does not end.
        services.counts.is_counting = true;
        let id = ConnectionId { slot: 0, generation: 0 };
        let patience_ms = PATIENCE.as_millis() as u64;
        services.tick_ms = 7;
        assert!(services.count_keys(id).is_err());
        services.tick_ms = 6 + patience_ms;
        assert!(services.count_keys(id).is_err());
        services.tick_ms = 7 + patience_ms;
        assert!(services.count_keys(id).is_ok());
        services.counts.end_question(id);
        assert!(services.count_keys(id).is_err(), "the next question begins anew");
    }
}
