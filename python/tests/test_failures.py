"""Bad options, and peers that misbehave: each has its code, and the client goes on where it can."""

from __future__ import annotations

import asyncio
import math
import ssl
from typing import Any

import pytest

from realtime_client import Opened, RealtimeError, Status, WebSocketClient
from realtime_client.testing import RealtimeServer

from .conftest import FAST, TIMEOUT, Heard
from .peer import BINARY, TEXT, Connection, Peer, plain


@pytest.mark.parametrize(
    "url", ["", "localhost", "http://localhost", "ws://", "ws://host:99999", "ws://host/#fragment", 7, None]
)
def test_an_invalid_url_is_refused(url: Any) -> None:
    with pytest.raises(RealtimeError) as raised:
        WebSocketClient(url)
    assert raised.value.code == "invalid_url"


@pytest.mark.parametrize(
    "options",
    [
        {"protocol": "mqtt"},
        {"token": 7},
        {"token_placement": "cookie"},
        {"token_timeout": 0},
        {"headers": {"a b": "c"}},
        {"headers": {"a": 1}},
        {"headers": [("a", "b")]},
        {"headers": {"a": "b\r\nc: d"}},
        {"query": {"a": 1}},
        {"subprotocols": ["a b"]},
        {"subprotocols": "mine"},
        {"connect_timeout": 0},
        {"connect_timeout": -1},
        {"connect_timeout": "soon"},
        {"connect_timeout": True},
        {"connect_timeout": math.nan},
        {"connect_timeout": math.inf},
        {"heartbeat_interval": 5, "heartbeat_timeout": 4},
        {"reconnect": 1},
        {"reconnect_base": 5, "reconnect_max": 4},
        {"attempts_until_error": 0},
        {"max_attempts": 0},
        {"max_attempts": 1.5},
        {"send_timeout": 0},
        {"queue_messages": 0},
        {"queue_messages": -1},
        {"queue_messages": "many"},
        {"queue_bytes": 2**70},
        {"when_full": "panic"},
        {"inbox_bytes": 0},
        {"rate_limit": 0},
        {"ca": 7},
        {"proxy": 7},
    ],
    ids=str,
)
def test_an_option_of_the_wrong_type_or_range_is_refused(options: dict[str, Any]) -> None:
    with pytest.raises(RealtimeError) as raised:
        WebSocketClient("ws://127.0.0.1:1", **options)
    assert raised.value.code == "invalid_option"
    # In the spelling of this language.
    assert any(name in str(raised.value) for name in options), str(raised.value)


def test_an_unknown_option_is_a_type_error() -> None:
    with pytest.raises(TypeError):
        WebSocketClient("ws://127.0.0.1:1", colour="red")  # type: ignore[call-arg]


async def test_a_ca_that_is_none_is_refused() -> None:
    client = WebSocketClient("wss://127.0.0.1:1", ca="-----BEGIN NONSENSE-----")
    with pytest.raises(RealtimeError) as raised:
        await client.connect()
    assert raised.value.code == "invalid_option"


async def test_a_host_that_does_not_exist() -> None:
    client = WebSocketClient("ws://name.invalid:80", reconnect=False)
    client.on("error", lambda: None)
    with pytest.raises(RealtimeError) as raised:
        await client.connect()
    assert raised.value.code == "connect_failed"
    assert "name.invalid" in str(raised.value)


async def test_tls_with_an_unknown_authority_fails_and_with_the_right_one_works(certificate: tuple[str, str]) -> None:
    authority, key = certificate
    async with RealtimeServer(host="localhost", tls_certificate=authority, tls_key=key) as server:
        assert server.url.startswith("wss://localhost:")
        client = WebSocketClient(server.url, reconnect=False)
        client.on("error", lambda: None)
        with pytest.raises(RealtimeError) as raised:
            await client.connect()
        assert raised.value.code == "tls_failed"
        for ca in (authority, authority.encode(), ssl.PEM_cert_to_DER_cert(authority)):
            async with WebSocketClient(server.url, ca=ca) as trusting:
                assert (await trusting.channel("room").send("said", 1)).acknowledged


async def test_tls_with_a_server_that_speaks_none() -> None:
    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(1)
        writer.write(b"HTTP/1.1 400 Bad Request\r\n\r\n")
        writer.close()

    async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
        port = listening.sockets[0].getsockname()[1]
        client = WebSocketClient(f"wss://127.0.0.1:{port}", reconnect=False)
        client.on("error", lambda: None)
        with pytest.raises(RealtimeError) as raised:
            await client.connect()
        assert raised.value.code == "tls_failed"


