//! An input of the fuzzer as a source of choices: numbers and bytes off its front.
//!
//! An input that is used up gives zeros, so that every input means something and its end can be cut
//! without changing what stands before it.

/// See the module.
#[derive(Debug, Clone)]
pub(super) struct Source<'a> {
    bytes: &'a [u8],
}

impl<'a> Source<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Source { bytes }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn u8(&mut self) -> u8 {
        let Some((&first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        first
    }

    pub(super) fn u16(&mut self) -> u16 {
        u16::from_le_bytes([self.u8(), self.u8()])
    }

    pub(super) fn u32(&mut self) -> u32 {
        u32::from(self.u16()) | u32::from(self.u16()) << 16
    }

    pub(super) fn u64(&mut self) -> u64 {
        u64::from(self.u32()) | u64::from(self.u32()) << 32
    }

    /// A number of a size that is chosen as well: small ones come often, and those next to the
    /// limits do come.
    pub(super) fn number(&mut self) -> u64 {
        match self.u8() {
            255 => u64::MAX - u64::from(self.u8()),
            254 => self.u64(),
            253 => u64::from(self.u32()),
            252 => u64::from(self.u16()),
            small => u64::from(small),
        }
    }

    /// A number below `bound`, 0 if that is 0.
    pub(super) fn below(&mut self, bound: usize) -> usize {
        let number = if bound <= 256 { usize::from(self.u8()) } else { self.u32() as usize };
        number.checked_rem(bound).unwrap_or(0)
    }

    /// One of several things, of which there must be one.
    pub(super) fn pick<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len())]
    }

    /// True once in `n` times, as far as bytes are random.
    pub(super) fn one_in(&mut self, n: usize) -> bool {
        self.below(n) == n - 1
    }

    /// The next bytes, as far as there are so many.
    pub(super) fn take(&mut self, len: usize) -> &'a [u8] {
        let (taken, rest) = self.bytes.split_at(len.min(self.bytes.len()));
        self.bytes = rest;
        taken
    }

    /// Up to `most` bytes, their number standing in front of them.
    pub(super) fn word(&mut self, most: usize) -> &'a [u8] {
        let len = self.below(most + 1);
        self.take(len)
    }

    /// All that is left.
    pub(super) fn rest(&mut self) -> &'a [u8] {
        self.take(self.bytes.len())
    }
}
