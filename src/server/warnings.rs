//! Warnings that a client can cause. One line of a kind is logged at once; for a while those that
//! follow are only counted, and then their number is logged: a stranger must not be able to fill the
//! disk that the log is on, nor to hide a line among a million others.

use super::limits::LOG_INTERVAL;

/// A kind of warning.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Warning {
    Http,
    EndlessLine,
    SlowReader,
    Buffers,
    Unwatched,
    TooManyConnections,
    OutOfDescriptors,
    AcceptFailed,
    Checkpoint,
}

impl Warning {
    /// All kinds, each at the place that its number says.
    const ALL: [Warning; 9] = [
        Warning::Http,
        Warning::EndlessLine,
        Warning::SlowReader,
        Warning::Buffers,
        Warning::Unwatched,
        Warning::TooManyConnections,
        Warning::OutOfDescriptors,
        Warning::AcceptFailed,
        Warning::Checkpoint,
    ];

    /// What happened so many times more.
    fn words(self) -> &'static str {
        match self {
            Warning::Http => "closed more connections that spoke HTTP",
            Warning::EndlessLine => "closed more connections that sent a line without end",
            Warning::SlowReader => "closed more clients that do not read their replies",
            Warning::Buffers => "closed more clients: all clients' buffers were over their bound",
            Warning::Unwatched => "closed more connections that the system cannot watch",
            Warning::TooManyConnections => "turned more clients away: too many connections",
            Warning::OutOfDescriptors => "turned more clients away: out of file descriptors",
            Warning::AcceptFailed => "more clients could not be accepted",
            Warning::Checkpoint => "more checkpoints could not be made",
        }
    }
}

/// What was logged of one kind, and what was not.
#[derive(Debug, Default, Clone, Copy)]
struct Kind {
    /// Nothing is logged before this time, in milliseconds of the reactor's clock.
    quiet_until_ms: u64,
    /// Warnings since the last line.
    left_out: u64,
}

/// See the module.
#[derive(Debug, Default)]
pub(crate) struct Warnings {
    kinds: [Kind; Warning::ALL.len()],
    /// Warnings that have no line of their own, since the start.
    left_out: u64,
}

impl Warnings {
    /// Whether a warning of this kind has a line of its own now. If not, it is counted.
    pub(crate) fn admit(&mut self, warning: Warning, now_ms: u64) -> bool {
        let kind = &mut self.kinds[warning as usize];
        // Those left out are told first, by `tell_left_out`.
        if now_ms < kind.quiet_until_ms || kind.left_out > 0 {
            kind.left_out += 1;
            self.left_out += 1;
            return false;
        }
        kind.quiet_until_ms = now_ms + LOG_INTERVAL.as_millis() as u64;
        true
    }

    /// Logs how many warnings were left out, of each kind for which it is time.
    pub(crate) fn tell_left_out(&mut self, now_ms: u64) {
        for (kind, warning) in self.kinds.iter_mut().zip(Warning::ALL) {
            if kind.left_out > 0 && now_ms >= kind.quiet_until_ms {
                let left_out = std::mem::take(&mut kind.left_out);
                kind.quiet_until_ms = now_ms + LOG_INTERVAL.as_millis() as u64;
                tracing::warn!(left_out, "{}", warning.words());
            }
        }
    }

    /// When there is something to tell.
    pub(crate) fn due_ms(&self) -> Option<u64> {
        let waiting = self.kinds.iter().filter(|kind| kind.left_out > 0);
        waiting.map(|kind| kind.quiet_until_ms).min()
    }

    /// How many warnings had no line of their own, since the start.
    pub(crate) fn left_out(&self) -> u64 {
        self.left_out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_stand_where_their_numbers_say() {
        for (number, warning) in Warning::ALL.into_iter().enumerate() {
            assert_eq!(warning as usize, number);
        }
    }

    #[test]
    fn one_line_of_a_kind_in_a_while_and_then_how_many_there_were() {
        let interval = LOG_INTERVAL.as_millis() as u64;
        let mut warnings = Warnings::default();
        assert!(warnings.admit(Warning::Http, 5));
        assert_eq!(warnings.due_ms(), None, "nothing was left out");
        assert!(warnings.admit(Warning::SlowReader, 6), "another kind");
        for now_ms in [7, interval, interval + 4] {
            assert!(!warnings.admit(Warning::Http, now_ms));
        }
        assert_eq!((warnings.due_ms(), warnings.left_out()), (Some(interval + 5), 3));
        warnings.tell_left_out(interval + 4);
        assert!(warnings.due_ms().is_some(), "it is not time yet");
        warnings.tell_left_out(interval + 5);
        assert_eq!(warnings.due_ms(), None);
        assert!(!warnings.admit(Warning::Http, interval + 6), "the number was a line as well");
        warnings.tell_left_out(3 * interval);
        assert!(warnings.admit(Warning::Http, 5 * interval));
        assert_eq!(warnings.left_out(), 4);
    }
}
