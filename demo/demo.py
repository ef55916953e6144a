"""Runs the demo (see README.md beside this file): `demo.py [MESSAGES]`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from realtime_client.testing import FaultProxy, RealtimeServer
from services import Service
from table import table, total
from team import team
from trouble import trouble

HERE = Path(__file__).resolve().parent
GRACE = 1.5
"""Seconds that a member is away before it is gone."""
CHANNELS = ["lobby", "orders", "grüße", "telemetry/1", "telemetry/2"]
SERVICES = {
    "python": [sys.executable, str(HERE / "service.py")],
    "node": ["node", str(HERE / "service.mjs")],
}


async def main(messages: int) -> int:
    each = messages // 2
    async with RealtimeServer(presence_grace=GRACE) as server:
        is_delivered = await deliver(server, each)
        is_shared = await team(server)
    return 0 if is_delivered and is_shared else 1


async def deliver(server: RealtimeServer, each: int) -> bool:
    proxy = FaultProxy(server.url)
    print(f"server {server.url}, behind the fault proxy {proxy.url}; channels: {', '.join(CHANNELS)}")
    services = [
        await Service.start(name, [*command, proxy.url, str(each), str(each), *CHANNELS])
        for name, command in SERVICES.items()
    ]
    await asyncio.gather(*(service.hear("ready") for service in services))
    print(f"a Python and a Node service are in all channels and send each other {each} messages each …")
    breaking = asyncio.create_task(trouble(proxy))
    for service in services:
        service.tell("go")
    await asyncio.gather(*(service.hear("sent") for service in services))
    breaking.cancel()
    proxy.restore()
    results = dict(
        zip(
            SERVICES,
            await asyncio.gather(*(service.hear("done") for service in services)),
            strict=True,
        )
    )
    cuts = proxy.cuts
    proxy.stop()
    return report(results, each, cuts)


def report(results: dict[str, dict[str, Any]], each: int, cuts: int) -> bool:
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
    print()
    print(table(rows, "both"))
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
    sums = total(rows)
    print(
        f"demo: sent={sums['sent']} acknowledged={sums['acknowledged']} delivered={sums['delivered']} "
        f"recovered={sums['recovered']} lost={sums['lost']} duplicated={sums['duplicated']} "
        f"out_of_order={sums['out_of_order']} cuts={cuts}"
    )
    return sums["lost"] == sums["duplicated"] == sums["out_of_order"] == 0


if __name__ == "__main__":
    sys.exit(asyncio.run(main(int(sys.argv[1]) if len(sys.argv) > 1 else 10_000)))
