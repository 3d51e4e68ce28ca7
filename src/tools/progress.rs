//! Progress bars: on a terminal only, and never in the way of the result.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Drawings a second.
const DRAWS: u8 = 5;

/// A bar on stderr; nothing is drawn if that is no terminal. While nobody knows how much there is to do,
/// it shows what was done, and no bar.
pub(super) struct Bar {
    bar: ProgressBar,
    /// The style for a known amount.
    style: &'static str,
}

/// A bar that counts bytes.
pub(super) fn bytes(what: &'static str) -> Bar {
    let style = "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}";
    Bar::new(what, "{msg} {bytes} {bytes_per_sec}", style)
}

/// A bar that counts entries.
pub(super) fn entries(what: &'static str) -> Bar {
    Bar::new(what, "{msg} {pos} {per_sec}", "{msg} {bar:30} {pos}/{len} {per_sec} {eta}")
}

impl Bar {
    fn new(what: &'static str, unbounded: &'static str, style: &'static str) -> Self {
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr_with_hz(DRAWS));
        bar.set_message(what);
        bar.set_style(styled(unbounded));
        Bar { bar, style }
    }

    /// Says how much there is to do; 0 stands for nothing known.
    pub(super) fn set_length(&self, length: u64) {
        if length > 0 && self.bar.length() != Some(length) {
            self.bar.set_style(styled(self.style));
            self.bar.set_length(length);
        }
    }

    /// Says how much is done.
    pub(super) fn set_position(&self, position: u64) {
        self.bar.set_position(position);
    }

    /// Adds to what is done.
    pub(super) fn inc(&self, more: u64) {
        self.bar.inc(more);
    }

    /// Takes it off the terminal.
    pub(super) fn finish_and_clear(&self) {
        self.bar.finish_and_clear();
    }
}

/// The templates are constants; were one wrong, the plain style would do.
fn styled(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_amount_is_not_shown_as_none() {
        let bar = bytes("loading");
        bar.set_length(0);
        bar.inc(7);
        assert_eq!((bar.bar.length(), bar.bar.position()), (None, 7));
        bar.set_length(9);
        assert_eq!(bar.bar.length(), Some(9));
    }
}
