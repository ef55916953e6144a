"""Runs the demo (see README.md beside this file): `demo.py [MESSAGES]`."""

from __future__ import annotations

import asyncio
import json
import random
import sys
from pathlib import Path
from typing import Any

from realtime_client.testing import FaultProxy, RealtimeServer

HERE = Path(__file__).resolve().parent
CHANNELS = ["lobby", "orders", "grüße", "telemetry/1", "telemetry/2"]
SERVICES = {"python": [sys.executable, str(HERE / "service.py")], "node": ["node", str(HERE / "service.mjs")]}


class Service:
    """A service in a process of its own, and what it says."""

    def __init__(self, name: str, process: asyncio.subprocess.Process) -> None:
        self.name = name
        self._process = process

    @classmethod
    async def start(cls, name: str, url: str, count: int) -> Service:
        command = [*SERVICES[name], url, str(count), str(count), *CHANNELS]
        pipe = asyncio.subprocess.PIPE
        # The latencies of all messages are one long line.
        process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, limit=1 << 26)
        return cls(name, process)

    def go(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.write(b"go\n")

    async def hear(self, state: str) -> dict[str, Any]:
        """The next message with this state, within two minutes."""
        return await asyncio.wait_for(self._hear(state), 120)

    async def _hear(self, state: str) -> dict[str, Any]:
        assert self._process.stdout is not None
        async for line in self._process.stdout:
            message: dict[str, Any] = json.loads(line)
            if message["state"] == state:
                return message
        raise SystemExit(f"demo: the {self.name} service ended before it was {state}")


async def trouble(proxy: FaultProxy) -> None:
    """Breaks the network in turn: all connections at once, in the middle of a frame, and for a second."""
    dice = random.Random(7)
    while True:
        await asyncio.sleep(0.35)
        proxy.cut_connections()
        await asyncio.sleep(0.35)
        proxy.drop_after(dice.randrange(1, 20_000))
        await asyncio.sleep(0.35)
        proxy.cut()
        await asyncio.sleep(1.0)
        proxy.restore()
        await asyncio.sleep(0.5)


async def main(messages: int) -> int:
    each = messages // 2
    async with RealtimeServer() as server:
        proxy = FaultProxy(server.url)
        print(f"server {server.url}, behind the fault proxy {proxy.url}; channels: {', '.join(CHANNELS)}")
        services = [await Service.start(name, proxy.url, each) for name in SERVICES]
        await asyncio.gather(*(service.hear("ready") for service in services))
        print(f"a Python and a Node service are in all channels and send each other {each} messages each …")
        breaking = asyncio.create_task(trouble(proxy))
        for service in services:
            service.go()
        await asyncio.gather(*(service.hear("sent") for service in services))
        breaking.cancel()
        proxy.restore()
        results = dict(
            zip(SERVICES, await asyncio.gather(*(service.hear("done") for service in services)), strict=True)
        )
        cuts = proxy.cuts
        proxy.stop()
    return report(results, each, cuts)


def report(results: dict[str, dict[str, Any]], each: int, cuts: int) -> int:
    peer = {"python": "node", "node": "python"}
    rows = []
    for name, result in results.items():
        # Everybody is in every channel: each has to get all of both.
        lost = sum(each - result["received"].get(sender, 0) for sender in results)
        rows.append(
            {
                "service": name,
                "sent": result["sent"],
                "acknowledged": result["acknowledged"],
                "delivered": result["received"].get(peer[name], 0),
                "recovered": result["recovered"],
                "lost": lost,
                "duplicated": result["duplicated"],
                "out_of_order": result["outOfOrder"],
                "reconnects": result["reconnects"],
                "gaps": result["gaps"],
            }
        )
    total = {key: sum(row[key] for row in rows) for key in rows[0] if key != "service"}
    print()
    header = list(rows[0])
    for cells in [
        header,
        *([str(row[key]) for key in header] for row in rows),
        ["both", *(str(total[key]) for key in header[1:])],
    ]:
        print("  " + "".join(f"{cell:>14}" for cell in cells))
    latencies = sorted(latency for result in results.values() for latency in result["latencies"])
    if latencies:
        percentiles = (
            f"p{p:g} {latencies[min(len(latencies) - 1, int(len(latencies) * p / 100))]:.1f}"
            for p in (50, 90, 99, 99.9)
        )
        print(f"\n  latency in ms, outages included: {', '.join(percentiles)}, max {latencies[-1]:.1f}")
    print(
        "  delivered: to the other service; lost, duplicated, out_of_order: counted by the receivers, own messages included\n"
    )
    print(
        f"demo: sent={total['sent']} acknowledged={total['acknowledged']} delivered={total['delivered']} "
        f"recovered={total['recovered']} lost={total['lost']} duplicated={total['duplicated']} "
        f"out_of_order={total['out_of_order']} cuts={cuts}"
    )
    return 0 if total["lost"] == total["duplicated"] == total["out_of_order"] == 0 else 1


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)))
