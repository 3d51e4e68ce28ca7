//! The block cache: blocks of tables in memory, decoded and verified, under one budget of bytes.
//!
//! A key is a file's id and an offset in it. Ids are never used twice and tables never change, so an
//! entry cannot become wrong: those of removed tables are simply never asked for again, and age out.
//! Sharded, and scan-resistant (Clock-PRO beside S3-FIFO, crate `quick_cache`): a block has to be
//! asked for twice before it displaces one that is in use. Point reads and the beginnings of scans come
//! here; long walks have a read-ahead of their own and would but wash the cache out.
//!
//! What a reader holds stays valid after its eviction, and is then not counted any more. Hashing is
//! without a random seed, so that a simulated run is a function of its own seed; nobody chooses the
//! keys.

use std::sync::Arc;

use foldhash::fast::FixedState;
use quick_cache::sync::{Cache, DefaultLifecycle};
use quick_cache::{OptionsBuilder, Weighter};

/// Bytes of a block as a rule, for a guess at how many blocks there will be.
const EXPECTED_BLOCK_BYTES: usize = 8 << 10;

/// A shard does not get smaller than this: it has to hold some blocks, and the larger ones too.
const MIN_SHARD_BYTES: usize = 1 << 20;

/// More shards than this gain nothing.
const MAX_SHARDS: usize = 64;

/// What a cache holds.
pub(crate) trait Weigh {
    /// Bytes of memory that the item takes.
    fn weight_bytes(&self) -> usize;
}

/// The place of a block: the file's id and the block's offset.
pub(crate) type BlockKey = (u64, u64);

#[derive(Clone)]
struct Bytes;

impl<B: Weigh> Weighter<BlockKey, Arc<B>> for Bytes {
    fn weight(&self, _: &BlockKey, block: &Arc<B>) -> u64 {
        block.weight_bytes() as u64
    }
}

/// A cache of blocks `B`, shared by all threads.
pub(crate) struct BlockCache<B: Weigh> {
    blocks: Cache<BlockKey, Arc<B>, Bytes, FixedState>,
}

/// Figures about a block cache.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct CacheStats {
    /// Bytes that it may hold.
    pub capacity_bytes: u64,
    /// Bytes that it holds.
    pub bytes: u64,
    /// Blocks that it holds.
    pub blocks: usize,
    /// How often a block was asked for and there, since the database was opened.
    pub hits: u64,
    /// How often it was asked for and not there.
    pub misses: u64,
}

impl<B: Weigh> BlockCache<B> {
    /// An empty cache for `bytes` of blocks.
    pub(crate) fn new(bytes: usize) -> Self {
        let options = OptionsBuilder::new()
            .estimated_items_capacity(bytes / EXPECTED_BLOCK_BYTES)
            .weight_capacity(bytes as u64)
            .shards((bytes / MIN_SHARD_BYTES).clamp(1, MAX_SHARDS))
            .build();
        let lifecycle = DefaultLifecycle::default();
        let blocks = match options {
            Ok(options) => Cache::with_options(options, Bytes, FixedState::default(), lifecycle),
            // Only options that are not set are refused.
            Err(_) => Cache::with(0, bytes as u64, Bytes, FixedState::default(), lifecycle),
        };
        BlockCache { blocks }
    }

    pub(crate) fn get(&self, key: BlockKey) -> Option<Arc<B>> {
        self.blocks.get(&key)
    }

    /// As [`BlockCache::get`], but it counts neither as a use of the block nor in the figures.
    pub(crate) fn peek(&self, key: BlockKey) -> Option<Arc<B>> {
        self.blocks.peek(&key)
    }

    /// Keeps `block`, unless it is too large for a shard.
    pub(crate) fn insert(&self, key: BlockKey, block: Arc<B>) {
        self.blocks.insert(key, block);
    }

    /// Sets how many bytes of blocks it may hold from now on.
    pub(crate) fn set_capacity(&self, bytes: usize) {
        self.blocks.set_capacity(bytes as u64);
    }

    pub(crate) fn stats(&self) -> CacheStats {
        CacheStats {
            capacity_bytes: self.blocks.capacity(),
            bytes: self.blocks.weight(),
            blocks: self.blocks.len(),
            hits: self.blocks.hits(),
            misses: self.blocks.misses(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Item(usize);

    impl Weigh for Item {
        fn weight_bytes(&self) -> usize {
            self.0
        }
    }

    #[test]
    fn what_was_kept_is_found_and_counted() {
        let cache = BlockCache::new(1 << 20);
        assert!(cache.get((1, 0)).is_none());
        cache.insert((1, 0), Arc::new(Item(4_000)));
        assert_eq!(cache.get((1, 0)).unwrap().0, 4_000);
        assert!(cache.get((2, 0)).is_none(), "another file");
        let capacity_bytes = 1 << 20;
        let expected = CacheStats { capacity_bytes, bytes: 4_000, blocks: 1, hits: 1, misses: 2 };
        assert_eq!(cache.stats(), expected);
    }

    #[test]
    fn it_stays_within_its_budget_whatever_comes() {
        for budget in [0, 1, 32 << 10, 1 << 20, 32 << 20] {
            let cache = BlockCache::new(budget);
            for number in 0..20_000 {
                let size = [100, 4_000, 16_000, 40_000, 3 << 20][number % 5];
                cache.insert((number as u64 % 7, number as u64), Arc::new(Item(size)));
                assert!(cache.stats().bytes <= cache.stats().capacity_bytes);
            }
            let stats = cache.stats();
            assert!(stats.capacity_bytes <= budget as u64 + 64, "{stats:?}");
            assert!(stats.bytes >= stats.capacity_bytes / 2 || budget < 100_000, "{stats:?}");
        }
    }

    #[test]
    fn a_scan_does_not_displace_what_is_in_use() {
        let cache = BlockCache::new(4 << 20);
        let hot: Vec<_> = (0..200).map(|number| (1, number)).collect();
        for _ in 0..3 {
            for key in &hot {
                if cache.get(*key).is_none() {
                    cache.insert(*key, Arc::new(Item(4_096)));
                }
            }
        }
        for number in 0..10_000 {
            cache.insert((2, number), Arc::new(Item(4_096)));
        }
        let left = hot.iter().filter(|key| cache.get(**key).is_some()).count();
        assert!(left >= 190, "{left} of 200 are left");
    }
}
