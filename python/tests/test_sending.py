"""Sends: receipts, order, bounds, failures."""

from __future__ import annotations

import asyncio
import gc
import logging

import pytest

from realtime_client import Pending, RealtimeError, Receipt, WebSocketClient
from realtime_client.testing import FaultProxy, RealtimeServer

from .conftest import FAST, TIMEOUT, Heard
from .peer import Peer, plain


async def test_a_send_has_a_receipt(client: WebSocketClient) -> None:
    first = await client.channel("room").send("said", 1)
    second = await client.channel("room").send("said", b"\x00\xff")
    assert isinstance(first, Receipt)
    assert first.acknowledged
    assert not first.duplicate
    assert (first.offset, second.offset) == (1, 2)
    assert first.epoch == second.epoch
    assert first.epoch


async def test_sends_need_not_be_awaited_and_keep_the_order_of_the_calls(client: WebSocketClient) -> None:
    channel = client.channel("room")
    got = Heard(channel, "said")
    await channel.subscribe()
    for number in range(1000):
        channel.send("said", number)
    assert await got.count(1000) == list(range(1000))


async def test_the_payload_is_what_it_was_at_the_call(client: WebSocketClient) -> None:
    channel = client.channel("room")
    got = Heard(channel, "said")
    await channel.subscribe()
    payload = {"text": "before"}
    sending = channel.send("said", payload)
    payload["text"] = "after"
    await sending
    assert await got.count(1) == [{"text": "before"}]


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
async def test_bytes_go_as_bytes(client: WebSocketClient, kind: type) -> None:
    channel = client.channel("room")
    got = Heard(channel, "pic")
    await channel.subscribe()
    await channel.send("pic", kind(b"\x00\x01\xff{"))
    assert await got.count(1) == [b"\x00\x01\xff{"]


async def test_messages_to_the_backend_and_from_it(client: WebSocketClient) -> None:
    hello, binary, everything = Heard(client, "hello"), Heard(client, "binary"), Heard(client, "message")
    receipt = await client.send("hello", {"x": 1})
    assert receipt.acknowledged
    assert receipt.offset is None
    await client.send_binary(b"abc")
    assert await hello.count(1) == [{"x": 1}]
    assert await binary.count(1) == [b"abc"]
    message = everything.values[0]
    assert (message.channel, message.event, message.data) == (None, "hello", {"x": 1})


async def test_a_backend_type_with_a_reserved_name_arrives_under_message_only(client: WebSocketClient) -> None:
    opened, everything = Heard(client, "open"), Heard(client, "message")
    await client.send("open", {"not": "an event of the client"})
    (message,) = await everything.count(1)
    assert message.event == "open"
    assert opened.values == []


async def test_send_binary_takes_bytes_only(client: WebSocketClient) -> None:
    with pytest.raises(RealtimeError) as raised:
        client.send_binary("text")  # type: ignore[arg-type]
    assert raised.value.code == "invalid_payload"


@pytest.mark.parametrize("name", ["", "x" * 256, "\ud800"])
async def test_a_bad_event_name_is_refused_at_once(client: WebSocketClient, name: str) -> None:
    for send in (client.send, client.channel("room").send):
        with pytest.raises(RealtimeError) as raised:
            send(name, 1)
        assert raised.value.code == "invalid_name"


async def test_a_send_after_disconnect_fails_until_connected_again(client: WebSocketClient) -> None:
    channel = client.channel("room")
    await client.disconnect()
    for send in (client.send, channel.send):
        with pytest.raises(RealtimeError) as raised:
            await send("said", 1)
        assert raised.value.code == "closed"
    with pytest.raises(RealtimeError) as raised:
        await channel.subscribe()
    assert raised.value.code == "closed"
    await client.connect()
    await channel.send("said", 1)


async def test_disconnect_waits_for_receipts(server: RealtimeServer) -> None:
    async with WebSocketClient(server.url) as client:
        sends = [client.channel("room").send("said", number) for number in range(2000)]
    outcomes = await asyncio.gather(*sends)
    assert [receipt.offset for receipt in outcomes] == list(range(1, 2001))


