"""Subscribing, iterating, gaps."""

from __future__ import annotations

import asyncio
import gc

import pytest

from realtime_client import ChannelState, Gap, Message, MessageIterator, RealtimeChannel, RealtimeError, WebSocketClient
from realtime_client.testing import FaultProxy, RealtimeServer

from .conftest import FAST, TIMEOUT, Heard
from .peer import Connection, Peer


async def take(channel: RealtimeChannel, count: int) -> list[object]:
    """The payloads of the next messages of a new iteration."""

    async def iterate() -> list[object]:
        taken: list[object] = []
        async for message in channel:
            taken.append(message.data)
            if len(taken) == count:
                break
        return taken

    return await asyncio.wait_for(iterate(), TIMEOUT)


async def test_the_same_name_is_the_same_channel(client: WebSocketClient) -> None:
    assert client.channel("room") is client.channel("room")
    assert client.channel("room") is not client.channel("Room")


@pytest.mark.parametrize("name", ["", "x" * 256, "ü" * 128, "\ud800", 7])
def test_a_bad_channel_name_is_refused(name: str) -> None:
    with pytest.raises(RealtimeError) as raised:
        WebSocketClient("ws://127.0.0.1:1").channel(name)
    assert raised.value.code == "invalid_name"


async def test_subscribe_is_idempotent_and_unsubscribe_too(client: WebSocketClient) -> None:
    channel = client.channel("room")
    assert str(channel.state) == "idle"
    await asyncio.gather(channel.subscribe(), channel.subscribe())
    await channel.subscribe()
    await channel.ready()
    assert str(channel.state) == "subscribed"
    await asyncio.gather(channel.unsubscribe(), channel.unsubscribe())
    await channel.unsubscribe()
    assert str(channel.state) == "idle"


async def test_subscribe_waits_for_the_connection(server: RealtimeServer) -> None:
    client = WebSocketClient(server.url)
    subscribing = client.channel("room").subscribe()
    assert client.channel("room").state is ChannelState.SUBSCRIBING
    await client.connect()
    await subscribing
    await client.disconnect()


async def test_a_refusal_is_raised_and_the_rest_goes_on() -> None:
    async with RealtimeServer(max_channels=1) as server, WebSocketClient(server.url) as client:
        await client.channel("one").subscribe()
        two = client.channel("two")
        with pytest.raises(RealtimeError) as raised:
            await two.subscribe()
        assert raised.value.code == "too_many_channels"
        assert str(two.state) == "failed"
        with pytest.raises(RealtimeError):
            await two.ready()
        with pytest.raises(RealtimeError):
            await take(two, 1)
        await client.channel("one").unsubscribe()
        await two.subscribe()
        assert two.state is ChannelState.SUBSCRIBED


async def test_ready_needs_a_subscribe(client: WebSocketClient) -> None:
    with pytest.raises(RealtimeError) as raised:
        await client.channel("room").ready()
    assert raised.value.code == "closed"


async def test_unsubscribe_ends_a_subscribe_that_waits(server: RealtimeServer) -> None:
    client = WebSocketClient(server.url)
    subscribing = client.channel("room").subscribe()
    await client.channel("room").unsubscribe()
    with pytest.raises(RealtimeError) as raised:
        await subscribing
    assert raised.value.code == "closed"
    # What the engine has to say about the first subscription must not touch the second.
    again = client.channel("room").subscribe()
    await client.connect()
    await again
    assert client.channel("room").state is ChannelState.SUBSCRIBED
    await client.disconnect()


async def test_unsubscribe_and_subscribe_in_one_go(client: WebSocketClient) -> None:
    channel = client.channel("room")
    await channel.subscribe()
    leaving, entering = channel.unsubscribe(), channel.subscribe()
    await entering
    assert str(channel.state) == "subscribed"
    got = Heard(channel, "said")
    await channel.send("said", 1)
    assert await got.count(1) == [1]
    leaving.cancel()


async def test_iterating_gets_what_came_right_after_the_subscription(server: RealtimeServer) -> None:
    async with WebSocketClient(server.url) as client:
        channel = client.channel("room")
        subscribing = channel.subscribe()
        sends = [channel.send("said", number) for number in range(100)]
        await subscribing
        await asyncio.gather(*sends)
        assert await take(channel, 100) == list(range(100))


async def test_iterations_are_independent_and_see_every_event(client: WebSocketClient) -> None:
    channel = client.channel("room")
    await channel.subscribe()
    first, second = asyncio.ensure_future(take(channel, 3)), asyncio.ensure_future(take(channel, 2))
    await asyncio.sleep(0)
    for event in ("a", "b", "gap"):
        await channel.send(event, event)
    assert await first == ["a", "b", "gap"]
    assert await second == ["a", "b"]


async def test_iteration_ends_with_unsubscribe_and_with_disconnect(client: WebSocketClient) -> None:
    for end in (client.channel("room").unsubscribe, client.disconnect):
        channel = client.channel("room")
        await channel.subscribe()
        taking = asyncio.ensure_future(take(channel, 2))
        await asyncio.sleep(0)
        await channel.send("said", 1)
        await end()
        assert await taking == [1]


async def test_iteration_raises_when_the_server_closes_for_good(server: RealtimeServer) -> None:
    client = WebSocketClient(server.url)
    client.on("error", lambda: None)
    await client.connect()
    channel = client.channel("room")
    await channel.subscribe()
    taking = asyncio.ensure_future(take(channel, 1))
    await asyncio.sleep(0)
    server.disconnect_all(4501)
    with pytest.raises(RealtimeError) as raised:
        await taking
    assert (raised.value.code, raised.value.close_code) == ("rejected", 4501)
    assert channel.state is ChannelState.FAILED


