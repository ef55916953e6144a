"""What happens in the middle of a batch: handlers that raise, leave, come and go; bad payloads; sizes."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from typing import Any

import pytest

from realtime_client import Message, RealtimeChannel, RealtimeError, WebSocketClient

from .conftest import TIMEOUT, Heard
from .peer import BINARY, TEXT, Connection, Peer
from .test_failures import WELCOME


def line(payload: str, offset: int, channel: str = "room") -> bytes:
    head = f'{{"type":"message","channel":"{channel}","event":"n","offset":{offset},"timestamp":1,"payload":'
    return f"{head}{payload}}}".encode()


def numbers(count: int) -> bytes:
    """The numbers from 1 on, a message each, in one frame: they come in one batch."""
    return b"\n".join(line(str(number), number) for number in range(1, count + 1))


class World:
    """A client of a peer that answers subscriptions, and sends what it is told."""

    def __init__(
        self,
        client: WebSocketClient,
        channels: Sequence[RealtimeChannel],
        connection: Connection,
        mutated: asyncio.Event,
    ) -> None:
        self.client = client
        self.channels = channels
        self.channel = channels[0]
        self.errors = Heard(client, "error")
        self.mutated = mutated
        self._after = Heard(client, "after")
        self._connection = connection

    async def send(self, frame: bytes, kind: int = TEXT) -> None:
        await self._connection.send(frame, kind)

    async def settle(self) -> None:
        """Waits for a message behind everything else."""
        before = len(self._after.all)
        await self.send(b'{"type":"direct","event":"after","payload":1}')
        await self._after.count(before + 1)


@asynccontextmanager
async def world(*names: str) -> AsyncIterator[World]:
    connected: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()
    mutated = asyncio.Event()

    async def behave(connection: Connection) -> None:
        await connection.accept("realtime.v1")
        await connection.receive_json("hello")
        await connection.send(WELCOME)
        connected.set_result(connection)
        while True:
            kind, data = await connection.receive()
            for text in data.splitlines() if kind == TEXT else ():
                message = json.loads(text)
                answer = {name: message[name] for name in ("id", "channel", "collection") if name in message}
                if message["type"] == "subscribe":
                    await connection.send({"type": "subscribed", **answer, "epoch": "e", "offset": 0})
                elif message["type"] == "unsubscribe":
                    await connection.send({"type": "unsubscribed", **answer})
                elif message["type"] == "mutate":
                    mutated.set()
                elif message["type"] == "publish":
                    await connection.send({"type": "receipt", "id": message["id"], "epoch": "e", "offset": 1000})

    async with Peer(behave) as peer, WebSocketClient(peer.url) as client:
        channels = [client.channel(name) for name in names or ("room",)]
        for channel in channels:
            await channel.subscribe()
        yield World(client, channels, await connected, mutated)


class Untold(Exception):
    """An exception that cannot even be shown."""

    def __str__(self) -> str:
        raise ValueError("no text")

    __repr__ = __str__


class Deadly(BaseException):
    """One that `except Exception` lets pass."""


@pytest.mark.parametrize("alone", [True, False])
async def test_handlers_that_raise_whatever_can_be_raised(alone: bool) -> None:
    raised = [ValueError("bad"), Untold(), Deadly("deadly"), asyncio.CancelledError(), StopIteration(), GeneratorExit()]
    async with world() as here:
        seen: list[int] = []
        later = Heard(here.client, "message")
        if not alone:
            here.channel.on("n", lambda number: None)

        def handler(number: int) -> None:
            seen.append(number)
            if number % 5 == 0:
                raise raised[number // 5 - 1]

        here.channel.on("n", handler)
        await here.send(numbers(5 * len(raised) + 4))
        await here.settle()
        assert seen == list(range(1, 5 * len(raised) + 5))
        assert len(later.all) == len(seen) + 1
        assert [error.code for error in here.errors.values] == ["handler_failed"] * len(raised)
        assert [error.__cause__ for error in here.errors.values] == raised


async def test_async_handlers_that_raise() -> None:
    raised = [ValueError("bad"), Untold(), asyncio.CancelledError()]
    async with world() as here:
        seen: list[int] = []
        done = asyncio.Event()

        @here.channel.on("n")
        async def handler(number: int) -> None:
            await asyncio.sleep(0)
            seen.append(number)
            if number == 19:
                done.set()
            if number % 5 == 0:
                raise raised[number // 5 - 1]

        await here.send(numbers(19))
        await asyncio.wait_for(done.wait(), TIMEOUT)
        assert seen == list(range(1, 20))
        assert [error.code for error in here.errors.values] == ["handler_failed"] * 3


async def test_handlers_that_come_and_go() -> None:
    async with world("room", "other") as here:
        first: list[int] = []
        second: list[int] = []
        gone: list[int] = []
        other: list[int] = []
        leave = here.channel.on("n", gone.append)

        def handler(number: int) -> None:
            first.append(number)
            if number == 3:
                here.channel.on("n", second.append)
            if number == 5:
                leave()
            if number == 6:
                here.channels[1].on("n", other.append)

        here.channel.on("n", handler)
        lines = [line(str(n), n, name) for n in range(1, 11) for name in ("room", "other")]
        await here.send(b"\n".join(lines))
        await here.settle()
        assert first == list(range(1, 11))
        assert second == list(range(4, 11))
        assert gone == list(range(1, 6))
        assert other == list(range(6, 11))


@pytest.mark.parametrize("alone", [True, False])
async def test_unsubscribing_one_of_two_channels(alone: bool) -> None:
    async with world("room", "other") as here:
        left: list[int] = []
        stayed = Heard(here.channels[1], "n")
        leaving: list[Any] = []

        def handler(number: int) -> None:
            left.append(number)
            if number == 4:
                leaving.append(here.channel.unsubscribe())

        here.channel.on("n", handler)
        if not alone:
            here.channel.on("n", lambda number: None)
        lines = [line(str(n), n, name) for n in range(1, 11) for name in ("room", "other")]
        await here.send(b"\n".join(lines))
        await here.settle()
        await asyncio.wait_for(leaving[0], TIMEOUT)
        assert stayed.values == list(range(1, 11))
        assert left == [1, 2, 3, 4], "no handler is called after unsubscribe()"
        await here.channel.subscribe()
        await here.send(line("11", 1))
        await here.settle()
        assert left == [1, 2, 3, 4, 11]


async def test_unsubscribing_drops_what_waits_for_an_async_handler() -> None:
    async with world() as here:
        seen: list[int] = []
        left = asyncio.Event()

        @here.channel.on("n")
        async def handler(number: int) -> None:
            seen.append(number)
            if number == 3:
                await here.channel.unsubscribe()
                left.set()

        await here.send(numbers(10))
        await asyncio.wait_for(left.wait(), TIMEOUT)
        await here.settle()
        assert seen == [1, 2, 3]
        await here.channel.subscribe()
        await here.send(line("11", 1))
        await here.settle()
        assert seen == [1, 2, 3, 11]
        assert here.client.get_stats().unconsumed_bytes == 0


@pytest.mark.parametrize("waits", [True, False])
async def test_a_handler_that_disconnects_hears_what_had_come_once(waits: bool) -> None:
    async with world() as here:
        seen: list[Any] = []
        done = asyncio.Event()

        async def leave() -> None:
            await here.client.disconnect()
            seen.append("closed")
            done.set()

        tasks: list[Any] = []

        async def waiting(number: int) -> None:
            seen.append(number)
            if number == 3:
                await leave()

        def plain(number: int) -> None:
            seen.append(number)
            if number == 3:
                tasks.append(asyncio.ensure_future(leave()))

        here.channel.on("n", waiting if waits else plain)
        await here.send(numbers(10))
        await asyncio.wait_for(done.wait(), TIMEOUT)
        for _ in range(100):
            await asyncio.sleep(0)
        # Whoever waits for the end in a handler hears the rest when that is done.
        closed = 3 if waits else 10
        assert seen == [*range(1, closed + 1), "closed", *range(closed + 1, 11)]


async def test_a_handler_that_sends_and_one_that_opens_a_channel() -> None:
    async with world() as here:
        seen: list[int] = []
        sends: list[Any] = []

        def handler(number: int) -> None:
            seen.append(number)
            sends.append(here.channel.send("m", number))
            if number == 5:
                sends.append(here.client.channel("new").subscribe())

        here.channel.on("n", handler)
        await here.send(numbers(50))
        await here.settle()
        assert seen == list(range(1, 51))
        await asyncio.wait_for(asyncio.gather(*sends), TIMEOUT)


async def test_payloads_that_are_no_json_fail_alone() -> None:
    deep = "[" * 900 + "]" * 900
    # These come to the parser, since they begin and end like a value; others are found before, and told with their gap.
    bad = [
        "{bad}",
        "[1],[2]",
        '{}},"x":{}',
        "[1,]",
        "1-2",
        r'"\x"',
        '"\x01"',
        '{},"x":{}',
        "[[1]",
        '{"a":1}}',
        "[" * 100_000 + "]" * 100_000,
    ]
    payloads = [
        '"é"',
        *(each for n, payload in enumerate(bad) for each in (payload, str(n))),
        deep,
        r'"\ud800"',
        '"end"',
    ]
    async with world() as here:
        seen: list[tuple[Any, int | None]] = []
        here.channel.on("n", lambda data, message: seen.append((data, message.offset)))
        await here.send(b"\n".join(line(payload, offset) for offset, payload in enumerate(payloads, 1)))
        await here.settle()
        assert [error.code for error in here.errors.values] == ["malformed"] * len(bad)
        assert here.client.get_stats().malformed == len(bad)
        assert seen[: 1 + len(bad)] == [("é", 1), *((n, 2 * n + 3) for n in range(len(bad)))]
        assert seen[1 + len(bad)] == (json.loads(deep), len(payloads) - 2)
        assert seen[2 + len(bad) :] == [("\ud800", len(payloads) - 1), ("end", len(payloads))]


async def test_small_payloads_are_what_they_would_be_alone() -> None:
    values: list[Any] = [n if n % 3 else {"n": [n, str(n), None, n / 7]} for n in range(100)]
    values[40] = 123456789012345678901234567890
    values[70] = "long" * 500
    # Two that are one together, and one that is two.
    bad = {20: "[[1]", 21: "[2]]", 50: "[1],[2]"}
    payloads = [bad.get(n, json.dumps(value)) for n, value in enumerate(values)]
    async with world() as here:
        got = Heard(here.channel, "n")
        await here.send(b"\n".join(line(payload, offset) for offset, payload in enumerate(payloads, 1)))
        await here.settle()
        assert got.values == [value for n, value in enumerate(values) if n not in bad]
        assert [error.code for error in here.errors.values] == ["malformed"] * len(bad)


async def test_payloads_that_break_a_batch_in_pairs_shift_payloads_and_nothing_else() -> None:
    payloads = ["1", "[[1]", "[2]]", "[3],[4]", "5"]
    async with world() as here:
        seen: list[tuple[Any, int | None]] = []
        here.channel.on("n", lambda data, message: seen.append((data, message.offset)))
        await here.send(b"\n".join(line(payload, offset) for offset, payload in enumerate(payloads, 1)))
        await here.settle()
        assert seen == [(1, 1), ([[1], [2]], 2), ([3], 3), ([4], 4), (5, 5)]


async def test_bytes_that_are_no_text_are_no_payload() -> None:
    async with world() as here:
        got = Heard(here.channel, "n")
        frame = b"\n".join([line('"é1"', 1), line('"?"', 2).replace(b"?", b"\xff"), line('"3"', 3)])
        await here.send(frame, BINARY)
        await here.settle()
        assert got.values == ["é1", "3"]
        assert [error.code for error in here.errors.values] == ["malformed"]


async def test_a_record_that_nests_deeper_than_any_server_allows() -> None:
    async with world() as here:
        tasks = here.channel.collection("tasks")
        await here.settle()
        of = {"channel": "room", "collection": "tasks"}
        page = {"type": "snapshot", **of, "epoch": "e", "offset": 0, "part": 0, "end": 0, "records": []}
        deep = b"[" * 50_000 + b"]" * 50_000
        head = b'{"type":"change","channel":"room","collection":"tasks","op":"insert","key":"'
        await here.send(json.dumps(page).encode())
        await here.send(head + b'a","offset":1,"timestamp":1,"payload":{"id":"a","deep":' + deep + b"}}")
        await here.send(head + b'b","offset":2,"timestamp":1,"payload":{"id":"b"}}')
        await here.settle()
        assert tasks.get("b") == {"id": "b"}
        assert [error.code for error in here.errors.values] == ["malformed"]


async def test_a_refusal_that_nests_deeper_than_any_server_allows() -> None:
    async with world() as here:
        changing = here.channel.collection("tasks").insert({"id": "a"})
        await asyncio.wait_for(here.mutated.wait(), TIMEOUT)
        deep = b"[" * 50_000 + b"]" * 50_000
        refusal = b'{"type":"error","id":1,"code":"conflict","message":"no","revision":3,"record":{"id":"a","deep":'
        await here.send(refusal + deep + b"}}")
        with pytest.raises(RealtimeError) as raised:
            await asyncio.wait_for(changing, TIMEOUT)
        assert raised.value.code == "malformed"


async def test_messages_of_all_sizes_around_the_bound_of_a_batch() -> None:
    sizes = [1, 95 << 10, 1, 97 << 10, 1, 1, 5 << 20, 1, 96 << 10, (96 << 10) - 1, 2]
    texts = [chr(97 + n) * size for n, size in enumerate(sizes)]
    async with world() as here:
        got = Heard(here.channel, "n")
        await here.send(b"\n".join(line(json.dumps(text), n) for n, text in enumerate(texts, 1)))
        for n, text in enumerate(texts, len(texts) + 1):
            await here.send(line(json.dumps(text), n))
        await got.count(2 * len(texts))
        await here.settle()
        assert got.values == texts * 2


async def test_one_frame_with_more_messages_than_a_batch_has_room_for() -> None:
    async with world() as here:
        seen: list[Message] = []
        here.channel.on("n", lambda data, message: seen.append(message))
        payloads = [str(n) if n % 3 else json.dumps(["x" * 50, n]) for n in range(1, 9001)]
        await here.send(b"\n".join(line(payload, n) for n, payload in enumerate(payloads, 1)))
        await here.settle()
        assert [message.offset for message in seen] == list(range(1, 9001))
        assert [message.data for message in seen] == [json.loads(payload) for payload in payloads]


async def test_an_error_handler_that_raises() -> None:
    async with world() as here:

        def fail(error: RealtimeError) -> None:
            raise Untold

        here.client.on("error", fail)
        got = Heard(here.channel, "n")

        def handler(number: int) -> None:
            if number == 3:
                raise ValueError("bad")

        here.channel.on("n", handler)
        await here.send(numbers(10))
        await here.settle()
        assert got.values == list(range(1, 11))
        assert len(here.errors.all) == 1