@pytest.mark.parametrize(
    ("status", "code"), [(401, "unauthenticated"), (403, "http_status"), (404, "http_status"), (426, "http_status")]
)
async def test_a_final_http_status_is_raised_at_once(status: int, code: str) -> None:
    async with Peer(lambda connection: connection.answer(f"{status} No")) as peer:
        client = WebSocketClient(peer.url, **FAST)
        client.on("error", lambda: None)
        with pytest.raises(RealtimeError) as raised:
            await client.connect()
        assert (raised.value.code, raised.value.status) == (code, status)
        assert client.status is Status.ERROR
        assert peer.connections <= 2


@pytest.mark.parametrize("status", [429, 503])
async def test_retry_after_is_honoured(status: int) -> None:
    attempts: list[float] = []

    async def behave(connection: Connection) -> None:
        attempts.append(asyncio.get_running_loop().time())
        if len(attempts) == 1:
            await connection.answer(f"{status} Later", "Retry-After: 1")
        else:
            await plain(connection)

    async with Peer(behave) as peer:
        client = WebSocketClient(peer.url, **FAST)
        errors = Heard(client, "error")
        async with client:
            pass
        assert [(error.code, error.status, error.retry_after) for error in errors.values] == [
            ("http_status", status, 1.0)
        ]
        assert attempts[1] - attempts[0] >= 0.99


async def test_a_peer_that_speaks_no_websocket() -> None:
    async def behave(connection: Connection) -> None:
        connection._writer.write(b"220 mail.example ESMTP\r\n")
        await connection._writer.drain()

    async with Peer(behave) as peer:
        client = WebSocketClient(peer.url, reconnect=False)
        client.on("error", lambda: None)
        with pytest.raises(RealtimeError) as raised:
            await client.connect()
        assert raised.value.code == "protocol_error"


async def test_a_peer_that_accepts_and_says_nothing_is_a_timeout() -> None:
    async def behave(connection: Connection) -> None:
        await connection.until_gone()

    async with Peer(behave) as peer:
        client = WebSocketClient(peer.url, connect_timeout=0.1, reconnect=False)
        client.on("error", lambda: None)
        with pytest.raises(RealtimeError) as raised:
            await client.connect()
        assert raised.value.code == "timeout"


async def test_a_server_that_closes_at_once_in_a_loop_is_not_hammered() -> None:
    async def behave(connection: Connection) -> None:
        await connection.accept()
        await connection.close(1011, "sorry")

    async with Peer(behave) as peer:
        client = WebSocketClient(peer.url, protocol="plain", **FAST)
        closed = Heard(client, "close")
        began = asyncio.get_running_loop().time()
        await client.connect()
        await closed.count(8)
        assert {(close.code, close.reason, close.reconnecting) for close in closed.values} == {(1011, "sorry", True)}
        # Full jitter over up to 0.1 s: eight in less than 20 ms would be a loop without backoff.
        assert asyncio.get_running_loop().time() - began > 0.02
        await client.disconnect()


async def test_a_final_close_code_ends_it() -> None:
    async def behave(connection: Connection) -> None:
        await connection.accept()
        await connection.receive_json("subscribe")
        await connection.close(4501, "banned")

    async with Peer(behave) as peer:
        client = WebSocketClient(peer.url, protocol="plain", **FAST)
        errors, closed, status = Heard(client, "error"), Heard(client, "close"), Heard(client, "status")
        await client.connect()
        channel = client.channel("room")
        subscribed = channel.subscribe()
        await status.until(lambda seen: seen[-1] == "error")
        subscribed.cancel()
        assert [(error.code, error.close_code) for error in errors.values] == [("rejected", 4501)]
        assert not closed.values[0].reconnecting
        with pytest.raises(RealtimeError) as raised:
            await channel.send("said", 1)
        assert (raised.value.code, raised.value.close_code) == ("rejected", 4501)
        assert peer.connections == 1


BROKEN = [
    b"not json",
    b"{",
    b'{"type":"news","payload":}',
    b'{"type":"news","payload":NaN}',
]


@pytest.mark.parametrize("text", BROKEN)
async def test_a_message_that_is_not_understood_is_left_out_and_told(text: bytes) -> None:
    async def behave(connection: Connection) -> None:
        await connection.accept()
        await connection.receive_json("subscribe")
        await connection.send(text)
        await connection.send({"type": "news", "payload": 1, "channel": "room"})
        await connection.until_gone()

    async with Peer(behave) as peer:
        client = WebSocketClient(peer.url, protocol="plain")
        errors, got = Heard(client, "error"), Heard(client.channel("room"), "news")
        async with client:
            await client.channel("room").subscribe()
            assert await got.count(1) == [1]
            assert [error.code for error in errors.values] == ["malformed"]
            assert client.get_stats().malformed <= 1


