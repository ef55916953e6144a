"""Connecting, staying connected, disconnecting."""

from __future__ import annotations

import asyncio

import pytest

from realtime_client import Closed, Opened, Quality, RealtimeError, Status, WebSocketClient
from realtime_client.testing import FaultProxy, RealtimeServer

from .conftest import FAST, TIMEOUT, Heard


async def test_connect_and_disconnect_tell_their_events_in_order(server: RealtimeServer) -> None:
    client = WebSocketClient(server.url)
    events: list[object] = []
    client.on("status", lambda status: events.append(status))
    client.on("open", lambda opened: events.append(type(opened)))
    client.on("close", lambda closed: events.append(type(closed)))
    assert client.status == "disconnected"
    assert not client.is_connected
    await client.connect()
    assert client.status is Status.CONNECTED
    assert client.is_connected
    await client.disconnect()
    assert client.status is Status.DISCONNECTED
    assert events == ["connecting", "connected", Opened, Closed, "disconnected"]


async def test_connect_and_disconnect_are_idempotent(client: WebSocketClient) -> None:
    await client.connect()
    await asyncio.gather(client.connect(), client.connect())
    await asyncio.gather(client.disconnect(), client.disconnect())
    await client.disconnect()
    await client.connect()
    assert client.is_connected


async def test_connect_right_after_disconnect_wins(client: WebSocketClient) -> None:
    channel = client.channel("room")
    await channel.subscribe()
    for _ in range(20):
        leaving = asyncio.ensure_future(client.disconnect())
        await asyncio.sleep(0)
        await asyncio.wait_for(client.connect(), TIMEOUT)
        await asyncio.wait_for(leaving, TIMEOUT)
        assert client.is_connected
        assert (await channel.send("said", 1)).acknowledged
        await channel.ready()


async def test_disconnect_before_anything_does_nothing() -> None:
    await WebSocketClient("ws://127.0.0.1:1").disconnect()


async def test_a_client_comes_back_after_a_cut(proxy: FaultProxy) -> None:
    async with WebSocketClient(proxy.url, **FAST) as client:
        status, closed = Heard(client, "status"), Heard(client, "close")
        proxy.cut_connections()
        await status.until(lambda seen: seen == ["reconnecting", "connected"])
        _, change = status.all[0]
        assert change.error.code == "connection_lost"
        assert change.retry_in <= 0.1
        assert closed.values[0].reconnecting
        assert client.get_stats().reconnects == 1


async def test_async_with_disconnects_also_after_an_exception(server: RealtimeServer) -> None:
    with pytest.raises(ZeroDivisionError):
        async with WebSocketClient(server.url) as client:
            raise ZeroDivisionError
    assert client.status is Status.DISCONNECTED


async def test_unreachable_is_an_error_after_five_attempts_and_goes_on_probing(
    server: RealtimeServer, proxy: FaultProxy
) -> None:
    proxy.cut()
    client = WebSocketClient(proxy.url, **FAST)
    errors, status = Heard(client, "error"), Heard(client, "status")
    with pytest.raises(RealtimeError, match=r"cannot connect|is gone|did not answer") as raised:
        await client.connect()
    assert raised.value.code in ("connect_failed", "connection_lost", "protocol_error")
    assert len(errors.all) == 5
    assert status.values == ["connecting", "reconnecting", "error"]
    assert status.all[-1][1].retry_in is not None
    proxy.restore()
    await status.until(lambda seen: seen[-1] == "connected")
    await client.disconnect()


async def test_connect_again_while_probing_fails_again(proxy: FaultProxy) -> None:
    proxy.cut()
    client = WebSocketClient(proxy.url, attempts_until_error=1, **FAST)
    client.on("error", lambda: None)
    for _ in range(2):
        with pytest.raises(RealtimeError):
            await asyncio.wait_for(client.connect(), TIMEOUT)
    await client.disconnect()


async def test_max_attempts_gives_up_and_says_so(proxy: FaultProxy) -> None:
    proxy.cut()
    client = WebSocketClient(proxy.url, max_attempts=2, **FAST)
    client.on("error", lambda: None)
    queued = client.channel("room").send("said", 1)
    with pytest.raises(RealtimeError) as raised:
        await client.connect()
    with pytest.raises(RealtimeError, match="gave up after 2"):
        await queued
    assert raised.value.code == "max_attempts"
    assert client.status is Status.ERROR
    with pytest.raises(RealtimeError) as sent:
        await client.channel("room").send("said", 1)
    assert sent.value.code == "max_attempts"
    with pytest.raises(RealtimeError) as subscribed:
        await client.channel("room").subscribe()
    assert subscribed.value.code == "max_attempts"
    proxy.restore()
    await client.connect()
    assert client.is_connected
    await client.disconnect()


async def test_giving_up_while_probing_fails_who_waits(proxy: FaultProxy) -> None:
    proxy.cut()
    client = WebSocketClient(proxy.url, attempts_until_error=1, max_attempts=3, **FAST)
    client.on("error", lambda: None)
    subscribing = client.channel("room").subscribe()
    with pytest.raises(RealtimeError):
        await client.connect()
    with pytest.raises(RealtimeError) as raised:
        await asyncio.wait_for(subscribing, TIMEOUT)
    assert raised.value.code == "max_attempts"
    with pytest.raises(RealtimeError) as raised:
        await asyncio.wait_for(client.channel("other").subscribe(), TIMEOUT)
    assert raised.value.code == "max_attempts"
    await client.disconnect()


