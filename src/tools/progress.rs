//! Progress bars: on a terminal only, and never in the way of the result.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

/// Drawings a second.
const DRAWS: u8 = 5;

/// A bar on stderr that counts bytes; nothing is drawn if that is no terminal.
pub(super) fn bytes(what: &'static str) -> ProgressBar {
    bar(what, "{msg} {bar:30} {bytes}/{total_bytes} {bytes_per_sec} {eta}")
}

/// A bar that counts entries.
pub(super) fn entries(what: &'static str) -> ProgressBar {
    bar(what, "{msg} {bar:30} {pos}/{len} {per_sec} {eta}")
}

fn bar(what: &'static str, template: &str) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(Some(0), ProgressDrawTarget::stderr_with_hz(DRAWS));
    bar.set_message(what);
    // The template is a constant; were it wrong, the plain style would do.
    bar.with_style(
        ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar()),
    )
}