async def test_disconnect_waits_also_for_what_waits_for_room(server: RealtimeServer) -> None:
    async with WebSocketClient(server.url, queue_messages=10) as client:
        sends = [client.channel("room").send("said", number) for number in range(20)]
    outcomes = await asyncio.gather(*sends)
    assert [receipt.offset for receipt in outcomes] == list(range(1, 21))


async def test_disconnect_offline_fails_what_is_queued(server: RealtimeServer) -> None:
    client = WebSocketClient(server.url, queue_messages=2)
    sends = [client.channel("room").send("said", number) for number in range(4)]
    await client.disconnect()
    outcomes = await asyncio.wait_for(asyncio.gather(*sends, return_exceptions=True), TIMEOUT)
    assert [getattr(outcome, "code", None) for outcome in outcomes] == ["closed"] * 4


async def test_what_was_sent_into_a_cut_arrives_once(server: RealtimeServer, proxy: FaultProxy) -> None:
    async with (
        WebSocketClient(server.url) as receiver,
        WebSocketClient(proxy.url, **FAST) as sender,
    ):
        got, status = Heard(receiver.channel("room"), "said"), Heard(sender, "status")
        await receiver.channel("room").subscribe()
        sends = []
        for round in range(3):
            sends += [sender.channel("room").send("said", round * 500 + number) for number in range(500)]
            before = len(status.values)
            proxy.cut_connections()
            await status.until(lambda seen, before=before: "connected" in seen[before:])  # type: ignore[misc]
        receipts = await asyncio.wait_for(asyncio.gather(*sends), TIMEOUT)
        assert [receipt.offset for receipt in receipts] == list(range(1, 1501))
        assert await got.count(1500) == list(range(1500))


async def test_wait_keeps_the_order_when_the_outbox_is_full(server: RealtimeServer) -> None:
    async with WebSocketClient(server.url, queue_messages=50) as client:
        channel = client.channel("room")
        got = Heard(channel, "said")
        await channel.subscribe()
        for batch in range(20):
            await asyncio.gather(*(channel.send("said", batch * 90 + number) for number in range(90)))
        assert await got.count(1800) == list(range(1800))
        assert client.get_stats().queued == 0


async def test_wait_has_a_bound_for_those_who_do_not_wait(server: RealtimeServer) -> None:
    client = WebSocketClient(server.url, queue_messages=10)
    channel = client.channel("room")
    sends = [channel.send("said", number) for number in range(20)]
    assert client.get_stats().queued == 20
    with pytest.raises(RealtimeError) as raised:
        channel.send("said", 20)
    assert raised.value.code == "queue_full"
    await client.connect()
    receipts = await asyncio.wait_for(asyncio.gather(*sends), TIMEOUT)
    assert [receipt.offset for receipt in receipts] == list(range(1, 21))
    await client.disconnect()


async def test_a_cancelled_send_that_waits_for_room_is_not_sent(server: RealtimeServer) -> None:
    client = WebSocketClient(server.url, queue_messages=2)
    channel = client.channel("room")
    got = Heard(channel, "said")
    sends = [channel.send("said", number) for number in range(4)]
    sends[2].cancel()
    subscribed = channel.subscribe()
    await client.connect()
    await subscribed
    assert (await sends[3]).offset == 3
    assert await got.until(lambda seen: 3 in seen)
    assert 2 not in got.values
    await client.disconnect()


async def test_reject_raises_when_the_outbox_is_full(server: RealtimeServer) -> None:
    client = WebSocketClient(server.url, queue_messages=3, when_full="reject")
    sends = [client.channel("room").send("said", number) for number in range(3)]
    with pytest.raises(RealtimeError) as raised:
        client.channel("room").send("said", 3)
    assert raised.value.code == "queue_full"
    await client.connect()
    assert len(await asyncio.gather(*sends)) == 3
    await client.disconnect()


async def test_drop_oldest_says_which_were_dropped(server: RealtimeServer) -> None:
    client = WebSocketClient(server.url, queue_messages=3, when_full="dropOldest")
    sends = [client.channel("room").send("said", number) for number in range(5)]
    await client.connect()
    outcomes = await asyncio.gather(*sends, return_exceptions=True)
    assert [getattr(outcome, "code", "sent") for outcome in outcomes] == ["dropped", "dropped", "sent", "sent", "sent"]
    await client.disconnect()


