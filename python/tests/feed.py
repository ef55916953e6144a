"""A server in a process of its own, that publishes what it is told: `python -m tests.feed OPTIONS`.

Prints its URL, then a line for each line that it reads: `MESSAGES BYTES FAST` publishes so many messages with so many
bytes of padding in the channel `slow`, and spread among them `FAST` small ones in the channel `fast`.
"""

from __future__ import annotations

import asyncio
import json
import sys

from realtime_client.testing import RealtimeServer


async def main() -> None:
    async with RealtimeServer(**json.loads(sys.argv[1])) as server:
        print(server.url, flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            messages, size, fast = map(int, line.split())
            padding = "x" * size
            sent = 0
            for n in range(1, messages + 1):
                server.publish("slow", "n", {"n": n, "padding": padding})
                while sent * messages < n * fast:
                    sent += 1
                    server.publish("fast", "n", sent)
            print("done", flush=True)


if __name__ == "__main__":
    asyncio.run(main())
