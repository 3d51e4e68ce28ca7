//! The `redis` crate on Chronos, as programs use it: nothing here knows that it is not Redis.
//!
//! Each test runs in RESP2 and RESP3, and on a `redis-server` too where there is one: an assertion
//! that Redis does not meet would say nothing.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{
    Client, Commands, Connection, ErrorKind, ExistenceCheck, Expiry, IntegerReplyOrNoOp, PushKind,
    RedisError, RedisResult, ScanOptions, ServerErrorKind, SetExpiry, SetOptions, Value,
};

use crate::servers;

/// How long something may take that must happen.
const PATIENCE: Duration = Duration::from_mins(1);

/// Runs a check on empty servers.
fn everywhere(check: impl Fn(&Client)) {
    for server in [Some(servers::chronos()), servers::reference()].into_iter().flatten() {
        for protocol in ["resp2", "resp3"] {
            let address = server.address;
            let client = Client::open(format!("redis://{address}/?protocol={protocol}")).unwrap();
            let _: () = connect(&client).flushall().unwrap();
            check(&client);
        }
    }
}

/// [`everywhere`], for a check that has one connection.
fn on_a_connection(check: impl Fn(&mut Connection)) {
    everywhere(|client| check(&mut connect(client)));
}

fn connect(client: &Client) -> Connection {
    let connection = client.get_connection().unwrap();
    connection.set_read_timeout(Some(PATIENCE)).unwrap();
    connection
}

fn eventually(mut condition: impl FnMut() -> bool) {
    let start = Instant::now();
    while !condition() {
        assert!(start.elapsed() < PATIENCE, "it never happened");
        std::thread::sleep(Duration::from_millis(5));
    }
}

#[track_caller]
fn error<T>(result: RedisResult<T>) -> RedisError {
    match result {
        Ok(_) => panic!("answered, where an error is due"),
        Err(error) => error,
    }
}

#[test]
fn values_are_written_and_read() {
    on_a_connection(|c| {
        let _: () = c.set("a", 42).unwrap();
        assert_eq!(c.get::<_, i64>("a").unwrap(), 42);
        assert_eq!(c.get::<_, Option<String>>("none").unwrap(), None);
        assert_eq!(c.incr::<_, _, i64>("a", 8).unwrap(), 50);
        assert_eq!(c.incr::<_, _, String>("a", 0.25).unwrap(), "50.25");
        assert_eq!(c.append::<_, _, u64>("s", "abc").unwrap(), 3);
        assert_eq!(c.getrange::<_, String>("s", -2, -1).unwrap(), "bc");
        let _: () = c.mset(&[("x", "1"), ("y", "2")]).unwrap();
        let all: Vec<Option<String>> = c.mget(&["x", "none", "y"]).unwrap();
        assert_eq!(all, [Some("1".into()), None, Some("2".into())]);
        assert!(!c.mset_nx::<_, _, bool>(&[("y", "3"), ("z", "3")]).unwrap());
        assert_eq!(c.del::<_, u64>(&["x", "y", "none"]).unwrap(), 2);
        assert!(c.rename_nx::<_, _, bool>("s", "t").unwrap());
        assert!(c.exists::<_, bool>("t").unwrap());
        assert_eq!(c.key_type::<_, String>("t").unwrap(), "string");
        assert!(!c.setbit::<_, bool>("bits", 9, true).unwrap());
        assert_eq!(c.bitcount::<_, u64>("bits").unwrap(), 1);
        assert_eq!(c.get_del::<_, String>("t").unwrap(), "abc");
    });
}

#[test]
fn options_of_set_hold() {
    on_a_connection(|c| {
        let only_new = SetOptions::default().conditional_set(ExistenceCheck::NX);
        let mut set = |value: &str, options: SetOptions| {
            c.set_options::<_, _, Value>("a", value, options).unwrap()
        };
        assert_eq!(set("1", only_new.clone()), Value::Okay);
        assert_eq!(set("2", only_new), Value::Nil);
        let expiring = SetOptions::default().with_expiration(SetExpiry::EX(1000)).get(true);
        assert_eq!(set("3", expiring), Value::BulkString(b"1".to_vec()));
        let keeping = SetOptions::default().with_expiration(SetExpiry::KEEPTTL);
        assert_eq!(set("4", keeping), Value::Okay);
        let left: i64 = c.ttl("a").unwrap();
        assert!((1..=1000).contains(&left), "{left}");
    });
}

