"""Redis clients and tools against any server: the same checks for each of them.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install redis
    /tmp/venv/bin/python tests/compat/clients.py --server chronos=127.0.0.1:6380 --server redis=127.0.0.1:6379

The first part uses redis-py in RESP2 and RESP3, the second redis-cli and redis-benchmark, where these
are installed (CHRONOS_REQUIRE_REDIS makes them required). Each check empties the server first: never
point this at a server with data. The exit code is 1 if a check failed; each failure is named.

A check never waits for a moment, only for an event, with PATIENCE seconds at most.
"""

import argparse
import functools
import json
import os
import shutil
import subprocess
import sys
import threading
import time
import traceback

import redis
from redis.exceptions import DataError, RedisError, ResponseError, WatchError

PATIENCE = 20.0

LIBRARY_CHECKS = []
TOOL_CHECKS = []


def library(check):
    """A check of redis-py: gets a function that makes clients."""
    LIBRARY_CHECKS.append(check)
    return check


def tool(check):
    """A check of Redis's own programs: gets host and port."""
    TOOL_CHECKS.append(check)
    return check


def equal(found, expected):
    if found != expected or type(found) is not type(expected):
        raise AssertionError(f"found {found!r}, expected {expected!r}")


def true(condition, what):
    if not condition:
        raise AssertionError(what)


def refused(call, *words):
    """The call is answered by an error that has these words."""
    try:
        found = call()
    except RedisError as error:
        for word in words:
            true(word in str(error), f"the error {error} lacks {word!r}")
        return
    raise AssertionError(f"answered {found!r}, expected an error")


def eventually(condition, what):
    end = time.monotonic() + PATIENCE
    while not condition():
        true(time.monotonic() < end, f"never happened: {what}")
        time.sleep(0.01)


# --- redis-py ---


@library
def connects_and_answers(client):
    r = client()
    equal(r.ping(), True)
    equal(r.echo("hello"), b"hello")
    equal(r.client_id() > 0, True)
    equal(r.time()[0] > 1_600_000_000, True)
    named = client(client_name="compat")
    equal(named.client_getname() in ("compat", b"compat"), True)
    other = client(db=3)
    other.set("a", 1)
    equal(r.exists("a"), 0)
    equal(other.dbsize(), 1)


@library
def strings(client):
    r = client()
    equal(r.set("a", "1"), True)
    equal(r.get("a"), b"1")
    equal(r.get("missing"), None)
    equal(r.set("a", "2", nx=True), None)
    equal(r.set("a", "2", xx=True), True)
    equal(r.set("a", "3", get=True), b"2")
    equal(r.setnx("b", "x"), True)
    equal(r.setnx("b", "x"), False)
    equal(r.incr("a"), 4)
    equal(r.incrby("a", 10), 14)
    equal(r.decrby("a", 4), 10)
    equal(r.incrbyfloat("a", 0.5), 10.5)
    equal(r.append("b", "yz"), 3)
    equal(r.strlen("b"), 3)
    equal(r.getrange("b", 1, -1), b"yz")
    equal(r.setrange("b", 1, "--"), 3)
    equal(r.getset("b", "new"), b"x--")
    equal(r.getdel("b"), b"new")
    equal(r.getdel("b"), None)
    equal(r.mset({"m1": "1", "m2": "2"}), True)
    equal(r.mget("m1", "none", "m2"), [b"1", None, b"2"])
    equal(r.msetnx({"m1": "1", "m3": "3"}), False)
    equal(r.mget(["m3"]), [None])
    equal(r.substr("m1", 0, -1), b"1")
    r.mset({"l1": "ohmytext", "l2": "mynewtext"})
    equal(r.lcs("l1", "l2"), b"mytext")
    equal(r.lcs("l1", "l2", len=True), 6)
    refused(lambda: r.incr("l1"), "not an integer")
    refused(lambda: r.execute_command("SET", "a"), "wrong number of arguments for 'set' command")
    refused(lambda: r.execute_command("NOSUCH", "a"), "unknown command")