async def test_what_drop_oldest_drops_is_an_event_where_nobody_awaits_it_and_counted() -> None:
    client = WebSocketClient("ws://127.0.0.1:9", queue_messages=3, when_full="dropOldest")
    errors = Heard(client, "error")
    for number in range(5):
        client.channel("room").send("said", number)
    await errors.count(2)
    assert [error.code for error in errors.values] == ["dropped", "dropped"]
    stats = client.get_stats()
    assert (stats.failed, stats.queued) == (2, 3)
    await client.disconnect()


async def test_what_waits_for_room_at_a_disconnect_is_an_event_each_where_nobody_awaits_it() -> None:
    client = WebSocketClient("ws://127.0.0.1:9", queue_messages=5)
    errors = Heard(client, "error")
    gc.disable()
    try:
        for number in range(10):
            client.channel("room").send("said", number)
        await client.disconnect()
        await errors.count(10)
    finally:
        gc.enable()
    assert {error.code for error in errors.values} == {"closed"}


async def test_a_send_without_a_receipt_times_out(proxy: FaultProxy) -> None:
    async with WebSocketClient(proxy.url, send_timeout=0.1) as client:
        proxy.stall()
        with pytest.raises(RealtimeError) as raised:
            await client.channel("room").send("said", 1)
        assert raised.value.code == "timeout"
        proxy.restore()


async def test_too_large_a_payload_fails_alone() -> None:
    async with RealtimeServer(max_payload=1000) as server, WebSocketClient(server.url) as client:
        channel = client.channel("room")
        large, small = channel.send("said", "x" * 2000), channel.send("said", "x")
        with pytest.raises(RealtimeError) as raised:
            await large
        assert raised.value.code == "payload_too_large"
        assert (await small).acknowledged


async def test_plain_says_that_nothing_is_acknowledged() -> None:
    async with Peer(plain) as peer, WebSocketClient(peer.url) as client:
        receipt = await client.channel("room").send("said", 1)
        assert not receipt.acknowledged
        with pytest.raises(RealtimeError) as raised:
            await client.channel("room").send("said", b"bytes")
        assert raised.value.code == "unsupported"
        assert not (await client.send_binary(b"bytes")).acknowledged


async def test_a_failure_that_nobody_awaits_goes_to_the_error_event(
    server: RealtimeServer, caplog: pytest.LogCaptureFixture
) -> None:
    async with RealtimeServer(max_payload=10) as small, WebSocketClient(small.url) as client:
        errors = Heard(client, "error")
        client.channel("room").send("said", "x" * 20)
        assert [error.code for error in await errors.count(1)] == ["payload_too_large"]
        with pytest.raises(RealtimeError):
            await client.channel("room").send("said", "x" * 20)
        gc.collect()
        await asyncio.sleep(0)
        assert len(errors.all) == 1
    assert [record for record in caplog.records if record.levelno >= logging.WARNING] == []


async def test_a_subscribe_that_nobody_awaits_goes_to_the_error_event() -> None:
    async with RealtimeServer(max_channels=1) as server, WebSocketClient(server.url) as client:
        errors = Heard(client, "error")
        client.channel("one").subscribe()
        client.channel("two").subscribe()
        assert [error.code for error in await errors.count(1)] == ["too_many_channels"]


async def test_a_rate_limit_delays_and_drops_nothing(server: RealtimeServer) -> None:
    async with WebSocketClient(server.url, rate_limit=200) as client:
        loop = asyncio.get_running_loop()
        began = loop.time()
        receipts = await asyncio.gather(*(client.channel("room").send("said", number) for number in range(300)))
        assert len(receipts) == 300
        # A burst of one second's worth at most, the rest at 200 a second.
        assert loop.time() - began >= 0.4


async def test_what_send_returns_is_a_future(client: WebSocketClient) -> None:
    sending = client.channel("room").send("said", 1)
    assert isinstance(sending, Pending)
    assert isinstance(sending, asyncio.Future)
    done, _ = await asyncio.wait([sending], timeout=TIMEOUT)
    assert done == {sending}
