"""What the demo does to the network."""

from __future__ import annotations

import asyncio
import random

from realtime_client.testing import FaultProxy


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