@pytest.mark.parametrize("text", [b'{"type":7,"payload":1}', b"[1]", b"7", b'{"no":"type"}'])
async def test_json_without_a_type_arrives_under_message(text: bytes) -> None:
    async def behave(connection: Connection) -> None:
        await connection.accept()
        await connection.send(text)
        await connection.until_gone()

    async with Peer(behave) as peer:
        client = WebSocketClient(peer.url, protocol="plain")
        everything = Heard(client, "message")
        async with client:
            (message,) = await everything.count(1)
            assert (message.channel, message.event) == (None, None)


async def test_unknown_types_of_realtime_v1_are_counted_and_told() -> None:
    async def behave(connection: Connection) -> None:
        await connection.accept("realtime.v1")
        await connection.receive_json("hello")
        await connection.send(WELCOME)
        await connection.send({"type": "from_the_future", "x": 1})
        await connection.send({"type": "receipt", "id": 99})
        await connection.send(b"\x7f\x00", BINARY)
        await connection.send({"type": "direct", "event": "news", "payload": 1})
        await connection.until_gone()

    async with Peer(behave) as peer:
        client = WebSocketClient(peer.url)
        errors, got = Heard(client, "error"), Heard(client, "news")
        async with client:
            assert await got.count(1) == [1]
            assert {error.code for error in errors.values} == {"unknown_type"}
            assert client.get_stats().unexpected == 1


async def test_invalid_utf8_costs_the_connection_and_it_comes_back() -> None:
    async def behave(connection: Connection) -> None:
        await connection.accept()
        if peer.connections == 1:
            await connection.send(b'{"type":"\xff"}', TEXT)
        await connection.until_gone()

    async with Peer(behave) as peer:
        client = WebSocketClient(peer.url, protocol="plain", **FAST)
        status = Heard(client, "status")
        await client.connect()
        await status.until(lambda seen: "reconnecting" in seen and seen[-1] == "connected")
        await client.disconnect()


async def test_a_payload_that_only_json_of_python_reads_is_read() -> None:
    async def behave(connection: Connection) -> None:
        await connection.accept()
        await connection.send(b'{"type":"news","payload":{"big":123456789012345678901234567890,"lone":"\\ud800"}}')
        await connection.until_gone()

    async with Peer(behave) as peer:
        client = WebSocketClient(peer.url, protocol="plain")
        got = Heard(client, "news")
        async with client:
            assert await got.count(1) == [{"big": 123456789012345678901234567890, "lone": "\ud800"}]


async def test_the_headers_the_query_and_the_subprotocols_arrive() -> None:
    requests: list[Connection] = []

    async def behave(connection: Connection) -> None:
        requests.append(connection)
        await connection.accept("mine")
        await connection.until_gone()

    async with Peer(behave) as peer:
        async with WebSocketClient(
            peer.url + "/path?a=1",
            headers={"X-Team": "blue"},
            query={"b": "2 3"},
            subprotocols=["mine"],
            token="sesame",
            token_placement="query:access",
        ):
            pass
    (connection,) = requests
    assert connection.request.startswith("GET /path?a=1&b=2+3&access=sesame HTTP/1.1")
    assert connection.header("x-team") == "blue"
    assert "mine" in (connection.header("sec-websocket-protocol") or "")


async def test_a_server_that_acknowledges_no_subprotocol_is_plain() -> None:
    opened: list[Opened] = []
    async with Peer(plain) as peer:
        client = WebSocketClient(peer.url)
        client.on("open", opened.append)
        async with client:
            pass
    assert [info.dialect for info in opened] == ["plain"]


async def test_realtime_v1_alone_is_refused_by_a_plain_server() -> None:
    async with Peer(plain) as peer:
        client = WebSocketClient(peer.url, protocol="realtime.v1")
        client.on("error", lambda: None)
        with pytest.raises(RealtimeError) as raised:
            await asyncio.wait_for(client.connect(), TIMEOUT)
        assert raised.value.code == "protocol_error"


async def test_a_drain_brings_the_client_back(server: RealtimeServer) -> None:
    client = WebSocketClient(server.url, **FAST)
    closed, status = Heard(client, "close"), Heard(client, "status")
    async with client:
        server.disconnect_all()
        await status.until(lambda seen: "reconnecting" in seen and seen[-1] == "connected")
        assert closed.values[0].code == 4000


WELCOME = {
    "type": "welcome",
    "session": "s",
    "connection": "c",
    "resumed": False,
    "heartbeat": 30000,
    "timeout": 60000,
    "encoding": "text",
    "time": 0,
    "limits": {"frame": 1 << 20, "payload": 1 << 19, "channels": 10, "inflight": 10, "rate": 0},
    "server": "peer",
}
