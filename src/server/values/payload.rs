//! What DUMP hands out and RESTORE takes back: a value in an envelope of our own.
//!
//! ```text
//! "CHRONOSV"  version u8 = 1  kind u8  length u64  value  crc32c u32
//! ```
//!
//! Integers are little-endian; the checksum covers everything before it. The length makes a payload
//! that was cut fail for certain instead of nearly so. It is not Redis's format: RESTORE refuses
//! what Redis dumped, with the words that Redis has for a foreign version. The kind is the caller's
//! and says how the value is to be read; a payload holds no expiry.

/// What RESTORE answers for bytes that are not a whole and sound payload.
pub(crate) const BAD_PAYLOAD: &str = "ERR DUMP payload version or checksum are wrong";

const MAGIC: &[u8; 8] = b"CHRONOSV";
const VERSION: u8 = 1;

/// Wraps a value.
pub(crate) fn encode(kind: u8, value: &[u8]) -> Vec<u8> {
    let mut payload = Vec::with_capacity(MAGIC.len() + 2 + 8 + value.len() + 4);
    payload.extend_from_slice(MAGIC);
    payload.extend([VERSION, kind]);
    payload.extend((value.len() as u64).to_le_bytes());
    payload.extend_from_slice(value);
    payload.extend(crc32c::crc32c(&payload).to_le_bytes());
    payload
}

/// The kind and the value that were wrapped; [`BAD_PAYLOAD`] for anything else.
pub(crate) fn decode(payload: &[u8]) -> Result<(u8, &[u8]), &'static str> {
    unwrap(payload).ok_or(BAD_PAYLOAD)
}

fn unwrap(payload: &[u8]) -> Option<(u8, &[u8])> {
    let (covered, checksum) = payload.split_last_chunk()?;
    let rest = covered.strip_prefix(MAGIC)?;
    let (&[version, kind], rest) = rest.split_first_chunk()?;
    let (length, value) = rest.split_first_chunk()?;
    let is_whole = u64::from_le_bytes(*length) == value.len() as u64;
    let is_sound = || crc32c::crc32c(covered) == u32::from_le_bytes(*checksum);
    (version == VERSION && is_whole && is_sound()).then_some((kind, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_wrapped_comes_back() {
        for (kind, value) in [(0, &b""[..]), (1, b"venom"), (255, &[0xff; 1000])] {
            assert_eq!(decode(&encode(kind, value)), Ok((kind, value)));
        }
        let bytes = b"CHRONOSV\x01\x00\x05\0\0\0\0\0\0\0venom\x95q\x03\xe7";
        assert_eq!(
            encode(0, b"venom").escape_ascii().to_string(),
            bytes.escape_ascii().to_string()
        );
    }

    #[test]
    fn a_flipped_bit_is_found() {
        let payload = encode(3, b"of value");
        for bit in 0..payload.len() * 8 {
            let mut flipped = payload.clone();
            flipped[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(decode(&flipped), Err(BAD_PAYLOAD), "bit {bit}");
        }
    }

    #[test]
    fn a_payload_that_is_cut_or_longer_or_foreign_is_refused() {
        // Its value is a payload itself, so that a cut may leave what looks like one.
        let payload = encode(3, &encode(4, b"value"));
        for length in 0..payload.len() {
            assert_eq!(decode(&payload[..length]), Err(BAD_PAYLOAD), "the first {length} bytes");
            assert_eq!(decode(&payload[length + 1..]), Err(BAD_PAYLOAD), "from {length} on");
        }
        assert_eq!(decode(&[&payload[..], b"\0"].concat()), Err(BAD_PAYLOAD));
        let redis = b"\x00\xc0\x0a\x0a\x00\x6e\x9f\x6a\x2b\x5e\x1b\xd3\x5d";
        assert_eq!(decode(redis), Err(BAD_PAYLOAD));
    }
}
