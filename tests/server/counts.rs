//! INFO tells how many keys each database has, whatever became of them since.

use super::admin::request;
use super::harness::{Client, Harness, settings};

impl Client {
    /// The lines of INFO's section on databases, without `avg_ttl`.
    #[track_caller]
    fn databases(&mut self) -> Vec<String> {
        let text = self.bulk("INFO keyspace");
        let lines = text.lines().filter_map(|line| line.strip_suffix(",avg_ttl=0"));
        lines.map(str::to_owned).collect()
    }

    /// Sets keys in one pipeline.
    #[track_caller]
    fn set_many(&mut self, numbers: std::ops::Range<u32>, options: &str) {
        let mut requests = Vec::new();
        for number in numbers.clone() {
            requests.extend(request(&format!("SET key:{number} value{options}")));
        }
        self.send(requests);
        self.expect("+OK\r\n".repeat(numbers.len()));
    }
}

fn start() -> (Harness, Client) {
    let harness = Harness::start();
    let client = Client::connect(harness.address);
    (harness, client)
}

#[test]
fn a_database_is_listed_if_and_only_if_it_holds_a_key() {
    let (harness, mut client) = start();
    assert!(client.databases().is_empty());
    client.say("SELECT 15", "+OK");
    client.say("SET a 1", "+OK");
    client.say("SELECT 0", "+OK");
    assert_eq!(client.databases(), ["db15:keys=1,expires=0"]);
    client.set_many(0..1_000, "");
    assert_eq!(client.databases(), ["db0:keys=1000,expires=0", "db15:keys=1,expires=0"]);
    client.say("COMPACT", "+OK_COMPACTED");
    assert_eq!(client.databases(), ["db0:keys=1000,expires=0", "db15:keys=1,expires=0"]);
    client.say("SWAPDB 0 3", "+OK");
    assert_eq!(client.databases(), ["db3:keys=1000,expires=0", "db15:keys=1,expires=0"]);
    client.say("SELECT 15", "+OK");
    client.say("DEL a", ":1");
    assert_eq!(client.databases(), ["db3:keys=1000,expires=0"]);
    client.say("FLUSHALL", "+OK");
    assert!(client.databases().is_empty());
    client.say("SET b 1", "+OK");
    assert_eq!(client.databases(), ["db15:keys=1,expires=0"]);
    harness.stop();
}

#[test]
fn keys_that_expire_are_counted_wherever_they_are() {
    let (harness, mut client) = start();
    client.set_many(0..300, "");
    client.set_many(200..500, " EX 100");
    assert_eq!(client.databases(), ["db0:keys=500,expires=300"]);
    client.say("COMPACT", "+OK_COMPACTED");
    assert_eq!(client.databases(), ["db0:keys=500,expires=300"]);
    client.set_many(100..300, "");
    assert_eq!(client.databases(), ["db0:keys=500,expires=200"]);
    let storage = harness.storage.clone();
    harness.stop();
    let harness = Harness::start_with(storage, settings());
    let mut client = Client::connect(harness.address);
    assert_eq!(client.databases(), ["db0:keys=500,expires=200"]);
    harness.stop();
}

/// The first count finds few keys; those that came in between are not left out of the next.
#[test]
fn many_new_keys_are_seen_at_once() {
    let (harness, mut client) = start();
    client.set_many(0..10, "");
    assert_eq!(client.databases(), ["db0:keys=10,expires=0"]);
    client.set_many(0..120_000, "");
    let line = client.databases().remove(0);
    let keys = line.strip_prefix("db0:keys=").and_then(|rest| rest.split(',').next());
    let keys: u32 = keys.unwrap().parse().unwrap();
    assert!(keys.abs_diff(120_000) <= 12_000, "{line}");
    client.say("FLUSHDB", "+OK");
    client.set_many(0..11_000, "");
    assert_eq!(client.databases(), ["db0:keys=11000,expires=0"]);
    harness.stop();
}

#[test]
fn a_transaction_may_ask_as_well_and_memory_stats_too() {
    let (harness, mut client) = start();
    client.say("MULTI", "+OK");
    client.say("SET k v", "+QUEUED");
    client.say("INFO keyspace", "+QUEUED");
    client.say("MEMORY STATS", "+QUEUED");
    client.say("INFO keyspace", "+QUEUED");
    client.send(request("EXEC"));
    client.expect("*4\r\n+OK\r\n");
    harness.stop();
}
