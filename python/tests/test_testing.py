"""The test tools that users get."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest

from realtime_client import RealtimeError, WebSocketClient
from realtime_client.testing import FaultProxy, RealtimeServer

from .conftest import FAST, Heard


async def test_a_server_starts_stops_and_comes_back_on_its_port() -> None:
    server = RealtimeServer()
    with pytest.raises(RealtimeError):
        _ = server.url
    await server.start()
    await server.start()
    url = server.url
    async with WebSocketClient(url, **FAST) as client:
        status = Heard(client, "status")
        assert server.connection_count == 1
        await server.stop()
        await server.stop()
        await status.until(lambda seen: "reconnecting" in seen)
        await server.start()
        assert server.url == url
        await status.until(lambda seen: seen[-1] == "connected")
    await server.stop()


async def test_a_server_publishes_and_sends() -> None:
    async with RealtimeServer() as server, WebSocketClient(server.url) as client:
        got, direct = Heard(client.channel("room"), "said"), Heard(client, "news")
        await client.channel("room").subscribe()
        assert server.publish("room", "said", {"n": 1}) == 1
        assert server.publish("room", "said") == 2
        assert server.send_to_all("news", [1]) == 1
        assert await got.count(2) == [{"n": 1}, None]
        assert await direct.count(1) == [[1]]
        with pytest.raises(RealtimeError) as raised:
            server.publish("", "said")
        assert raised.value.code == "invalid_name"


async def test_a_drain_asks_clients_to_leave() -> None:
    async with RealtimeServer() as server, FaultProxy(server.url) as proxy:
        async with WebSocketClient(proxy.url, reconnect_first=5, reconnect_base=5, reconnect_max=5) as client:
            closed = Heard(client, "close")
            draining = asyncio.ensure_future(server.drain())
            assert (await closed.count(1))[0].code == 4000
            proxy.cut()
            await draining


def test_options_of_the_server_are_checked() -> None:
    bad: list[dict[str, Any]] = [
        {"port": -1},
        {"rate": "fast"},
        {"tls_key": "alone"},
        {"token_secret": "a", "jwt_secret": "b"},
    ]
    for options in bad:
        server = RealtimeServer(**options)
        with pytest.raises(RealtimeError) as raised:
            server._start()
        assert raised.value.code == "invalid_option"


async def test_a_taken_port_is_an_error(server: RealtimeServer) -> None:
    second = RealtimeServer(port=int(server.url.rsplit(":", 1)[1]))
    with pytest.raises(RealtimeError) as raised:
        await second.start()
    assert raised.value.code == "connect_failed"


async def test_the_proxy_cuts_stalls_delays_and_limits(server: RealtimeServer) -> None:
    loop = asyncio.get_running_loop()
    with FaultProxy(server.url) as proxy:
        async with WebSocketClient(proxy.url, **FAST) as client:
            status, channel = Heard(client, "status"), client.channel("room")
            assert (proxy.connections, proxy.cuts) == (1, 0)

            proxy.delay(50)
            began = loop.time()
            await channel.send("said", 1)
            assert loop.time() - began >= 0.09
            proxy.restore()

            proxy.limit(100_000)
            began = loop.time()
            await channel.send("said", "x" * 50_000)
            assert loop.time() - began >= 0.3
            proxy.restore()

            proxy.stall()
            sending = channel.send("said", 2)
            assert await asyncio.wait([sending], timeout=0.05) == (set(), {sending})
            proxy.restore()
            await sending

            proxy.drop_after(10)
            await channel.subscribe()
            await status.until(lambda seen: seen.count("connected") == 1)
            assert proxy.cuts == 1

            proxy.cut()
            await status.until(lambda seen: seen.count("reconnecting") == 2)
            assert proxy.cuts == 2
            proxy.restore()
            await status.until(lambda seen: seen.count("connected") == 2)
    proxy.stop()


def test_the_proxy_wants_a_port() -> None:
    with pytest.raises(RealtimeError) as raised:
        FaultProxy("ws://127.0.0.1")
    assert raised.value.code == "invalid_url"


def test_the_fixture_is_there_for_plain_and_async_tests(pytester: pytest.Pytester) -> None:
    pytester.makepyfile(
        """
        import pytest
        from realtime_client import WebSocketClient

        def test_plain(realtime_server):
            assert realtime_server.url.startswith("ws://127.0.0.1:")

        @pytest.mark.asyncio
        async def test_async(realtime_server):
            async with WebSocketClient(realtime_server.url) as client:
                await client.channel("room").send("said", 1)
                assert realtime_server.connection_count == 1
        """
    )
    result = pytester.runpytest_subprocess("-q", "-p", "no:cacheprovider")
    result.assert_outcomes(passed=2)


async def test_a_server_with_data_comes_back_with_its_histories_and_receipts(tmp_path: Path) -> None:
    async with RealtimeServer(data=str(tmp_path / "data")) as server, WebSocketClient(server.url, **FAST) as client:
        channel = client.channel("room")
        got, gaps, opened = Heard(channel, "said"), Heard(channel, "gap"), Heard(client, "open")
        await channel.subscribe()
        before = await channel.send("said", 1)
        await got.count(1)
        await server.stop()
        await server.start()
        # Published while the client may still be away: it is in the history that goes on.
        assert server.publish("room", "said", 2) == 2
        after = await channel.send("said", 3)
        assert await got.count(3) == [1, 2, 3]
        assert (after.epoch, after.offset, after.duplicate) == (before.epoch, 3, False)
        assert gaps.values == []
        ((opening,),) = opened.all[-1:]
        assert opening.resumed
        assert client.get_stats().reconnects == 1
