//! What the programs for cargo-fuzz share: a finding is a panic, which libFuzzer takes for a crash.

/// Has a target judge an input.
///
/// # Panics
/// If it is not as it should be.
pub fn judge(target: &str, input: &[u8]) {
    if let Err(what) = chronos::campaign::fuzz::run(target, input) {
        panic!("{target}: {what}");
    }
}
