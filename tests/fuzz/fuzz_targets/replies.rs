//! Fuzzes the target `replies` of `chronos::campaign::fuzz`.

#![no_main]

libfuzzer_sys::fuzz_target!(|input: &[u8]| chronos_fuzz::judge("replies", input));
