"""Publishes with nats-py: sync, async, de-duplication, refusals, plain get, a topic's own subjects."""

import asyncio
import json
import os

import nats
from nats.js.errors import APIError


async def main():
    nc = await nats.connect(os.environ["METAQ_SERVER"])
    js = nc.jetstream()

    first = await js.publish("metaq.put.one", b"first", headers={"Nats-Msg-Id": "a"})
    assert (first.stream, first.seq, bool(first.duplicate)) == ("one-0-0", 1, False), first
    again = await js.publish("metaq.put.one", b"first", headers={"Nats-Msg-Id": "a"})
    assert (again.seq, again.duplicate) == (1, True), again
    await js.publish("metaq.put.one", b"second", stream="one-0-0", headers={"Nats-Expected-Last-Msg-Id": "a"})

    async def refused(code, subject, **more):
        try:
            await js.publish(subject, b"x", **more)
        except APIError as error:
            assert error.err_code == code, error
        else:
            raise AssertionError(f"{subject} {more} was not refused with {code}")

    await refused(10060, "metaq.put.one", stream="other")
    await refused(10071, "metaq.put.one", headers={"Nats-Expected-Last-Sequence": "1"})
    await refused(10070, "metaq.put.one", headers={"Nats-Expected-Last-Msg-Id": "z"})
    await refused(10071, "metaq.put.four", headers={"Nats-Expected-Last-Sequence": "0"})
    await refused(10111, "metaq.put.one", headers={"Nats-Rollup": "all"})
    await refused(10059, "metaq.put.none")

    for _ in range(2):
        await asyncio.gather(*(
            js.publish("metaq.put.four", str(i).encode(), headers={"Nats-Msg-Id": f"async-{i}"}) for i in range(200)))
    for i in range(50):
        future = await js.publish_async("metaq.put.one", b"%d" % i)
    await js.publish_async_completed()
    assert (await future).seq > 2

    total = 0
    for partition in range(4):
        answer = await nc.request(f"metaq.get.four.0-{partition}", b"{}", timeout=10)
        total += len(json.loads(answer.data)["messages"])
    assert total == 200, total
    got = json.loads((await nc.request("metaq.get.one.0-0", b'{"max_messages":2}', timeout=10)).data)
    assert [m["data"] for m in got["messages"]] == ["first", "second"], got

    # A topic that listens to sales.>: the key is the second token.
    ack = await js.publish("sales.eu.new", b"with a reply")
    assert (ack.stream[:8], ack.seq) == ("sales-0-", 1), ack
    await nc.publish("sales.eu", b"without a reply")
    assert (await js.publish("sales.eu.last", b"again", headers={"Trace": "t"})).seq == 3
    await nc.close()
    print("python: sync, async, de-duplication, refusals, get and own subjects are as promised")


asyncio.run(main())
