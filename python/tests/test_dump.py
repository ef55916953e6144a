"""The flight recorder."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from realtime_client import RealtimeError, WebSocketClient
from realtime_client.testing import RealtimeServer

from .conftest import Heard
from .peer import Peer, plain


async def test_a_dump_tells_what_happened_and_nothing_secret(server: RealtimeServer) -> None:
    async with WebSocketClient(server.url, token="secret-token", headers={"x-key": "secret-header"}) as client:
        channel = client.channel("room")
        got = Heard(channel, "said")
        await channel.subscribe()
        await channel.send("said", "secret-payload")
        await got.count(1)
        dump = client.dump()
    assert (dump["status"], dump["phase"]) == ("connected", "connected")
    assert [(known["name"], known["offset"]) for known in dump["channels"]] == [("room", 1)]
    entries = dump["entries"]
    assert dump["recorded"] == len(entries)
    assert [entry["at"] for entry in entries] == sorted(entry["at"] for entry in entries)
    types = {(entry["what"], entry["type"]) for entry in entries if "type" in entry}
    assert types >= {("sent", "hello"), ("received", "welcome"), ("sent", "publish"), ("received", "message")}
    assert "secret" not in json.dumps(dump)
    assert server.url not in json.dumps(dump)


def test_a_client_that_was_never_used_has_nothing_to_tell() -> None:
    assert WebSocketClient("ws://127.0.0.1:1").dump() == {}


async def test_an_error_that_ends_the_client_is_reported(tmp_path: Path) -> None:
    report = tmp_path / "report.json"
    async with Peer(plain) as peer:
        client = WebSocketClient(peer.url, protocol="realtime.v1", error_report=report)
        with pytest.raises(RealtimeError, match="acknowledged none of the subprotocols"):
            await client.connect()
        dump = json.loads(report.read_text())
        await client.disconnect()
    assert (dump["status"], dump["phase"]) == ("error", "stopped")
    assert {"what": "error", "code": "protocol_error"}.items() <= dump["entries"][-2].items()


async def test_a_report_that_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    async with Peer(plain) as peer:
        client = WebSocketClient(peer.url, protocol="realtime.v1", error_report=str(tmp_path / "no" / "report.json"))
        errors = Heard(client, "error")
        with pytest.raises(RealtimeError):
            await client.connect()
        await errors.until(lambda seen: "invalid_option" in {error.code for error in seen})
        await client.disconnect()
