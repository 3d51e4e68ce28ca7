//! Where memory goes.
//!
//! What is used is what the system had given the process when it was ready to serve, with the program
//! itself, and what was accounted for since: memtables with their indexes, cached blocks, filters, the
//! indexes of tables, buffers of clients. What the process has in RAM beyond that is the allocator's:
//! freed and not given back, or lost between what is in use. It cannot have less, so what is accounted
//! for and was never touched does not count.

use crate::engine::Stats as EngineStats;

use super::super::client::Client;
use super::super::dispatch::Services;
use super::super::expiries::Expiries;

/// What the process has in RAM, in bytes; all zero where the system does not tell.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
struct Resident {
    all: u64,
    /// Of files: the program.
    of_files: u64,
}

impl Resident {
    fn now() -> Self {
        let text = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
        let bytes = |name| kib_in(&text, name).unwrap_or(0) * 1024;
        Resident { all: bytes("VmRSS:"), of_files: bytes("RssFile:") }
    }
}

/// A number of KiB that a text of the system's has.
fn kib_in(text: &str, name: &str) -> Option<u64> {
    let line = text.lines().find_map(|line| line.strip_prefix(name))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}

/// The memory of the machine, in bytes; 0 where the system does not tell.
pub(super) fn of_the_system() -> u64 {
    let text = std::fs::read_to_string("/proc/meminfo").unwrap_or_default();
    kib_in(&text, "MemTotal:").unwrap_or(0) * 1024
}

/// What there is beside the program and what is accounted for, in bytes: stacks, buffers, tables of the
/// server's own. Measured when it is ready to serve.
pub(crate) fn unaccounted(engine: &EngineStats) -> u64 {
    let resident = Resident::now();
    (resident.all - resident.of_files).saturating_sub(Accounted::of(engine, 0, 0).sum())
}

/// What is accounted for, in bytes.
#[derive(Debug, Clone, Copy, Default)]
struct Accounted {
    /// Memtables and cached blocks.
    data: u64,
    /// Filters and indexes of tables, and the index of what expires.
    indexes: u64,
    clients: u64,
}

impl Accounted {
    fn of(engine: &EngineStats, expiries: u64, clients: u64) -> Self {
        Accounted {
            data: engine.memtables_bytes as u64 + engine.cache.bytes,
            indexes: (engine.filter_bytes + engine.index_bytes) as u64 + expiries,
            clients,
        }
    }

    fn sum(self) -> u64 {
        self.data + self.indexes + self.clients
    }
}

/// Where memory goes, in bytes.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    /// See the module.
    pub(crate) used: u64,
    /// The most that was seen so far.
    pub(crate) peak: u64,
    /// Of the process, in RAM; 0 where the system does not tell.
    pub(crate) resident: u64,
    /// Of what is used: the program and what it takes without data and clients.
    pub(crate) fixed: u64,
    /// Of what is used: filters and indexes.
    pub(crate) indexes: u64,
    /// Of what is used: the clients' buffers and what is known of them.
    pub(crate) clients: u64,
}

impl Memory {
    pub(super) fn measure(engine: &EngineStats, services: &mut Services<'_>) -> Self {
        let known = size_of::<Client>() * services.stats.connections;
        let clients = (known + services.holdings.total_and_peak().0) as u64;
        let expiries = services.keyspace.expiries.as_ref().map_or(0, Expiries::bytes) as u64;
        let accounted = Accounted::of(engine, expiries, clients);
        let memory = Self::of(Resident::now(), services.stats.unaccounted_bytes, accounted);
        services.stats.peak_bytes = services.stats.peak_bytes.max(memory.used);
        Memory { peak: services.stats.peak_bytes, ..memory }
    }

    fn of(resident: Resident, unaccounted: u64, accounted: Accounted) -> Self {
        let fixed = resident.of_files + unaccounted;
        let sum = fixed + accounted.sum();
        let used = if resident.all == 0 { sum } else { sum.min(resident.all) };
        let Accounted { indexes, clients, .. } = accounted;
        Memory { used, peak: used, resident: resident.all, fixed, indexes, clients }
    }

    /// What is used for anything but data.
    pub(crate) fn overhead(&self) -> u64 {
        (self.fixed + self.indexes + self.clients).min(self.used)
    }

    /// What is used for data: recent writes and cached blocks.
    pub(crate) fn dataset(&self) -> u64 {
        self.used - self.overhead()
    }

    /// What the process has in RAM for each byte that is used.
    pub(crate) fn fragmentation(&self) -> f64 {
        ratio(self.resident, self.used)
    }
}

#[expect(clippy::cast_precision_loss, reason = "a ratio needs no more than 53 bits")]
pub(super) fn ratio(a: u64, b: u64) -> f64 {
    if b == 0 { 0.0 } else { a as f64 / b as f64 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_used_is_what_is_known_and_never_more_than_there_is() {
        let resident = Resident { all: 1000, of_files: 300 };
        let accounted = Accounted { data: 400, indexes: 50, clients: 10 };
        let memory = Memory::of(resident, 140, accounted);
        assert_eq!((memory.used, memory.overhead(), memory.dataset()), (900, 500, 400));
        assert!((memory.fragmentation() - 1.111).abs() < 0.001);
        let untouched = Accounted { data: 4000, ..accounted };
        let memory = Memory::of(resident, 140, untouched);
        assert_eq!((memory.used, memory.dataset()), (1000, 500));
        let unknown = Memory::of(Resident::default(), 0, accounted);
        assert_eq!((unknown.used, unknown.dataset()), (460, 400));
        assert!(unknown.fragmentation().abs() < f64::EPSILON);
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn the_system_tells_memory() {
        let Resident { all, of_files } = Resident::now();
        assert!(all > 100_000 && of_files > 100_000 && of_files < all);
        assert!(of_the_system() > 1_000_000);
    }
}
