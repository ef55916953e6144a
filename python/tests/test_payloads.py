"""What JSON carries, exactly; what it cannot carry, refused."""

from __future__ import annotations

import asyncio
import dataclasses
import datetime
import enum
import math
import random
from typing import Any

import pytest

from realtime_client import RealtimeError, WebSocketClient
from realtime_client._json import loads_exactly
from realtime_client._realtime import encode
from realtime_client.testing import RealtimeServer

from .conftest import Heard


@dataclasses.dataclass
class Point:
    x: float
    y: int


class Color(enum.Enum):
    RED = 1.5
    BROKEN = math.nan


CYCLE: list[Any] = []
CYCLE.append(CYCLE)

VALUES: list[Any] = [
    None,
    True,
    False,
    0,
    -1,
    2**53 + 1,
    2**63 - 1,
    -(2**63),
    2**63,
    2**64 - 1,
    2**64,
    -(2**63) - 1,
    10**18,
    10**19,
    -(10**19),
    10**40,
    0.1,
    1e300,
    -0.0,
    "",
    "null",
    'grüß 🎈 \u2028 \x00 " \\ \n',
    "1234567890123456789012345",
    [],
    {},
    [None, [None], {"null": None}],
    {"": "", "ä": [1, 2.5, {"deep": [True, None]}]},
    {"id": 12345678901234567890123, "list": [2**70, -(2**70)], "none": None},
]

REFUSED: list[Any] = [
    math.nan,
    math.inf,
    -math.inf,
    [1, {"a": math.nan}],
    (None, math.inf),
    {"none": None, "nan": math.nan},
    [2**70, math.nan],
    Point(math.nan, 1),
    Color.BROKEN,
    CYCLE,
    [2**70, CYCLE],
    {1: "a"},
    {None: "a"},
    {"big": 2**70, 1: "a"},
    {1, 2},
    object(),
    1j,
    "\ud800",
    {"a": "\udfff"},
    [2**70, object()],
]


@pytest.mark.parametrize("value", VALUES, ids=repr)
async def test_a_value_arrives_as_it_was(client: WebSocketClient, value: Any) -> None:
    channel = client.channel("room")
    got = Heard(channel, "said")
    await channel.subscribe()
    await channel.send("said", value)
    (arrived,) = await got.count(1)
    assert arrived == value
    assert type(arrived) is type(value)


@pytest.mark.parametrize("value", REFUSED, ids=lambda value: type(value).__name__)
async def test_what_json_cannot_carry_is_refused_and_nothing_is_sent(client: WebSocketClient, value: Any) -> None:
    channel = client.channel("room")
    for send in (channel.send, client.send):
        with pytest.raises(RealtimeError) as raised:
            send("said", value)
        assert raised.value.code == "invalid_payload"
    assert client.get_stats().queued == 0
    # The client goes on.
    assert (await channel.send("said", 1)).offset == 1


@pytest.mark.parametrize(
    ("value", "arrived"),
    [
        ((1, 2), [1, 2]),
        (Point(1.5, 2), {"x": 1.5, "y": 2}),
        ([Point(1.5, 2**70)], [{"x": 1.5, "y": 2**70}]),
        (Color.RED, 1.5),
        (datetime.datetime(2026, 1, 2, tzinfo=datetime.timezone.utc), "2026-01-02T00:00:00+00:00"),
        ([datetime.date(2026, 1, 2), 2**70], ["2026-01-02", 2**70]),
    ],
)
async def test_what_has_a_usual_form_is_sent_in_it(client: WebSocketClient, value: Any, arrived: Any) -> None:
    channel = client.channel("room")
    got = Heard(channel, "said")
    await channel.subscribe()
    await channel.send("said", value)
    assert await got.count(1) == [arrived]


async def test_integers_of_any_size_and_place_are_exact(client: WebSocketClient) -> None:
    source = random.Random(7)
    channel = client.channel("room")
    got = Heard(channel, "said")
    await channel.subscribe()
    values: list[Any] = []
    for _ in range(500):
        number = source.randrange(10 ** source.randrange(1, 40)) * source.choice([1, -1])
        values.append({"f" * source.randrange(1, 30): [source.random(), number, "x" * source.randrange(25)]})
    await asyncio.gather(*(channel.send("said", value) for value in values))
    assert await got.count(len(values)) == values


async def test_deep_nesting_is_refused_by_the_server_and_the_client_goes_on(client: WebSocketClient) -> None:
    deep: list[Any] = []
    for _ in range(150):
        deep = [deep]
    with pytest.raises(RealtimeError) as raised:
        await client.channel("room").send("said", deep)
    assert raised.value.code == "malformed"
    assert (await client.channel("room").send("said", [])).acknowledged


def test_encode_knows_the_size() -> None:
    assert len(encode({"a": 1})) == len(b'{"a":1}')
    assert len(encode(b"abc")) == 3


@pytest.mark.parametrize("text", [b"NaN", b"[Infinity]", b"-Infinity", b"", b"{", b'{"a":1}}', b"\xff", b'"\xff"'])
def test_what_is_not_json_is_not_read(text: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 - the kinds of ValueError are many
        loads_exactly(text)


async def test_the_test_server_publishes_the_same_payloads(server: RealtimeServer) -> None:
    async with WebSocketClient(server.url) as client:
        got = Heard(client.channel("room"), "said")
        await client.channel("room").subscribe()
        server.publish("room", "said", {"big": 2**70})
        server.publish("room", "said", b"\x00")
        assert await got.count(2) == [{"big": 2**70}, b"\x00"]
        with pytest.raises(RealtimeError):
            server.publish("room", "said", math.nan)
