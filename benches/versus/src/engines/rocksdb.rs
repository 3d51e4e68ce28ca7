//! RocksDB behind the [`Engine`] trait.
//!
//! Its defaults, but for the cache, LZ4 and a bloom filter, without which nobody who cares for reads
//! would run it. It chooses its CRC32C when it is compiled; what was compiled with the slow one is
//! refused here, because comparing with it would flatter everybody else.

use std::fs;
use std::path::Path;

use rust_rocksdb::{BlockBasedOptions, Cache, DB, DBCompressionType, Options, WriteOptions};

use super::{CACHE_BYTES, Engine, Result, Sync};

const MEMTABLE_BYTES: usize = 64 << 20;
const FILTER_BITS_PER_KEY: f64 = 10.0;

/// A database and how it is written.
pub(crate) struct RocksDb {
    database: DB,
    write: WriteOptions,
}

impl Engine for RocksDb {
    const SETTINGS: &'static str = "64 MiB of block cache, write buffers 2 x 64 MiB (default), LZ4 on all \
        levels, bloom filter of 10 bits a key, log on, unsynced: handed to the system";
    const SCANS: bool = true;

    fn open(directory: &Path, sync: Sync) -> Result<Self> {
        let mut table = BlockBasedOptions::default();
        table.set_block_cache(&Cache::new_lru_cache(CACHE_BYTES));
        table.set_bloom_filter(FILTER_BITS_PER_KEY, false);
        let mut options = Options::default();
        options.create_if_missing(true);
        options.set_compression_type(DBCompressionType::Lz4);
        options.set_write_buffer_size(MEMTABLE_BYTES);
        options.set_block_based_table_factory(&table);
        let mut write = WriteOptions::default();
        write.set_sync(sync == Sync::Each);
        let database = DB::open(&options, directory)?;
        require_fast_crc(&fs::read_to_string(directory.join("LOG"))?)?;
        Ok(RocksDb { database, write })
    }

    fn put(&self, key: &[u8], value: &[u8]) -> Result<()> {
        Ok(self.database.put_opt(key, value, &self.write)?)
    }

    fn get<R>(&self, key: &[u8], read: impl FnOnce(&[u8]) -> R) -> Result<Option<R>> {
        Ok(self.database.get_pinned(key)?.map(|value| read(&value)))
    }

    fn scan(&self, mut each: impl FnMut(&[u8], &[u8])) -> Result<()> {
        let mut iterator = self.database.raw_iterator();
        iterator.seek_to_first();
        while let Some((key, value)) = iterator.item() {
            each(key, value);
            iterator.next();
        }
        Ok(iterator.status()?)
    }

    fn pressure(&self) -> Result<String> {
        let immutables = self.count("rocksdb.num-immutable-mem-table")?;
        let level0 = self.count("rocksdb.num-files-at-level0")?;
        // Its defaults: two write buffers, and slower writes from 20 files in level 0 on.
        let reason = match (immutables, level0) {
            (_, 20..) => "level 0 is full",
            (1.., _) => "flush is behind",
            _ => "unknown",
        };
        Ok(reason.to_owned())
    }

    fn counts(&self) -> Result<Vec<(String, u64)>> {
        let level0 = self.count("rocksdb.num-files-at-level0")?;
        let mut counts = vec![("tables in level 0".to_owned(), level0)];
        let stalls = self.database.property_value("rocksdb.cf-write-stall-stats")?;
        counts.extend(stalls.as_deref().map(parse_stalls).unwrap_or_default());
        Ok(counts)
    }

    fn is_log(extension: &str) -> bool {
        extension == "log"
    }

    fn close(self) -> Result<()> {
        drop(self.database);
        Ok(())
    }
}

impl RocksDb {
    fn count(&self, property: &str) -> Result<u64> {
        Ok(self.database.property_int_value(property)?.unwrap_or(0))
    }
}

/// What made writers wait and how often, from a line of `name: count, name: count`; not what never did.
fn parse_stalls(text: &str) -> Vec<(String, u64)> {
    let counts =
        text.trim_start_matches("Write Stall (count): ").lines().next().unwrap_or_default();
    let parse = |part: &str| {
        let (name, count) = part.rsplit_once(": ")?;
        Some((name.to_owned(), count.parse().ok()?))
    };
    counts.split(", ").filter_map(parse).filter(|(_, count)| *count > 0).collect()
}

/// Checks what RocksDB says at its start about its CRC32C.
fn require_fast_crc(log: &str) -> Result<()> {
    if log.contains("Fast CRC32 supported: Supported") {
        return Ok(());
    }
    Err("this RocksDB was compiled with its slow CRC32C: run cargo from the root of the repository, \
        whose .cargo/config.toml sets CXXFLAGS, or set CXXFLAGS=\"-msse4.2 -mpclmul\""
        .into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slow_crc_is_refused() {
        assert!(require_fast_crc("x Fast CRC32 supported: Supported on x86\n").is_ok());
        assert!(require_fast_crc("x Fast CRC32 supported: Not supported on x86\n").is_err());
        assert!(require_fast_crc("").is_err());
    }

    #[test]
    fn stalls_are_read_from_their_line() {
        let text = "Write Stall (count): cf-l0-file-count-limit-stops: 0, memtable-limit-stops: 4, \
            total-stops: 7\ninterval: 4 total count\n";
        let expected = [("memtable-limit-stops".to_owned(), 4), ("total-stops".to_owned(), 7)];
        assert_eq!(parse_stalls(text), expected);
        assert_eq!(parse_stalls(""), []);
    }
}
