//! What the string commands compute, as functions from bytes to bytes.
//!
//! Here stand the rules of Redis's values: what counts as an integer or a float, what a glob
//! matches, how bits are numbered. No function does I/O or knows the engine, a client or a reply;
//! where a value or an argument is refused, the error is the line that Redis clients know, without
//! the leading `-`. The facts were seen on redis-server 7.0.15 and are kept in the tests.

pub(crate) mod bitfield;
pub(crate) mod bits;
pub(crate) mod float;
pub(crate) mod glob;
pub(crate) mod integer;
pub(crate) mod lcs;
pub(crate) mod payload;
pub(crate) mod quote;

#[cfg(test)]
mod testing {
    //! What the modules' tests share.

    /// A small seeded generator (xorshift); the seed must not be 0.
    pub(super) struct Random(pub(super) u64);

    impl Random {
        pub(super) fn below(&mut self, bound: u64) -> u64 {
            self.0 ^= self.0 << 13;
            self.0 ^= self.0 >> 7;
            self.0 ^= self.0 << 17;
            self.0 % bound
        }
    }
}
