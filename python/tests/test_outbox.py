"""The durable outbox: a file, a real interpreter, a real kill."""

from __future__ import annotations

import asyncio
import subprocess
import sys
from collections import defaultdict
from pathlib import Path

import pytest

from realtime_client import RealtimeError, WebSocketClient
from realtime_client.testing import RealtimeServer

from .conftest import FAST, TIMEOUT, Heard

PROGRAM = """
import asyncio, sys
from realtime_client import WebSocketClient

async def main(url, path, round):
    client = WebSocketClient(url, queue_path=path, queue_messages=1_000_000)
    room = client.channel("room")
    connecting = asyncio.ensure_future(client.connect())
    for number in range(100_000):
        room.send("n", [round, number])
        print(number, flush=True)
        if number % 16 == 0:
            await asyncio.sleep(0)

asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
"""


def _run_and_kill(url: str, path: Path, round_: int, until: int) -> int:
    """How many sends a process had accepted when it was killed."""
    program = [sys.executable, "-c", PROGRAM, url, str(path), str(round_)]
    with subprocess.Popen(program, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        accepted = 0
        for _ in process.stdout:
            accepted += 1
            if accepted == until:
                process.kill()
    return accepted


async def test_what_was_accepted_survives_kill_9_and_arrives_exactly_once(
    server: RealtimeServer, client: WebSocketClient, tmp_path: Path
) -> None:
    room = client.channel("room")
    got = Heard(room, "n")
    ended = Heard(room, "end")
    await room.subscribe()
    path = tmp_path / "outbox"
    accepted = []
    for round_, until in enumerate((1, 900, 333, 1700)):
        # The last one never reaches the server, so that it surely leaves something.
        url = server.url if round_ < 3 else "ws://127.0.0.1:9"
        accepted.append(await asyncio.to_thread(_run_and_kill, url, path, round_, until))
    async with WebSocketClient(server.url, queue_path=path, **FAST) as last:
        await last.channel("room").send("end")
        assert last.get_stats().restored >= accepted[3]
    await ended.count(1)
    seen: dict[int, list[int]] = defaultdict(list)
    for round_, number in got.values:
        seen[round_].append(number)
    for round_, count in enumerate(accepted):
        # The last one may have been accepted without the time to say so.
        assert count <= len(seen[round_]) <= count + 1
        assert seen[round_] == list(range(len(seen[round_])))


async def test_a_disconnect_defers_and_the_next_client_sends(server: RealtimeServer, tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    offline = WebSocketClient("ws://127.0.0.1:9", queue_path=path)
    sending = offline.channel("room").send("n", 1)
    second = WebSocketClient("ws://127.0.0.1:9", queue_path=path)
    with pytest.raises(RealtimeError) as raised:
        await second.connect()
    assert raised.value.code == "outbox_in_use"
    await offline.disconnect()
    with pytest.raises(RealtimeError) as raised:
        await sending
    assert raised.value.code == "deferred"
    assert offline.get_stats().deferred == 1
    async with WebSocketClient(server.url, queue_path=path) as client:
        room = client.channel("room")
        assert (await asyncio.wait_for(room.send("n", 2), TIMEOUT)).offset == 2
        assert client.get_stats().restored == 1


async def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "outbox"
    path.write_text("not an outbox")
    with pytest.raises(RealtimeError) as raised:
        WebSocketClient("ws://127.0.0.1:9", queue_path=path).channel("room").send("n", 1)
    assert raised.value.code == "outbox_damaged"
    assert "move it away to start without them" in str(raised.value)
    assert path.read_text() == "not an outbox"