@library
def decodes_responses(client):
    r = client(decode_responses=True)
    r.set("ключ", "значение")
    equal(r.get("ключ"), "значение")
    equal(r.keys("к*"), ["ключ"])
    equal(r.mget("ключ", "x"), ["значение", None])


@library
def keeps_bytes(client):
    r = client()
    everything = bytes(range(256)) * 20
    for key in (b"", b"\r\n", b"\x00\xff", everything[:300]):
        equal(r.set(key, everything), True)
        equal(r.get(key), everything)
    large = os.urandom(3 << 20)
    r.set("large", large)
    equal(r.get("large"), large)


@library
def pipelines(client):
    r = client()
    with r.pipeline(transaction=False) as pipe:
        for number in range(1000):
            pipe.set(f"key:{number}", number)
        equal(pipe.execute(), [True] * 1000)
    with r.pipeline(transaction=False) as pipe:
        pipe.get("key:7").incr("key:7").execute_command("NOSUCH").get("key:7")
        replies = pipe.execute(raise_on_error=False)
    equal(replies[:2] + replies[3:], [b"7", 8, b"8"])
    true(isinstance(replies[2], ResponseError), replies[2])


@library
def transactions(client):
    r = client()
    with r.pipeline() as pipe:
        equal(pipe.set("a", 1).incr("a").get("a").execute(), [True, 2, b"2"])
    with r.pipeline() as pipe:
        replies = pipe.set("a", "x").incr("a").set("b", 1).execute(raise_on_error=False)
    true(isinstance(replies[1], ResponseError), replies)
    equal(r.get("b"), b"1")
    with r.pipeline() as pipe:
        pipe.set("a", "never").execute_command("GET")
        try:
            pipe.execute()
            raise AssertionError("a transaction with an error in it was run")
        except ResponseError as error:
            true("wrong number of arguments" in str(error), error)
    equal(r.get("a"), b"x")


@library
def watch(client):
    r, other = client(), client()
    r.set("a", 1)
    with r.pipeline() as pipe:
        pipe.watch("a")
        equal(pipe.get("a"), b"1")
        other.set("a", 2)
        pipe.multi()
        pipe.set("a", 3)
        try:
            pipe.execute()
            raise AssertionError("a watched key changed, and the transaction was run")
        except WatchError:
            pass
    equal(r.get("a"), b"2")
    with r.pipeline() as pipe:
        pipe.watch("a")
        pipe.unwatch()
        other.set("a", 5)
        pipe.multi()
        equal(pipe.set("a", 6).execute(), [True])