async def test_an_iterator_that_is_left_behind_holds_nothing_up() -> None:
    # The window is smaller than what is sent: an iterator that still counted would stop the flow.
    async with (
        RealtimeServer() as server,
        WebSocketClient(server.url, inbox_bytes=4096, channel_inbox_bytes=2048) as client,
    ):
        channel = client.channel("room")
        await channel.subscribe()
        got = Heard(channel, "said")
        sends = [channel.send("said", "x" * 100) for _ in range(50)]
        assert len(await take(channel, 2)) == 2
        gc.collect()
        await asyncio.gather(*sends)
        await got.count(50)
        assert client.get_stats().unconsumed_bytes == 0


async def test_a_slow_iteration_holds_the_server_back_and_loses_nothing() -> None:
    async with (
        RealtimeServer() as server,
        WebSocketClient(server.url, inbox_bytes=8192, channel_inbox_bytes=4096) as client,
    ):
        channel = client.channel("room")
        await channel.subscribe()
        iterator = aiter_of(channel)
        for number in range(500):
            server.publish("room", "said", {"number": number, "filler": "x" * 100})
        numbers: list[int] = []
        most = 0
        while len(numbers) < 500:
            message = await asyncio.wait_for(iterator.__anext__(), TIMEOUT)
            numbers.append(message.data["number"])
            most = max(most, client.get_stats().unconsumed_bytes)
            await asyncio.sleep(0)
        assert numbers == list(range(500))
        # The window, and the one message that crosses it.
        assert most <= 4096 + 400


async def test_a_gap_is_told_with_what_is_known(server: RealtimeServer) -> None:
    async with RealtimeServer(history_messages=10) as small, FaultProxy(small.url) as proxy:
        async with WebSocketClient(proxy.url, **FAST) as client:
            channel = client.channel("room")
            gaps, got, status = Heard(channel, "gap"), Heard(channel, "said"), Heard(client, "status")
            await channel.subscribe()
            proxy.cut()
            await status.until(lambda seen: "reconnecting" in seen)
            for number in range(1, 31):
                small.publish("room", "said", number)
            proxy.restore()
            (gap,) = await gaps.count(1)
            assert isinstance(gap, Gap)
            assert (gap.channel, gap.reason, gap.from_offset, gap.to_offset) == ("room", "evicted", 1, 20)
            assert gap.previous_epoch is None
            assert await got.count(10) == list(range(21, 31))


async def test_a_message_has_its_fields(client: WebSocketClient, server: RealtimeServer) -> None:
    channel = client.channel("room")
    got = Heard(channel, "said")
    await channel.subscribe()
    receipt = await channel.send("said", {"text": "hello"})
    await got.count(1)
    data, message = got.all[0]
    assert isinstance(message, Message)
    assert data is message.data
    assert (message.channel, message.event, message.data) == ("room", "said", {"text": "hello"})
    assert message.offset == receipt.offset == 1
    assert message.user is None
    assert message.timestamp is not None
    assert message.timestamp > 1.7e9
    assert "said" in repr(message)
    assert "offset=1" in repr(receipt)


async def test_the_verified_user_is_on_the_message() -> None:
    token = (
        # {"alg":"HS256","typ":"JWT"}.{"sub":"ann"}, signed with "a secret that is long enough for HS256".
        make_jwt("ann", b"a secret that is long enough for HS256")
    )
    async with RealtimeServer(jwt_secret="a secret that is long enough for HS256") as server:
        client = WebSocketClient(server.url, token=token)
        opened = Heard(client, "open")
        async with client:
            assert (await opened.count(1))[0].user == "ann"
            channel = client.channel("room")
            got = Heard(channel, "said")
            await channel.subscribe()
            await channel.send("said", 1)
            await got.count(1)
            assert got.all[0][1].user == "ann"


async def test_plain_messages_without_a_channel_go_to_the_only_channel_once() -> None:
    async def behave(connection: Connection) -> None:
        await connection.accept()
        await connection.receive_json("subscribe")
        await connection.send({"type": "news", "payload": 1, "timestamp": 5})
        await connection.receive_json("subscribe")
        await connection.send({"type": "news", "payload": 2, "timestamp": 5})
        await connection.send({"type": "news", "payload": 3, "channel": "two", "timestamp": 5})
        await connection.until_gone()

    async with Peer(behave) as peer, WebSocketClient(peer.url, protocol="plain") as client:
        everything, news = Heard(client, "message"), Heard(client, "news")
        one, two = Heard(client.channel("one"), "news"), Heard(client.channel("two"), "news")
        await client.channel("one").subscribe()
        assert await one.count(1) == [1]
        await client.channel("two").subscribe()
        assert await two.count(1) == [3]
        assert news.values == [1, 2]
        assert one.values == [1]
        assert [message.data for message in everything.values] == [1, 2, 3]


def aiter_of(channel: RealtimeChannel) -> MessageIterator:
    return channel.__aiter__()


def make_jwt(user: str, secret: bytes) -> str:
    import base64
    import hashlib
    import hmac
    import json
    import time

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    claims = {"sub": user, "exp": int(time.time()) + 600}
    body = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps(claims).encode())
    return (body + b"." + part(hmac.new(secret, body, hashlib.sha256).digest())).decode()
