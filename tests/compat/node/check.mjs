// node-redis and ioredis against any server. It empties the server: never point it at data.
//
//     cd tests/compat/node && npm install && PORT=6380 npm run check
//
// Ends with code 1 at the first difference. Nothing waits for a moment, only for events.

import assert from "node:assert/strict";
import { createClient } from "redis";
import Redis from "ioredis";

const host = process.env.HOST ?? "127.0.0.1";
const port = Number(process.env.PORT ?? 6379);

/** Resolves with what `register` hands to its callback; rejects if that takes too long. */
function event(register, what) {
  return new Promise((resolve, reject) => {
    const timer = setTimeout(() => reject(new Error(`never happened: ${what}`)), 20_000);
    register((...values) => {
      clearTimeout(timer);
      resolve(values);
    });
  });
}

async function nodeRedis(RESP) {
  const client = createClient({ socket: { host, port, reconnectStrategy: false }, RESP });
  client.on("error", () => {}); // The command that fails says so.
  await client.connect();
  await client.flushAll();

  assert.equal(await client.ping(), "PONG");
  assert.equal(await client.set("a", "1"), "OK");
  assert.equal(await client.incrBy("a", 41), 42);
  assert.equal(await client.get("a"), "42");
  assert.equal(await client.get("none"), null);
  assert.equal(await client.set("a", "x", { NX: true }), null);
  assert.deepEqual(await client.mGet(["a", "none"]), ["42", null]);
  assert.equal(await client.expire("a", 1000), 1);
  assert.ok((await client.ttl("a")) > 0);
  assert.equal(await client.del(["a", "none"]), 1);

  const many = await Promise.all(Array.from({ length: 500 }, (_, n) => client.set(`key:${n}`, `${n}`)));
  assert.ok(many.every((reply) => reply === "OK"));
  const found = new Set();
  for await (const page of client.scanIterator({ MATCH: "key:*", COUNT: 50 })) {
    for (const key of [page].flat()) found.add(key);
  }
  assert.equal(found.size, 500);

  assert.deepEqual(await client.multi().set("m", "1").incr("m").get("m").exec(), ["OK", 2, "2"]);
  const isolated = await client.duplicate().connect();
  await isolated.watch("m");
  await client.set("m", "changed");
  await assert.rejects(isolated.multi().set("m", "never").exec(), /watch/i);
  await isolated.close();
  await assert.rejects(client.incr("m"), /not an integer/);

  const subscriber = await client.duplicate().connect();
  let deliver;
  const message = event((resolve) => (deliver = resolve), "a message");
  await subscriber.subscribe("news", (text, channel) => deliver(text, channel));
  assert.equal(await client.publish("news", "hello"), 1);
  assert.deepEqual(await message, ["hello", "news"]);
  await subscriber.unsubscribe("news");
  await subscriber.close();

  assert.match(await client.info("server"), /redis_version:/);
  assert.deepEqual({ ...(await client.configGet("databases")) }, { databases: "16" });
  await client.close();
}

async function ioRedis() {
  const client = new Redis({ host, port, retryStrategy: null }); // Asks INFO whether the server is loading.
  await client.flushall();
  assert.equal(await client.ping(), "PONG");
  assert.equal(await client.set("a", "1", "EX", 1000), "OK");
  assert.ok((await client.ttl("a")) > 0);
  const bytes = Buffer.from([...Array(256).keys()]);
  assert.equal(await client.set(bytes, bytes), "OK");
  assert.deepEqual(await client.getBuffer(bytes), bytes);
  assert.deepEqual(await client.pipeline().incr("a").get("a").call("NOSUCH").exec().then(([one, two]) => [one, two]), [
    [null, 2],
    [null, "2"],
  ]);
  assert.deepEqual(await client.multi().incr("a").get("a").exec(), [
    [null, 3],
    [null, "3"],
  ]);
  await assert.rejects(client.multi().set("a").exec(), /EXECABORT/);
  await client.mset(Object.fromEntries(Array.from({ length: 300 }, (_, n) => [`key:${n}`, n])));
  const found = new Set();
  for await (const page of client.scanStream({ match: "key:*" })) for (const key of page) found.add(key);
  assert.equal(found.size, 300);

  const subscriber = client.duplicate();
  const message = event((resolve) => subscriber.on("pmessage", resolve), "a message");
  assert.equal(await subscriber.psubscribe("n*"), 1);
  assert.equal(await client.publish("news", "hello"), 1);
  assert.deepEqual(await message, ["n*", "news", "hello"]);
  await subscriber.quit();
  assert.equal(await client.quit(), "OK");
}

await nodeRedis(2);
await nodeRedis(3);
await ioRedis();
console.log("node-redis (RESP2, RESP3) and ioredis: passed");
