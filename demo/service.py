"""The Python service: `service.py URL COUNT PEER_COUNT CHANNEL…`. Speaks JSON lines with `demo.py` on stdin and stdout."""

from __future__ import annotations

import asyncio
import json
import sys
import time
from typing import Any

from realtime_client import Message, RealtimeError, WebSocketClient
from tally import Tally

NAME, PEER = "python", "node"


async def main(url: str, count: int, peer_count: int, channels: list[str]) -> None:
    tally = Tally()
    everything = asyncio.Event()

    def note(data: object, message: Message) -> None:
        body: Any = json.loads(data) if isinstance(data, bytes) else data
        tally.note(body["from"], message.channel or "", body["n"], time.time() * 1000 - body["at"])
        if tally.total() == count + peer_count:
            everything.set()

    async with WebSocketClient(url, reconnect_first=0.05, reconnect_base=0.2, reconnect_max=1.0) as client:
        client.on("error", lambda error: print(f"python: {error}", file=sys.stderr))
        for name in channels:
            channel = client.channel(name)
            channel.on("work", note)
            channel.on("picture", note)
            await channel.subscribe()
        tell(state="ready")
        await asyncio.to_thread(sys.stdin.readline)

        sends = []
        for number in range(count):
            name = channels[number % len(channels)]
            body = {"from": NAME, "n": number // len(channels) + 1, "at": time.time() * 1000}
            event, payload = ("picture", json.dumps(body).encode()) if number % 20 == 19 else ("work", body)
            sends.append(client.channel(name).send(event, payload))
            if number % 20 == 19:
                await asyncio.sleep(0.015)
        receipts = await asyncio.gather(*sends, return_exceptions=True)
        tell(state="sent")
        failed = [receipt for receipt in receipts if isinstance(receipt, RealtimeError)]
        try:
            await asyncio.wait_for(everything.wait(), 60)
        except TimeoutError:
            pass  # What is missing is counted as lost.

        stats = client.get_stats()
        tell(
            state="done",
            sent=count,
            acknowledged=sum(1 for receipt in receipts if getattr(receipt, "acknowledged", False)),
            failed=len(failed),
            received=tally.received,
            duplicated=tally.duplicated,
            outOfOrder=tally.out_of_order,
            latencies=tally.latencies,
            recovered=stats.recovered,
            reconnects=stats.reconnects,
            gaps=stats.gaps,
        )


def tell(**message: object) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]), sys.argv[4:]))
