//! Entries that expire: how many there are, and when their table is worth being rewritten.

use super::*;

fn expiring(key: &str, seq: Seq, expiry_ms: u64) -> Owned {
    let stored = [&expiry_ms.to_le_bytes()[..], b"value"].concat();
    (key.as_bytes().to_vec(), seq, Kind::Expiring, stored)
}

#[test]
fn a_table_tells_when_a_third_of_it_has_expired() {
    let kept = [put("a", 1, "x"), delete("b", 2)];
    let tables: [(&[u64], u64); 4] =
        [(&[], u64::MAX), (&[700], 700), (&[900, 500, 800], 500), (&[9, 8, 7, 6, 5, 4], 5)];
    for (expiries, reclaim_ms) in tables {
        let mut entries = kept.to_vec();
        for (number, expiry_ms) in expiries.iter().enumerate() {
            entries.push(expiring(&format!("c{number}"), 3 + number as u64, *expiry_ms));
        }
        let (_, table) = built(&entries);
        assert_eq!(table.meta().reclaim_ms, reclaim_ms, "{expiries:?}");
        table.verify().unwrap();
        assert_eq!(collect(table.iter()).unwrap(), entries);
    }
}

#[test]
fn an_expiring_entry_returns_with_its_expiry() {
    let entry = expiring("key", 7, 1 << 40);
    let (_, table) = built(std::slice::from_ref(&entry));
    assert_eq!(get(&table, b"key", 7).unwrap(), Some((7, Kind::Expiring, entry.3)));
}

#[test]
fn a_wrong_count_of_expiring_entries_is_found() {
    let storage = SimStorage::new(1);
    let meta = build(&storage, ID, &example());
    let name = filename::table(ID);
    let bytes = storage.read_file(&name).unwrap();
    let at = bytes.windows(14).position(|window| window == b"expiring_count").unwrap() + 15;
    assert_eq!(bytes[at], 0);
    storage.write_file(&name, &forge(&bytes, 3, at - EXAMPLE_BLOCKS[3].0, 1)).unwrap();
    let meta = TableMeta { checksum: crc32c::crc32c(&storage.read_file(&name).unwrap()), ..meta };
    let error = open(&storage, &meta).unwrap().verify().unwrap_err();
    assert!(error.to_string().contains("do not add up"), "{error}");
}
