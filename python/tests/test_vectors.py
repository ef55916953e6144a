"""The shared vectors (`tests/vectors`) as far as a user of this package can see them."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest

from realtime_client import RealtimeError, WebSocketClient
from realtime_client.testing import RealtimeServer

from .conftest import FAST, TIMEOUT, Heard

FOLDER = Path(__file__).parents[2] / "tests" / "vectors"


def load(name: str) -> Any:
    return json.loads((FOLDER / name).read_text())


async def test_payloads_arrive_as_they_were_sent(client: WebSocketClient) -> None:
    room = client.channel("room")
    heard = Heard(room, "value")
    await room.subscribe()
    values = [json.loads(value["json"]) for value in load("payloads.json")["values"]]
    for value in values:
        await room.send("value", value)
    # `repr` tells 1 from 1.0 and True.
    assert [repr(value) for value in await heard.count(len(values))] == [repr(value) for value in values]


async def test_names(client: WebSocketClient) -> None:
    names = load("payloads.json")["names"]
    for name in [*names["valid"], "x" * names["longest_bytes"]]:
        channel = client.channel(name)
        heard = Heard(channel, name)
        await channel.subscribe()
        await channel.send(name, 1)
        assert await heard.count(1) == [1]
    for length in names["invalid_bytes"]:
        with pytest.raises(RealtimeError) as refused:
            client.channel("x" * length)
        assert refused.value.code == "invalid_name"
        with pytest.raises(RealtimeError) as refused:
            await client.channel("room").send("x" * length, 1)
        assert refused.value.code == "invalid_name"


@pytest.mark.parametrize("close", [close for close in load("codes.json")["closes"] if close["code"] >= 4000], ids=str)
async def test_a_close_code_decides_by_its_range(server: RealtimeServer, close: dict[str, Any]) -> None:
    client = WebSocketClient(server.url, **FAST)
    statuses = Heard(client, "status")
    closes = Heard(client, "close")
    await client.connect()
    # A fixed token, or none, cannot be refreshed.
    ends = close["policy"] != "reconnect"
    server.disconnect_all(close["code"])
    await statuses.until(lambda seen: ("error" if ends else "reconnecting") in seen)
    assert ("reconnecting" in statuses.values) != ends
    assert closes.values[0].code == close["code"]
    if not ends:
        await asyncio.wait_for(client.connect(), TIMEOUT)
    else:
        with pytest.raises(RealtimeError) as refused:
            await client.channel("room").send("e", 1)
        assert refused.value.code == ("rejected" if close["policy"] == "terminal" else "unauthenticated")
        assert refused.value.close_code == close["code"]
    await client.disconnect()
