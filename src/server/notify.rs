//! How other threads tell the reactor that there is news: one flag and one waker.
//!
//! A wake-up is a system call, so it is made only while the reactor sleeps or is about to. Lost
//! wakes are impossible by the order of two flags (Dekker's): the notifier writes `news` and then
//! looks at `asleep`; the reactor writes `asleep` and then looks at `news`; one of them sees the
//! other. The reactor clears `news` *before* it collects what there is.

use std::io;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};

use mio::{Registry, Waker};

use super::token::Source;

/// Shared by the reactor and everyone who has news for it.
#[derive(Debug)]
pub(crate) struct Notifier {
    news: AtomicBool,
    asleep: AtomicBool,
    stop: AtomicBool,
    waker: Waker,
}

impl Notifier {
    pub(crate) fn new(registry: &Registry) -> io::Result<Self> {
        Ok(Notifier {
            news: AtomicBool::new(false),
            asleep: AtomicBool::new(false),
            stop: AtomicBool::new(false),
            waker: Waker::new(registry, Source::Waker.token())?,
        })
    }

    /// Tells the reactor. Callable from any thread, any number of times.
    pub(crate) fn notify(&self) {
        self.news.store(true, SeqCst);
        if self.asleep.swap(false, SeqCst)
            && let Err(error) = self.waker.wake()
        {
            tracing::error!(%error, "the reactor cannot be woken");
        }
    }

    /// Asks the reactor to stop as the first signal does; a second call, as the second.
    pub(crate) fn stop(&self) {
        self.stop.store(true, SeqCst);
        self.notify();
    }

    /// Whether a stop was asked for since the last call.
    pub(crate) fn take_stop(&self) -> bool {
        self.stop.load(SeqCst) && self.stop.swap(false, SeqCst)
    }

    /// Announces sleep. Returns false if there is news: do not sleep then.
    pub(crate) fn fall_asleep(&self) -> bool {
        self.asleep.store(true, SeqCst);
        !self.news.load(SeqCst)
    }

    /// After sleep: whether there is news. Clears it, so collect only afterwards.
    pub(crate) fn take_news(&self) -> bool {
        self.asleep.store(false, SeqCst);
        self.news.load(SeqCst) && self.news.swap(false, SeqCst)
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::time::Duration;

    use mio::{Events, Poll};

    use super::*;

    #[test]
    fn news_before_sleep_forbids_it_and_news_during_sleep_ends_it() {
        let mut poll = Poll::new().unwrap();
        let mut events = Events::with_capacity(4);
        let notifier = Arc::new(Notifier::new(poll.registry()).unwrap());
        notifier.notify();
        assert!(!notifier.fall_asleep());
        assert!(notifier.take_news());
        assert!(!notifier.take_news());

        assert!(notifier.fall_asleep());
        let other = Arc::clone(&notifier);
        let thread = std::thread::spawn(move || (0..1000).for_each(|_| other.notify()));
        poll.poll(&mut events, Some(Duration::from_secs(10))).unwrap();
        assert_eq!(events.iter().count(), 1);
        assert!(notifier.take_news());
        thread.join().unwrap();
    }
}
