//! Fuzzes the target `resp` of `chronos::campaign::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| chronos_fuzz::judge("resp", input));
