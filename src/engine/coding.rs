//! Integers as bytes: fixed little-endian fields and LEB128 varints, for every file format.
//!
//! Reading never panics and never trusts a length: each function answers `None` where the bytes
//! end too soon or do not say what they should. The caller knows file and offset and turns that
//! into a named error. A varint has one spelling only: an over-long one is refused, so that equal
//! values are equal bytes and a flipped padding bit cannot pass.

/// The most bytes that a 64-bit varint takes.
pub(crate) const MAX_VARINT_BYTES: usize = 10;

/// Appends `value` as LEB128: 7 bits a byte, lowest first, the high bit set on all but the last.
pub(crate) fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    out.push(value as u8);
}

/// Appends `bytes` behind its length as a varint.
pub(crate) fn put_bytes(out: &mut Vec<u8>, bytes: &[u8]) {
    put_varint(out, bytes.len() as u64);
    out.extend_from_slice(bytes);
}

/// Reads a varint from the start of `bytes`: the value and the bytes it took. `None` if it is cut
/// off, does not fit 64 bits or is longer than it need be.
pub(crate) fn get_varint(bytes: &[u8]) -> Option<(u64, usize)> {
    let mut value = 0u64;
    for (at, &byte) in bytes.iter().take(MAX_VARINT_BYTES).enumerate() {
        let bits = u64::from(byte & 0x7f);
        if at == MAX_VARINT_BYTES - 1 && bits > 1 {
            return None;
        }
        value |= bits << (7 * at);
        if byte & 0x80 == 0 {
            return (byte != 0 || at == 0).then_some((value, at + 1));
        }
    }
    None
}

/// Reads the little-endian `u32` at byte `at`.
pub(crate) fn get_u32(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(get_array(bytes, at)?))
}

/// Reads the little-endian `u64` at byte `at`.
pub(crate) fn get_u64(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(get_array(bytes, at)?))
}

fn get_array<const N: usize>(bytes: &[u8], at: usize) -> Option<[u8; N]> {
    bytes.get(at..at.checked_add(N)?)?.try_into().ok()
}

/// A cursor over bytes. After a `None` its position is unchanged.
#[derive(Debug, Clone)]
pub(crate) struct Reader<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl<'a> Reader<'a> {
    /// Starts at the first of `bytes`.
    pub(crate) fn new(bytes: &'a [u8]) -> Self {
        Reader { bytes, at: 0 }
    }

    /// Bytes read so far.
    pub(crate) fn position(&self) -> usize {
        self.at
    }

    /// Bytes left.
    pub(crate) fn remaining(&self) -> usize {
        self.bytes.len() - self.at
    }

    /// Whether everything has been read.
    pub(crate) fn is_empty(&self) -> bool {
        self.remaining() == 0
    }

    /// Reads the next `len` bytes.
    pub(crate) fn slice(&mut self, len: usize) -> Option<&'a [u8]> {
        let end = self.at.checked_add(len)?;
        let slice = self.bytes.get(self.at..end)?;
        self.at = end;
        Some(slice)
    }

    /// Reads one byte.
    pub(crate) fn u8(&mut self) -> Option<u8> {
        let byte = *self.bytes.get(self.at)?;
        self.at += 1;
        Some(byte)
    }

    /// Reads a little-endian `u32`.
    pub(crate) fn u32(&mut self) -> Option<u32> {
        let value = get_u32(self.bytes, self.at)?;
        self.at += 4;
        Some(value)
    }

    /// Reads a varint.
    pub(crate) fn varint(&mut self) -> Option<u64> {
        let (value, len) = get_varint(self.bytes.get(self.at..)?)?;
        self.at += len;
        Some(value)
    }

    /// Reads a varint that counts bytes or items in memory.
    pub(crate) fn varint_len(&mut self) -> Option<usize> {
        let start = self.at;
        let len = self.varint().and_then(|value| usize::try_from(value).ok());
        if len.is_none() {
            self.at = start;
        }
        len
    }

    /// Reads bytes behind their varint length.
    pub(crate) fn bytes(&mut self) -> Option<&'a [u8]> {
        let start = self.at;
        let slice = self.varint_len().and_then(|len| self.slice(len));
        if slice.is_none() {
            self.at = start;
        }
        slice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn encoded(value: u64) -> Vec<u8> {
        let mut out = Vec::new();
        put_varint(&mut out, value);
        out
    }

    #[test]
    fn varints_return_at_every_width() {
        let mut values = vec![0, 1, 127, 128, 300, u64::MAX];
        values.extend((0..64).flat_map(|bit| [(1u64 << bit) - 1, 1 << bit, (1 << bit) + 1]));
        for value in values {
            let bytes = encoded(value);
            assert!(bytes.len() <= MAX_VARINT_BYTES);
            assert_eq!(get_varint(&bytes), Some((value, bytes.len())), "{value}");
            let mut longer = bytes.clone();
            longer.push(0xff);
            assert_eq!(get_varint(&longer), Some((value, bytes.len())), "{value}");
            for cut in 0..bytes.len() {
                assert_eq!(get_varint(&bytes[..cut]), None, "{value} cut at {cut}");
            }
        }
    }

    #[test]
    fn varint_bytes_are_leb128() {
        assert_eq!(encoded(300), [0xac, 0x02]);
        assert_eq!(encoded(u64::MAX), [255, 255, 255, 255, 255, 255, 255, 255, 255, 1]);
    }

    #[test]
    fn over_long_and_overflowing_varints_are_refused() {
        assert_eq!(get_varint(&[0x80, 0x00]), None);
        assert_eq!(get_varint(&[0xff, 0x80, 0x00]), None);
        assert_eq!(get_varint(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 2]), None);
        assert_eq!(get_varint(&[255, 255, 255, 255, 255, 255, 255, 255, 255, 0x81, 0]), None);
        assert_eq!(get_varint(&[0x80; 20]), None);
    }

    #[test]
    fn a_reader_reads_in_order_and_stops_at_the_end() {
        let mut bytes = vec![7];
        bytes.extend_from_slice(&0x0102_0304u32.to_le_bytes());
        put_varint(&mut bytes, 1 << 40);
        put_bytes(&mut bytes, b"key");
        bytes.extend_from_slice(b"end");
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.u8(), Some(7));
        assert_eq!(reader.u32(), Some(0x0102_0304));
        assert_eq!(reader.varint(), Some(1 << 40));
        assert_eq!(reader.bytes(), Some(&b"key"[..]));
        assert_eq!(reader.u32(), None);
        assert_eq!(reader.remaining(), 3);
        assert_eq!(reader.slice(usize::MAX), None);
        assert_eq!(reader.slice(3), Some(&b"end"[..]));
        assert!(reader.is_empty());
        assert_eq!((reader.u8(), reader.varint(), reader.position()), (None, None, bytes.len()));
    }

    #[test]
    fn a_length_past_the_end_leaves_the_reader_where_it_was() {
        let mut bytes = encoded(u64::MAX);
        bytes.push(1);
        let mut reader = Reader::new(&bytes);
        assert_eq!(reader.bytes(), None);
        assert_eq!(reader.position(), 0);
        assert_eq!(get_u32(&bytes, usize::MAX), None);
        assert_eq!(get_u64(&bytes, 4), None);
    }
}
