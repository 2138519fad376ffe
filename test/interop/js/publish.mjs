// Publishes with @nats-io/jetstream: sync, async, de-duplication, refusals, plain get,
// a topic's own subjects.
import assert from "node:assert/strict";
import { createRequire } from "node:module";

// The clients are not beside this file but where install.sh put them.
const require = createRequire(process.env.METAQ_INTEROP_JS + "/");
const { connect, headers } = require("@nats-io/transport-node");
const { jetstream } = require("@nats-io/jetstream");

const nc = await connect({ servers: process.env.METAQ_SERVER });
const js = jetstream(nc);

const first = await js.publish("metaq.put.one", "first", { msgID: "a" });
assert.deepEqual([first.stream, first.seq, first.duplicate], ["one-0-0", 1, false]);
const again = await js.publish("metaq.put.one", "first", { msgID: "a" });
assert.deepEqual([again.seq, again.duplicate], [1, true]);
await js.publish("metaq.put.one", "second", {
  expect: { streamName: "one-0-0", lastMsgID: "a", lastSequence: 1 },
});

async function refused(code, subject, options) {
  await assert.rejects(js.publish(subject, "x", options), (err) => {
    assert.equal(err.code, code, String(err));
    return true;
  });
}
await refused(10060, "metaq.put.one", { expect: { streamName: "other" } });
await refused(10071, "metaq.put.one", { expect: { lastSequence: 1 } });
await refused(10070, "metaq.put.one", { expect: { lastMsgID: "z" } });
await refused(10071, "metaq.put.four", { expect: { lastSequence: 1 } });
const rollup = headers();
rollup.set("Nats-Rollup", "all");
await refused(10111, "metaq.put.one", { headers: rollup });
await refused(10059, "metaq.put.none");

for (let round = 0; round < 2; round++) {
  const acks = [];
  for (let i = 0; i < 200; i++) {
    acks.push(js.publish("metaq.put.four", String(i), { msgID: `async-${i}` }));
  }
  for (const ack of await Promise.all(acks)) assert.equal(ack.duplicate, round === 1);
}

let total = 0;
for (let partition = 0; partition < 4; partition++) {
  total += (await nc.request(`metaq.get.four.0-${partition}`, "{}")).json().messages.length;
}
assert.equal(total, 200);
const got = (await nc.request("metaq.get.one.0-0", "{}")).json();
assert.deepEqual(got.messages.map((m) => m.data), ["first", "second"]);

// A topic that listens to sales.>: the key is the second token.
const ack = await js.publish("sales.eu.new", "with a reply");
assert.match(ack.stream, /^sales-0-/);
assert.equal(ack.seq, 1);
nc.publish("sales.eu", "without a reply");
const trace = headers();
trace.set("Trace", "t");
assert.equal((await js.publish("sales.eu.last", "again", { headers: trace })).seq, 3);
await nc.close();
console.log("javascript: sync, async, de-duplication, refusals, get and own subjects are as promised");