@library
def transaction_function_counts_right(client):
    client().set("count", 0)

    def add(times):
        r = client()

        def increment(pipe):
            value = int(pipe.get("count"))
            pipe.multi()
            pipe.set("count", value + 1)

        for _ in range(times):
            r.transaction(increment, "count")

    threads = [threading.Thread(target=add, args=(50,)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    equal(client().get("count"), b"200")


@library
def publishes_and_subscribes(client):
    r = client()
    pubsub = r.pubsub()
    pubsub.subscribe("news")
    pubsub.psubscribe("n*")
    kinds = []
    eventually(lambda: collect(pubsub, kinds) >= 2, "both subscriptions")
    equal([(m["type"], m["channel"], m["data"]) for m in kinds],
          [("subscribe", b"news", 1), ("psubscribe", b"n*", 2)])
    equal(r.pubsub_channels(), [b"news"])
    equal(r.pubsub_numsub("news", "none"), [(b"news", 1), (b"none", 0)])
    equal(r.pubsub_numpat(), 1)
    equal(r.publish("news", "hello"), 2)
    messages = []
    eventually(lambda: collect(pubsub, messages) >= 2, "both messages")
    equal(sorted((m["type"], m["pattern"], m["data"]) for m in messages),
          [("message", None, b"hello"), ("pmessage", b"n*", b"hello")])
    pubsub.unsubscribe()
    pubsub.punsubscribe()
    gone = []
    eventually(lambda: collect(pubsub, gone) >= 2, "both ends")
    equal(r.publish("news", "nobody"), 0)
    pubsub.close()


def collect(pubsub, messages):
    message = pubsub.get_message(timeout=0.05)
    if message is not None:
        messages.append(message)
    return len(messages)


@library
def pubsub_thread(client):
    r = client()
    received = []
    pubsub = r.pubsub(ignore_subscribe_messages=True)
    pubsub.subscribe(jobs=lambda message: received.append(message["data"]))
    thread = pubsub.run_in_thread(sleep_time=0.01)
    try:
        eventually(lambda: r.publish("jobs", "ready") == 1, "a subscriber")
        for number in range(100):
            r.publish("jobs", number)
        eventually(lambda: b"99" in received, "all messages")
        numbers = [data for data in received if data != b"ready"]
        equal(numbers, [str(number).encode() for number in range(100)])
    finally:
        thread.stop()
        thread.join(PATIENCE)


@library
def keyspace_notifications(client):
    r = client()
    before = r.config_get("notify-keyspace-events")["notify-keyspace-events"]
    r.config_set("notify-keyspace-events", "KEA")
    try:
        pubsub = r.pubsub(ignore_subscribe_messages=True)
        pubsub.psubscribe("__key*__:*")
        eventually(lambda: r.pubsub_numpat() == 1, "a subscriber")
        r.set("a", 1)
        r.expire("a", 100)
        r.delete("a")
        r.set("b", 1, px=50)
        messages = []
        eventually(lambda: collect(pubsub, messages) >= 12, "twelve events")
        events = [m["data"] for m in messages if m["channel"].startswith(b"__keyspace@0__")]
        equal(events, [b"set", b"expire", b"del", b"set", b"expire", b"expired"])
        pubsub.close()
    finally:
        r.config_set("notify-keyspace-events", before)


@library
def locks_without_scripts(client):
    """What redis-py's Lock does, with SET NX PX and WATCH: the Lock itself needs EVAL to release."""
    r = client()
    equal(r.set("lock", "me", nx=True, px=60_000), True)
    equal(r.set("lock", "you", nx=True, px=60_000), None)
    lock = r.lock("other", timeout=60)
    equal(lock.acquire(blocking=False), True)
    equal(r.lock("other", timeout=60).acquire(blocking=False), False)
    equal(lock.locked(), True)
    true(0 < r.pttl("other") <= 60_000, "the lock has an expiry")


@library
def scans(client):
    r = client()
    keys = {f"user:{number}".encode() for number in range(500)}
    r.mset({key: 1 for key in keys})
    r.set("other", 1)
    equal(set(r.scan_iter()), keys | {b"other"})
    equal(set(r.scan_iter(match="user:*", count=100)), keys)
    equal(set(r.scan_iter(match="user:1[0-9]")), {f"user:1{n}".encode() for n in range(10)})
    equal(set(r.scan_iter(_type="string")), keys | {b"other"})
    equal(list(r.scan_iter(_type="hash")), [])
    cursor, page = r.scan(0, count=10)
    true(isinstance(cursor, int) and isinstance(page, list), (cursor, page))
    equal(sorted(r.keys("oth??")), [b"other"])
    equal(r.randomkey() in keys | {b"other"}, True)
    equal(r.dbsize(), 501)


@library
def expires(client):
    r = client()
    r.set("a", 1, ex=1000)
    true(0 < r.ttl("a") <= 1000, r.ttl("a"))
    true(0 < r.pttl("a") <= 1_000_000, r.pttl("a"))
    equal(r.persist("a"), True)
    equal(r.ttl("a"), -1)
    equal(r.ttl("none"), -2)
    equal(r.expire("a", 500), True)
    equal(r.expire("a", 600, nx=True), False)
    equal(r.expire("a", 600, gt=True), True)
    equal(r.expire("a", 600_000, lt=True), False)
    equal(r.expire("none", 1), False)
    equal(r.expireat("a", 33_177_117_420), True)
    equal(r.expiretime("a"), 33_177_117_420)
    equal(r.pexpireat("a", 33_177_117_420_001), True)
    equal(r.pexpiretime("a"), 33_177_117_420_001)
    equal(r.getex("a", persist=True), b"1")
    equal(r.pexpiretime("a"), -1)
    r.execute_command("SETEX", "s", 1000, "x")
    r.execute_command("PSETEX", "p", 1_000_000, "x")
    equal(r.get("s") + r.get("p"), b"xx")
    r.set("kept", 1, ex=1000)
    r.set("kept", 2, keepttl=True)
    true(r.ttl("kept") > 0, "KEEPTTL")
    r.set("short", 1, px=30)
    eventually(lambda: r.get("short") is None, "the expiry")
    equal(r.exists("short"), 0)
    r.pexpire("a", 1)
    eventually(lambda: r.exists("a") == 0, "the expiry")
    refused(lambda: r.execute_command("SET", "a", 1, "EX", 0), "invalid expire time")


@library
def keys(client):
    r = client()
    r.mset({"a": 1, "b": 2})
    equal(r.exists("a", "b", "a", "none"), 3)
    equal(r.type("a"), b"string")
    equal(r.type("none"), b"none")
    equal(r.touch("a", "none"), 1)
    equal(r.rename("a", "c"), True)
    equal(r.renamenx("c", "b"), False)
    equal(r.copy("c", "d"), True)
    equal(r.copy("c", "d"), False)
    equal(r.copy("c", "d", replace=True), True)
    equal(r.move("d", 1), True)
    equal(r.unlink("b", "none"), 1)
    equal(r.delete("c"), 1)
    equal(r.object("encoding", "none"), None)
    r.set("n", 5)
    equal(r.object("encoding", "n"), b"int")
    equal(r.swapdb(0, 1), True)
    equal(r.get("d"), b"1")
    equal(r.flushdb(), True)
    equal(r.dbsize(), 0)
    equal(r.flushall(), True)
    refused(lambda: r.rename("none", "x"), "no such key")


@library
def bits(client):
    r = client()
    equal(r.setbit("a", 7, 1), 0)
    equal(r.getbit("a", 7), 1)
    equal(r.bitcount("a"), 1)
    equal(r.bitpos("a", 1), 7)
    r.set("b", b"\xff\x00")
    equal(r.bitop("OR", "dest", "a", "b"), 2)
    equal(r.get("dest"), b"\xff\x00")
    equal(r.bitcount("b", 0, 3, "BIT"), 4)
    field = r.bitfield("f")
    equal(field.set("u8", 0, 200).get("u8", 0).incrby("u8", 0, 100, "SAT").execute(), [0, 200, 255])
    equal(r.bitfield("f", "FAIL").incrby("u8", 0, 1).execute(), [None])
    equal(r.bitfield_ro("f", "u8", 0), [255])


@library
def client_commands(client):
    r = client(client_name="lister")
    listed = r.client_list()
    mine = [entry for entry in listed if entry["name"] == "lister"]
    true(mine, listed)
    for field in ("id", "addr", "age", "idle", "db", "cmd"):
        true(field in mine[0], f"CLIENT LIST has no {field}: {mine[0]}")
    equal(int(r.client_info()["id"]), r.client_id())
    equal(r.client_setname("renamed"), True)
    equal(r.client_getname() in ("renamed", b"renamed"), True)
    victim = client()
    number = victim.client_id()
    equal(r.client_kill_filter(_id=number), 1)
    true(victim.client_id() != number, "the killed connection still answers")
    refused(lambda: r.client_kill("127.0.0.1:1"), "No such client")


@library
def server_information(client):
    r = client()
    r.set("a", 1, ex=1000)
    r.set("b", 1)
    info = r.info()
    for field in (
        "redis_version", "redis_mode", "process_id", "tcp_port", "uptime_in_seconds",
        "connected_clients", "used_memory", "used_memory_human", "used_memory_rss", "maxmemory",
        "total_connections_received", "total_commands_processed", "instantaneous_ops_per_sec",
        "keyspace_hits", "keyspace_misses", "expired_keys", "evicted_keys", "role",
        "connected_slaves", "loading", "rdb_last_save_time", "aof_enabled", "used_cpu_sys",
        "used_cpu_user", "cluster_enabled",
    ):
        true(field in info, f"INFO has no {field}")
    equal(info["loading"], 0)
    equal(info["role"], "master")
    equal(info["db0"]["keys"], 2)
    equal(info["db0"]["expires"], 1)
    true(info["used_memory"] > 0, info["used_memory"])
    true(tuple(int(part) for part in str(info["redis_version"]).split(".")) >= (6, 2), "a version")
    equal("db0" in r.info("keyspace"), True)
    equal("redis_version" in r.info("keyspace"), False)
    before = r.info("stats")
    r.get("a"), r.get("none")
    after = r.info("stats")
    equal(after["keyspace_hits"] - before["keyspace_hits"], 1)
    equal(after["keyspace_misses"] - before["keyspace_misses"], 1)


@library
def configuration(client):
    r = client()
    config = r.config_get("*")
    for name in ("maxmemory", "databases", "save", "appendonly", "timeout", "maxmemory-policy"):
        true(name in config, f"CONFIG GET * has no {name}")
    equal(r.config_get("databases"), {"databases": config["databases"]})
    equal(r.config_get("nosuch"), {})
    equal(r.config_resetstat(), True)
    refused(lambda: r.config_set("nosuch", 1), "Unknown option")


@library
def commands_are_described(client):
    r = client()
    true(r.command_count() > 90, r.command_count())
    commands = r.command()
    equal(commands["get"]["arity"], 2)
    equal(commands["get"]["first_key_pos"], 1)
    equal(commands["mset"]["step_count"], 2)
    # redis-py has no method for this one; its answer is a map in RESP3 and a flat list in RESP2.
    docs = r.execute_command("COMMAND DOCS", "GET")
    fields = docs[b"get"] if isinstance(docs, dict) else docs[1]
    for field in (b"summary", b"since", b"group"):
        true(field in fields, f"COMMAND DOCS has no {field}: {docs}")
    true(r.command_getkeys("MSET", "a", 1, "b", 2) in (["a", "b"], [b"a", b"b"]), "the keys of MSET")
    true(b"get" in r.command_list(), "COMMAND LIST has no get")


@library
def monitors(client):
    r = client()
    with r.monitor() as monitor:
        r.set("watched key", 'a "value"')
        for _ in range(100):
            seen = monitor.next_command()
            if seen["command"].upper().startswith("SET"):
                break
        equal(seen["command"], 'SET watched key a "value"')
        equal(seen["db"], 0)
        true(seen["client_address"], seen)


@library
def refuses_what_redis_refuses(client):
    r = client()
    refused(lambda: r.execute_command("AUTH", "x"), "without any password configured")
    refused(lambda: r.execute_command("SELECT", 99), "out of range")
    refused(lambda: r.execute_command("HELLO", 9), "unsupported protocol version")
    refused(lambda: r.execute_command("EXPIRE", "a", "soon"), "not an integer")
    refused(lambda: r.execute_command("CLIENT", "NOSUCH"), "unknown subcommand")
    try:
        r.set("a", {})
        raise AssertionError("redis-py sent a dictionary")
    except DataError:
        pass


@library
def many_connections(client):
    clients = [client() for _ in range(100)]
    for number, r in enumerate(clients):
        r.set(f"c{number}", number)
    equal([int(r.get(f"c{number}")) for number, r in enumerate(clients)], list(range(100)))
    for r in clients:
        r.close()


@library
def long_pipelines(client):
    """redis-py sends everything before it reads: here 9 MB, for 92 MB of replies."""
    r = client()
    value, large = b"v" * 300, b"l" * (12 << 20)
    r.mset({"k": value, "large": large})
    for transaction in (False, True):
        with r.pipeline(transaction=transaction) as pipe:
            for _ in range(300_000):
                pipe.get("k")
            begun = time.monotonic()
            replies = pipe.execute()
        true(time.monotonic() - begun < 6 * PATIENCE, "a pipeline takes minutes")
        equal((len(replies), set(replies)), (300_000, {value}))
    with r.pipeline(transaction=False) as pipe:
        pipe.get("large").set("other", large).get("other")
        equal(pipe.execute(), [large, True, large])


# --- redis-cli, redis-benchmark ---


def run(*command, stdin=None, patience=120):
    done = subprocess.run(command, input=stdin, capture_output=True, timeout=patience, check=False)
    output = done.stdout.decode(errors="replace")
    what = f"{' '.join(command)}: {output[-400:]}{done.stderr.decode(errors='replace')[-400:]}"
    equal((done.returncode, what), (0, what))
    return output


def cli(host, port, *words, **options):
    return run("redis-cli", "-h", host, "-p", str(port), *words, **options)


def fill(host, port, count):
    lines = "".join(f"SET key:{number:05} {'x' * (number % 99 + 1)}\r\n" for number in range(count))
    cli(host, port, "--pipe", stdin=lines.encode())


@tool
def cli_speaks_both_protocols(host, port):
    for flag in ("-2", "-3"):
        equal(cli(host, port, flag, "SET", "a", "1"), "OK\n")
        equal(cli(host, port, flag, "GET", "a"), "1\n")
        equal(cli(host, port, flag, "-n", "2", "EXISTS", "a"), "0\n")
    equal(cli(host, port, "-3", "--no-raw", "HELLO", "3").startswith("1# "), True)
    true("unknown command" in cli(host, port, "NOSUCH"), "an unknown command")
    equal(cli(host, port, stdin=b"SET b 2\nINCR b\nGET b\n"), "OK\n3\n3\n")
    equal(cli(host, port, "-x", "SET", "c", stdin=b"from stdin"), "OK\n")
    equal(cli(host, port, "-r", "3", "INCR", "b"), "4\n5\n6\n")


@tool
def cli_prints_json(host, port):
    cli(host, port, "SET", "a", 'quoted "text"')
    equal(json.loads(cli(host, port, "--json", "GET", "a")), 'quoted "text"')
    equal(json.loads(cli(host, port, "--json", "MGET", "a", "none")), ['quoted "text"', None])
    equal(json.loads(cli(host, port, "--json", "CONFIG", "GET", "databases")).keys(),
          {"databases": 0}.keys())


@tool
def cli_inserts_in_masses(host, port):
    count = 20_000
    commands = []
    for number in range(count):
        words = (b"SET", b"key:%d" % number, b"value %d" % number)
        commands.append(b"*3\r\n" + b"".join(b"$%d\r\n%s\r\n" % (len(word), word) for word in words))
    output = cli(host, port, "--pipe", stdin=b"".join(commands))
    true(f"errors: 0, replies: {count}" in output, output)
    equal(cli(host, port, "DBSIZE"), f"{count}\n")


@tool
def cli_scans(host, port):
    fill(host, port, 2000)
    equal(len(set(cli(host, port, "--scan").split())), 2000)
    matching = cli(host, port, "--scan", "--pattern", "key:0001?").split()
    equal(sorted(set(matching)), [f"key:0001{digit}" for digit in range(10)])


@tool
def cli_samples_keys(host, port):
    fill(host, port, 1000)
    output = cli(host, port, "--bigkeys")
    true("Sampled 1000 keys" in output and "with 99 bytes" in output, output)
    output = cli(host, port, "--memkeys", "--memkeys-samples", "5")
    true("Sampled 1000 keys" in output, output)


@tool
def cli_measures(host, port):
    # Without a terminal --latency prints one line and ends.
    numbers = cli(host, port, "--raw", "--latency", "-i", "1").split()
    true(len(numbers) >= 4 and all(float(number) >= 0 for number in numbers[:4]), numbers)
    stat = subprocess.Popen(
        ["redis-cli", "-h", host, "-p", str(port), "--stat", "-i", "0.1"],
        stdout=subprocess.PIPE, text=True,
    )
    try:
        head = [stat.stdout.readline() for _ in range(3)]
        true("keys" in head[1] and head[2].split()[0].isdigit(), head)
    finally:
        stat.kill()
        stat.communicate()


@tool
def benchmark_runs(host, port):
    tests = ["set", "get", "incr", "mset", "ping"]
    for pipeline in ("1", "16"):
        output = run("redis-benchmark", "-h", host, "-p", str(port), "-t", ",".join(tests), "-n", "2000",
                     "-q", "-P", pipeline)
        lines = output.replace("\r", "\n").upper().splitlines()
        for test in tests:
            done = [line for line in lines if line.startswith(test.upper()) and "REQUESTS PER SECOND" in line]
            true(done, f"no rate of {test}: {output[-800:]}")
        true("ERROR" not in output.upper(), output)


# --- running them ---


def clean(host, port):
    admin = redis.Redis(host=host, port=port, protocol=2)
    admin.flushall()
    admin.close()


def check_library(name, host, port, only):
    for protocol in (2, 3):
        for check in LIBRARY_CHECKS:
            title = f"{name}: redis-py RESP{protocol}: {check.__name__}"
            if only in title:
                yield title, functools.partial(with_clients, check, host, port, protocol)


def with_clients(check, host, port, protocol):
    clients = []

    def client(**options):
        options = {"protocol": protocol, "socket_timeout": PATIENCE, **options}
        clients.append(redis.Redis(host=host, port=port, **options))
        return clients[-1]

    try:
        check(client)
    finally:
        for each in clients:
            each.close()


def check_tools(name, host, port, only):
    for check in TOOL_CHECKS:
        title = f"{name}: tools: {check.__name__}"
        if only in title:
            yield title, functools.partial(check, host, port)


def check(name, host, port, only):
    """Runs all checks on one server; returns how many passed, and the names of those that failed."""
    checks = list(check_library(name, host, port, only))
    if shutil.which("redis-cli") and shutil.which("redis-benchmark"):
        checks += check_tools(name, host, port, only)
    elif os.environ.get("CHRONOS_REQUIRE_REDIS"):
        sys.exit("CHRONOS_REQUIRE_REDIS is set, and there is no redis-cli or redis-benchmark")
    else:
        print(f"{name}: skipped: there is no redis-cli or redis-benchmark")
    passed, failed = 0, []
    for title, one in checks:
        try:
            clean(host, port)
            one()
            passed += 1
        except Exception:  # A failure of any kind is reported, and the rest is run.
            failed.append(title)
            print(f"FAILED {title}")
            traceback.print_exc(limit=-3, file=sys.stdout)
    print(f"{name}: {passed} passed, {len(failed)} failed")
    return passed, failed


def main():
    parser = argparse.ArgumentParser(description="Redis clients and tools against servers.")
    parser.add_argument("--server", action="append", default=[], metavar="NAME=HOST:PORT")
    parser.add_argument("--port", type=int, help="a server on this port of 127.0.0.1")
    parser.add_argument("--only", default="", help="only checks whose title has this text")
    arguments = parser.parse_args()
    servers = [server.split("=", 1) for server in arguments.server]
    if arguments.port:
        servers.append(["server", f"127.0.0.1:{arguments.port}"])
    if not servers:
        parser.error("name at least one server")
    all_failed = []
    for name, address in servers:
        host, port = address.rsplit(":", 1)
        all_failed += check(name, host, int(port), arguments.only)[1]
    for title in all_failed:
        print(f"failed: {title}")
    sys.exit(1 if all_failed else 0)


if __name__ == "__main__":
    main()