#[test]
fn keys_expire() {
    on_a_connection(|c| {
        let _: () = c.set_ex("a", "x", 1000).unwrap();
        assert_eq!(c.get_ex::<_, String>("a", Expiry::PERSIST).unwrap(), "x");
        assert_eq!(c.ttl::<_, i64>("a").unwrap(), -1);
        assert_eq!(c.ttl::<_, i64>("none").unwrap(), -2);
        assert!(c.expire_at::<_, bool>("a", 33_177_117_420).unwrap());
        let at: IntegerReplyOrNoOp = c.expire_time("a").unwrap();
        assert_eq!(at, IntegerReplyOrNoOp::IntegerReply(33_177_117_420));
        assert!(c.persist::<_, bool>("a").unwrap());
        assert!(c.pexpire::<_, bool>("a", 20).unwrap());
        eventually(|| !c.exists::<_, bool>("a").unwrap());
        assert_eq!(c.get::<_, Option<String>>("a").unwrap(), None);
        assert!(!c.expire::<_, bool>("a", 10).unwrap());
    });
}

#[test]
fn bytes_stay_as_they_are() {
    on_a_connection(|c| {
        let all: Vec<u8> = (0..=255).collect();
        for key in [b"".to_vec(), b"\r\n".to_vec(), b"\0\xff".to_vec(), all.clone()] {
            let value = [all.as_slice(), b"\r\n$-1\r\n", key.as_slice()].concat().repeat(50);
            let _: () = c.set(&key, &value).unwrap();
            assert_eq!(c.get::<_, Vec<u8>>(&key).unwrap(), value);
        }
        let large: Vec<u8> = (0..2_000_000_u32).map(|at| (at % 251) as u8).collect();
        let _: () = c.set("large", &large).unwrap();
        assert_eq!(c.get::<_, Vec<u8>>("large").unwrap(), large);
    });
}

#[test]
fn errors_have_their_kinds() {
    on_a_connection(|c| {
        let _: () = c.set("a", "text").unwrap();
        let not_a_number = error(c.incr::<_, _, i64>("a", 1));
        assert_eq!(not_a_number.kind(), ErrorKind::Server(ServerErrorKind::ResponseError));
        assert!(not_a_number.to_string().contains("not an integer"), "{not_a_number}");
        let unknown = error(redis::cmd("NOSUCH").arg("a").exec(c));
        assert!(unknown.to_string().contains("unknown command"), "{unknown}");
        let protocol = error(redis::cmd("HELLO").arg(9).exec(c));
        assert_eq!(protocol.code(), Some("NOPROTO"));
        let no_transaction = error(redis::cmd("EXEC").exec(c));
        assert!(no_transaction.to_string().contains("EXEC without MULTI"), "{no_transaction}");
        // The connection is as good as before.
        assert_eq!(c.get::<_, String>("a").unwrap(), "text");
    });
}

#[test]
fn pipelines_keep_their_order() {
    on_a_connection(|c| {
        let mut pipe = redis::pipe();
        for number in 0..2000 {
            pipe.set(format!("key:{number}"), number).ignore();
            pipe.get(format!("key:{number}"));
        }
        let numbers: Vec<u64> = pipe.query(c).unwrap();
        assert!(numbers.into_iter().eq(0..2000));

        let mut atomic = redis::pipe();
        atomic.atomic().set("a", 1).ignore().incr("a", 1).get("a");
        assert_eq!(atomic.query::<(i64, String)>(c).unwrap(), (2, "2".into()));

        let mut broken = redis::pipe();
        broken.atomic().set("a", "never").cmd("GET");
        assert!(broken.query::<Value>(c).is_err());
        assert_eq!(c.get::<_, i64>("a").unwrap(), 2);
    });
}

#[test]
fn check_and_set_from_several_threads_counts_right() {
    const THREADS: usize = 4;
    const EACH: usize = 50;
    everywhere(|client| {
        let _: () = connect(client).set("count", 0).unwrap();
        std::thread::scope(|scope| {
            for _ in 0..THREADS {
                scope.spawn(|| {
                    let mut c = connect(client);
                    for _ in 0..EACH {
                        let _: (i64,) = redis::transaction(&mut c, &["count"], |c, pipe| {
                            let count: i64 = c.get("count")?;
                            pipe.set("count", count + 1).ignore().get("count").query(c)
                        })
                        .unwrap();
                    }
                });
            }
        });
        assert_eq!(connect(client).get::<_, usize>("count").unwrap(), THREADS * EACH);
    });
}

#[test]
fn a_changed_watched_key_stops_the_transaction() {
    everywhere(|client| {
        let (mut c, mut other) = (connect(client), connect(client));
        let _: () = c.set("a", 1).unwrap();
        redis::cmd("WATCH").arg("a").exec(&mut c).unwrap();
        let _: () = other.set("a", 2).unwrap();
        let mut pipe = redis::pipe();
        let done: Option<(i64,)> = pipe.atomic().incr("a", 10).query(&mut c).unwrap();
        assert_eq!(done, None);
        assert_eq!(c.get::<_, i64>("a").unwrap(), 2);
    });
}