async def test_without_reconnect_the_first_failure_is_the_last(proxy: FaultProxy) -> None:
    proxy.cut()
    client = WebSocketClient(proxy.url, reconnect=False)
    client.on("error", lambda: None)
    with pytest.raises(RealtimeError):
        await client.connect()
    assert client.status is Status.ERROR


async def test_disconnect_ends_a_connect_that_waits(proxy: FaultProxy) -> None:
    proxy.stall()
    client = WebSocketClient(proxy.url)
    status = Heard(client, "status")
    connecting = asyncio.ensure_future(client.connect())
    await status.count(1)
    await client.disconnect()
    with pytest.raises(RealtimeError) as raised:
        await connecting
    assert raised.value.code == "closed"


async def test_a_cancelled_async_with_leaves_nothing_behind(proxy: FaultProxy) -> None:
    proxy.stall()
    client = WebSocketClient(proxy.url)
    status = Heard(client, "status")
    entering = asyncio.ensure_future(client.__aenter__())
    await status.count(1)
    entering.cancel()
    with pytest.raises(asyncio.CancelledError):
        await entering
    assert client.status is Status.DISCONNECTED


async def test_a_half_open_connection_is_noticed_while_the_loop_is_idle(proxy: FaultProxy) -> None:
    client = WebSocketClient(proxy.url, heartbeat_interval=0.05, heartbeat_timeout=0.2, **FAST)
    errors, status = Heard(client, "error"), Heard(client, "status")
    await client.connect()
    proxy.stall()
    await errors.until(lambda seen: any(error.code == "heartbeat_timeout" for error in seen))
    proxy.restore()
    await status.until(lambda seen: seen[-1] == "connected")
    await client.disconnect()


async def test_a_token_provider_is_asked_afresh_on_every_connect() -> None:
    asked: list[int] = []

    async def provider() -> str:
        asked.append(1)
        return "sesame"

    async with RealtimeServer(token_secret="sesame") as server, FaultProxy(server.url) as proxy:
        async with WebSocketClient(proxy.url, token=provider, **FAST) as client:
            status = Heard(client, "status")
            proxy.cut_connections()
            await status.until(lambda seen: seen == ["reconnecting", "connected"])
    assert len(asked) >= 2


@pytest.mark.parametrize("kind", ["raises", "hangs", "returns a number"])
async def test_a_token_provider_that_fails_is_an_error_with_a_code(server: RealtimeServer, kind: str) -> None:
    async def provider() -> str:
        if kind == "raises":
            raise ZeroDivisionError("no token today")
        if kind == "hangs":
            await asyncio.get_running_loop().create_future()
        return 7  # type: ignore[return-value]

    client = WebSocketClient(server.url, token=provider, token_timeout=0.1, attempts_until_error=1)
    errors = Heard(client, "error")
    with pytest.raises(RealtimeError) as raised:
        await client.connect()
    assert raised.value.code == ("timeout" if kind == "hangs" else "token_failed")
    assert errors.values[0].code == raised.value.code
    if kind == "raises":
        assert "no token today" in str(raised.value)
    await client.disconnect()


async def test_a_plain_function_may_give_the_token() -> None:
    async with RealtimeServer(token_secret="sesame") as server:
        async with WebSocketClient(server.url, token=lambda: "sesame", token_placement="hello") as client:
            assert client.is_connected


async def test_statistics_are_in_seconds(client: WebSocketClient) -> None:
    await client.channel("room").subscribe()
    await client.channel("room").send("said", 1)
    stats = client.get_stats()
    assert stats.status is Status.CONNECTED
    assert stats.quality is Quality.EXCELLENT
    assert stats.connected_at is not None
    assert 1.7e9 < stats.connected_at < 1e11
    assert stats.latency is not None
    assert 0 < stats.latency < 5
    assert (stats.messages_sent, stats.acknowledged, stats.queued) == (1, 1, 0)


def test_statistics_of_a_client_that_was_never_used() -> None:
    stats = WebSocketClient("ws://127.0.0.1:1").get_stats()
    assert (stats.status, stats.quality, stats.messages_sent) == (Status.DISCONNECTED, Quality.OFFLINE, 0)


async def test_a_blocked_loop_stays_connected_and_hears_that_it_was_stalled(server: RealtimeServer) -> None:
    import time

    async with WebSocketClient(server.url, heartbeat_interval=0.1, heartbeat_timeout=0.5) as client:
        channel = client.channel("room")
        got, stalled, status = Heard(channel, "said"), Heard(client, "stalled"), Heard(client, "status")
        await channel.subscribe()
        server.publish("room", "said", 1)
        time.sleep(1.2)  # noqa: ASYNC251 - blocking the loop is what is tested
        await got.count(1)
        (seconds,) = await stalled.count(1)
        assert seconds >= 1.0
        assert status.values == []
        assert client.is_connected
