"""A Python member of the team: `editor.py NAME URL EDITS`. Does what `team.py` says on stdin, and tells it with JSON lines.

The same as `editor.mjs` beside it, in the manner of its language.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections import Counter
from typing import Any

from realtime_client import RealtimeCollection, RealtimeError, WebSocketClient

Tasks = RealtimeCollection[dict[str, Any]]
SHARED = ["docs", "release", "tests"]


class Editor:
    """Edits the tasks, without waiting for one edit before the next, and counts what became of them."""

    def __init__(self, name: str, tasks: Tasks) -> None:
        self.counts: Counter[str] = Counter()
        self._name = name
        self._tasks = tasks
        self._running: list[asyncio.Task[None]] = []

    async def run(self, edits: int, revision: int | None) -> None:
        name, tasks = self._name, self._tasks
        # Who is first takes the release; it is no more at that revision for the other.
        self._count("updates", tasks.update("release", {"owner": name}, if_revision=revision))
        for number in range(1, edits - 1):
            if number % 5 == 0:
                task = {
                    "id": f"{name}-{number:02}",
                    "title": f"idea {number} of {name}",
                    "done": False,
                }
                self._count("inserts", tasks.insert(task))
            elif number % 20 == 14:
                self._count("removes", tasks.remove(f"{name}-{number - 4:02}"))
            else:
                self._count(
                    "updates",
                    tasks.update(
                        SHARED[number % 3],
                        {"done": number % 2 == 0, f"by {name}": number},
                    ),
                )
            await asyncio.sleep(0.015)
        self._count("updates", tasks.update("release", {f"signed by {name}": True}))
        await asyncio.gather(*self._running)

    async def everything_is_here(self) -> None:
        """Waits until both have signed, which is the last that both do."""
        changed = asyncio.Event()
        self._tasks.on("change", lambda change: changed.set())
        while not {"signed by python", "signed by node"} <= (self._tasks.get("release") or {}).keys():
            changed.clear()
            await changed.wait()

    def _count(self, kind: str, edit: asyncio.Future[Any]) -> None:
        async def outcome() -> None:
            try:
                await edit
            except RealtimeError as error:
                kind_of_error = "conflicts" if error.code == "conflict" else "failed"
                self.counts[kind_of_error] += 1
            else:
                self.counts[kind] += 1

        self._running.append(asyncio.create_task(outcome()))


async def main(name: str, url: str, edits: int) -> None:
    async with WebSocketClient(url, reconnect_first=0.05, reconnect_base=0.2, reconnect_max=1.0) as client:
        client.on("error", lambda error: print(f"{name}: {error}", file=sys.stderr))
        team = client.channel("team")
        tasks: Tasks = team.collection("tasks")
        await tasks.ready()
        editor, revision = Editor(name, tasks), tasks.revision("release")
        tell(state="ready")
        while word := (await asyncio.to_thread(sys.stdin.readline)).strip():
            if word == "edit":
                await editor.run(edits, revision)
                tell(
                    state="edited",
                    reconnects=client.get_stats().reconnects,
                    **editor.counts,
                )
            elif word == "show":
                await editor.everything_is_here()
                tell(state="shown", tasks=[dict(task) for task in tasks.data])
            elif word == "join":
                await team.presence.track({"id": name, "language": "Python"})
            else:
                await team.presence.update_status(word)


def tell(**message: object) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    asyncio.run(main(sys.argv[1], sys.argv[2], int(sys.argv[3])))