#[test]
fn published_messages_arrive() {
    everywhere(|client| {
        let (mut subscriber, mut publisher) = (connect(client), connect(client));
        let mut pubsub = subscriber.as_pubsub();
        pubsub.set_read_timeout(Some(PATIENCE)).unwrap();
        pubsub.subscribe("news").unwrap();
        pubsub.psubscribe("n?ws*").unwrap();
        assert_eq!(publisher.publish::<_, _, u64>("news", "hello").unwrap(), 2);
        let mut patterns = BTreeSet::new();
        for _ in 0..2 {
            let message = pubsub.get_message().unwrap();
            assert_eq!(message.get_channel_name(), "news");
            assert_eq!(message.get_payload::<String>().unwrap(), "hello");
            patterns.insert(message.get_pattern::<Option<String>>().unwrap());
        }
        assert_eq!(patterns, [None, Some("n?ws*".to_owned())].into());
        pubsub.unsubscribe("news").unwrap();
        pubsub.punsubscribe("n?ws*").unwrap();
        assert_eq!(publisher.publish::<_, _, u64>("news", "nobody").unwrap(), 0);
    });
}

#[test]
fn pushes_come_between_replies_in_resp3() {
    for server in [Some(servers::chronos()), servers::reference()].into_iter().flatten() {
        let client = Client::open(format!("redis://{}/?protocol=resp3", server.address)).unwrap();
        let (mut c, mut publisher) = (connect(&client), connect(&client));
        let (sender, pushes) = std::sync::mpsc::channel();
        c.set_push_sender(sender);
        c.subscribe_resp3("news").unwrap();
        eventually(|| publisher.publish::<_, _, u64>("news", "hello").unwrap() == 1);
        // One connection both subscribes and asks.
        let _: () = c.set("a", "1").unwrap();
        assert_eq!(c.get::<_, String>("a").unwrap(), "1");
        assert_eq!(pushes.recv_timeout(PATIENCE).unwrap().kind, PushKind::Subscribe);
        let message = pushes.recv_timeout(PATIENCE).unwrap();
        assert_eq!(message.kind, PushKind::Message);
        assert_eq!(message.data[1], Value::BulkString(b"hello".to_vec()));
    }
}

#[test]
fn iterations_find_all_keys() {
    on_a_connection(|c| {
        let keys: BTreeSet<String> = (0..500).map(|number| format!("user:{number}")).collect();
        let pairs: Vec<(&String, u8)> = keys.iter().map(|key| (key, 1)).collect();
        let _: () = c.mset(&pairs).unwrap();
        let _: () = c.set("other", 1).unwrap();
        let found: BTreeSet<String> = c.scan().unwrap().map(Result::unwrap).collect();
        assert_eq!(found.len(), 501);
        let found: BTreeSet<String> = c.scan_match("user:*").unwrap().map(Result::unwrap).collect();
        assert_eq!(found, keys);
        let options = ScanOptions::default().with_count(1000).with_type("hash");
        let found: Vec<String> = c.scan_options(options).unwrap().map(Result::unwrap).collect();
        assert_eq!(found, [""; 0]);
        let listed: BTreeSet<String> = c.keys("user:49?").unwrap();
        assert_eq!(listed, (490..500).map(|number| format!("user:{number}")).collect());
    });
}

#[test]
fn databases_are_apart() {
    everywhere(|client| {
        let mut c = connect(client);
        let _: () = c.set("a", 0).unwrap();
        redis::cmd("SELECT").arg(5).exec(&mut c).unwrap();
        assert!(!c.exists::<_, bool>("a").unwrap());
        let _: () = c.set("a", 5).unwrap();
        let mut other = connect(client);
        assert_eq!(other.get::<_, i64>("a").unwrap(), 0);
        let info: redis::InfoDict = redis::cmd("INFO").arg("keyspace").query(&mut other).unwrap();
        let space: String = info.get("db5").unwrap();
        assert!(space.starts_with("keys=1,expires=0"), "{space}");
    });
}

#[test]
fn one_connection_serves_many_tasks() {
    everywhere(|client| {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let c = client.get_multiplexed_async_connection().await.unwrap();
            let tasks: Vec<_> = (0..100).map(|task| tokio::spawn(count(c.clone(), task))).collect();
            for task in tasks {
                task.await.unwrap();
            }
        });
    });
}

/// Counts to twenty, each number being the reply to its own command.
async fn count(mut c: MultiplexedConnection, task: u64) {
    use redis::AsyncCommands;
    for number in 1..=20 {
        let reply: u64 = c.incr(format!("task:{task}"), 1).await.unwrap();
        assert_eq!(reply, number);
    }
}
