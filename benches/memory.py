"""What a stalled handler costs: resident memory while a server has 256 MB for it, in Python and Node.

`make setup`, then `.venv/bin/python benches/memory.py`. Prints the figures of docs/backpressure.md.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from pathlib import Path

from realtime_client import WebSocketClient
from realtime_client.testing import RealtimeServer

ROOT = Path(__file__).resolve().parent.parent
PADDING = 64_000
MESSAGES = 4_000
BOUNDS = [(2 << 20, 1 << 20), (4 << 20, 2 << 20), (16 << 20, 4 << 20)]
"""Bytes of the inbox, and of a channel's part of it; the second are the defaults."""


async def feed() -> None:
    """The server, in a process of its own: its history is not the client's memory."""
    async with RealtimeServer(history_bytes=512 << 20) as server:
        print(server.url, flush=True)
        padding = "x" * PADDING
        while channel := (await asyncio.to_thread(sys.stdin.readline)).strip():
            for n in range(MESSAGES):
                server.publish(channel, "n", {"n": n, "padding": padding})
            print("fed", flush=True)


async def client(url: str, channel: str, inbox: int, channel_inbox: int) -> None:
    def memory(name: str) -> int:
        status = Path("/proc/self/status").read_text()
        return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith(f"{name}:"))

    async with WebSocketClient(url, inbox_bytes=inbox, channel_inbox_bytes=channel_inbox) as client:
        room, begun = client.channel(channel), 0

        @room.on("n")
        async def stalled(data: object) -> None:
            nonlocal begun
            begun += 1
            await asyncio.Event().wait()

        await room.subscribe()
        print(memory("VmRSS"), flush=True)
        await asyncio.to_thread(sys.stdin.readline)
        unconsumed = client.get_stats().unconsumed_bytes
        print(json.dumps([memory("VmRSS"), memory("VmHWM"), unconsumed, begun]), flush=True)


class Child:
    def __init__(self, command: list[str], folder: Path = ROOT) -> None:
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=folder)

    def ask(self, line: str | None = None) -> str:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        if line is not None:
            print(line, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()


def main() -> None:
    me = [sys.executable, str(Path(__file__).resolve())]
    print(f"a stream of {MESSAGES * PADDING / 1e6:.0f} MB into a handler that never ends; MiB")
    print(f"{'':8} {'inbox':>7} {'channel':>8} {'idle':>7} {'stalled':>8} {'grown':>7} {'peak':>7} {'unconsumed':>11}")
    for language in ("python", "node"):
        for inbox, channel_inbox in BOUNDS:
            server = Child([*me, "feed"])
            arguments = [server.ask(), "room", str(inbox), str(channel_inbox)]
            if language == "python":
                subject = Child([*me, "client", *arguments])
            else:
                subject = Child(["node", str(ROOT / "benches/node/memory.mjs"), *arguments], ROOT / "node")
            idle = int(subject.ask())
            assert server.ask("room") == "fed"
            stalled, peak, unconsumed, begun = json.loads(subject.ask("now"))
            assert begun == 1, begun
            figures = [inbox, channel_inbox, idle, stalled, stalled - idle, peak, unconsumed]
            cells = zip([7, 8, 7, 8, 7, 7, 11], figures, strict=True)
            print(f"{language:8} " + " ".join(f"{value / (1 << 20):{width}.1f}" for width, value in cells))
            subject.end()
            server.end()


if __name__ == "__main__":
    if sys.argv[1:2] == ["feed"]:
        asyncio.run(feed())
    elif sys.argv[1:2] == ["client"]:
        asyncio.run(client(sys.argv[2], sys.argv[3], int(sys.argv[4]), int(sys.argv[5])))
    else:
        main()
