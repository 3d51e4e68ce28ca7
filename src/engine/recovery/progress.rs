//! How far a recovery has got, for whoever waits for it: told now and then, and not at all if it is short.

use std::time::{Duration, Instant};

use crate::engine::event::{Event, EventListener, RecoveryStep};

/// The least time before the first word, and between two.
const INTERVAL: Duration = Duration::from_secs(2);

/// Tells the log and the listener.
#[derive(Default)]
pub(super) struct Progress {
    listener: Option<EventListener>,
    /// When something was told last, or the recovery began.
    told: Option<Instant>,
}

impl Progress {
    pub(super) fn told_to(listener: Option<&EventListener>) -> Self {
        Progress { listener: listener.cloned(), told: Some(Instant::now()) }
    }

    /// So many of these are done, and the next is begun.
    pub(super) fn note(&mut self, step: RecoveryStep, done: usize, total: usize) {
        let told = *self.told.get_or_insert_with(Instant::now);
        if told.elapsed() >= INTERVAL {
            self.told = Some(Instant::now());
            self.tell(&Event::Recovering { step, done, total });
        }
    }

    fn tell(&self, event: &Event) {
        event.log();
        if let Some(listener) = &self.listener {
            listener.call(event);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use super::*;

    #[test]
    fn a_long_recovery_is_told_of_now_and_then() {
        let heard: Arc<Mutex<Vec<usize>>> = Arc::default();
        let ear = Arc::clone(&heard);
        let listener = EventListener::new(move |event| {
            if let Event::Recovering { step: RecoveryStep::Log, done, total: 9 } = event {
                ear.lock().unwrap().push(*done);
            }
        });
        let mut progress = Progress::told_to(Some(&listener));
        progress.note(RecoveryStep::Log, 0, 9);
        progress.told = Instant::now().checked_sub(INTERVAL);
        for done in 1..4 {
            progress.note(RecoveryStep::Log, done, 9);
        }
        progress.told = Instant::now().checked_sub(INTERVAL);
        progress.note(RecoveryStep::Log, 4, 9);
        assert_eq!(*heard.lock().unwrap(), [1, 4]);
    }
}
