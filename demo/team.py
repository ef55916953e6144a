"""The second half of the demo: a task list that Python and Node edit at once, and who is present while they do."""

from __future__ import annotations

import asyncio
import sys
import time
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from realtime_client import PresenceUser, RealtimeChannel, WebSocketClient
from realtime_client.testing import FaultProxy, RealtimeServer
from services import Service
from table import table, total
from trouble import trouble

HERE = Path(__file__).resolve().parent
EDITS = 100
PROGRAMS = {
    "python": [sys.executable, str(HERE / "editor.py")],
    "node": ["node", str(HERE / "editor.mjs")],
}
TASKS = [
    {"id": "docs", "title": "write the docs"},
    {"id": "release", "title": "release"},
    {"id": "tests", "title": "test it"},
]


async def team(server: RealtimeServer) -> bool:
    """Runs both parts with the same two processes. Whether all is as it should be."""
    with FaultProxy(server.url) as proxy:
        async with WebSocketClient(server.url) as client:
            watcher = client.channel("team")
            tasks = watcher.collection("tasks")
            await asyncio.gather(*(tasks.insert(task) for task in TASKS))
            editors = [await start(name, PROGRAMS[name], proxy) for name in PROGRAMS]
            await asyncio.gather(*(editor.hear("ready") for editor in editors))
            is_equal = await edit(server, proxy, editors)
            has_no_ghosts = await presence(watcher, proxy, editors)
        for editor in editors:
            await editor.end()
    return is_equal and has_no_ghosts


async def start(name: str, program: list[str], proxy: FaultProxy) -> Service:
    return await Service.start(name, [*program, name, proxy.url, str(EDITS)])


async def edit(server: RealtimeServer, proxy: FaultProxy, editors: list[Service]) -> bool:
    print(f"\na Python and a Node process edit the same tasks, {EDITS} times each, while the network breaks …\n")
    breaking = asyncio.create_task(trouble(proxy))
    for editor in editors:
        editor.tell("edit")
    edited = await asyncio.gather(*(editor.hear("edited") for editor in editors))
    breaking.cancel()
    proxy.restore()
    for editor in editors:
        editor.tell("show")
    shown = [told["tasks"] for told in await asyncio.gather(*(editor.hear("shown") for editor in editors))]
    async with WebSocketClient(server.url) as fresh:
        tasks = fresh.channel("team").collection("tasks")
        await tasks.ready()
        at_the_server = [dict(task) for task in tasks.data]
    print(of_tasks(at_the_server))
    columns = ("inserts", "updates", "removes", "conflicts", "failed", "reconnects")
    rows = [
        {"process": editor.name} | {column: counts.get(column, 0) for column in columns}
        for editor, counts in zip(editors, edited, strict=True)
    ]
    print(f"\n{table(rows, 'both')}\n")
    sums, is_equal = total(rows), all(tasks == at_the_server for tasks in shown)
    print(
        f"tasks: edits={sums['inserts'] + sums['updates'] + sums['removes']} conflicts={sums['conflicts']} cuts={proxy.cuts} "
        f"records={len(at_the_server)} equal={str(is_equal).lower()}"
    )
    return is_equal and sums["failed"] == 0


def of_tasks(tasks: list[dict[str, Any]]) -> str:
    """Those that both have edited, and how many there are besides."""
    lines = [("task", "title", "done", "owner", "by python", "by node")]
    for task in tasks:
        if "by python" in task or "by node" in task:
            lines.append((task["id"], *(str(task.get(key, "-")) for key in lines[0][1:])))
    text = "\n".join("  " + "".join(f"{cell:>16}" for cell in line) for line in lines)
    return f"{text}\n  and {len(tasks) - len(lines) + 1} that one of them has added"


class Watch:
    """Prints who is present, as another client sees it."""

    def __init__(self, channel: RealtimeChannel) -> None:
        self.counts: Counter[str] = Counter()
        self._presence = channel.presence
        self._changed = asyncio.Event()
        for event, sign in ("join", "+"), ("update", "~"), ("leave", "-"):
            self._presence.on(event, self._noter(event, sign))

    async def until_is(self, name: str, status: str | None) -> None:
        """Waits until somebody has this status; `None` for who is gone."""
        await asyncio.wait_for(self._until_is(name, status), 30)

    async def _until_is(self, name: str, status: str | None) -> None:
        while (user := self._presence.get(name)) is not None or status is not None:
            if user is not None and user.status == status:
                return
            self._changed.clear()
            await self._changed.wait()

    def names(self) -> list[str]:
        return [user.id for user in self._presence.users]

    def _noter(self, event: str, sign: str) -> Callable[[PresenceUser], None]:
        def note(user: PresenceUser) -> None:
            self.counts[event] += 1
            present = ", ".join(f"{user.id} ({user.status.value})" for user in self._presence.users)
            print(f"  {sign} {user.id:<8} {event:<8} now here: {present or 'nobody'}")
            self._changed.set()

        return note


async def presence(channel: RealtimeChannel, proxy: FaultProxy, editors: list[Service]) -> bool:
    print("\nwho is present, as another client sees it:\n")
    python, node = editors
    watch = Watch(channel)
    await channel.presence.ready()
    third = await start("third", PROGRAMS["node"], proxy)
    await third.hear("ready")
    for member in (python, node, third):
        member.tell("join")
        await watch.until_is(member.name, "online")
    for member, status in (python, "away"), (node, "busy"):
        member.tell(status)
        await watch.until_is(member.name, status)
    print("    all connections are cut: they come back within the grace period, and nobody notices")
    proxy.cut_connections()
    python.tell("online")
    await watch.until_is("python", "online")
    print("    the third process is killed (SIGKILL)")
    killed = time.monotonic()
    third.kill()
    await watch.until_is("third", None)
    await third.end()
    print(f"    … {time.monotonic() - killed:.1f} s later; the Node process disconnects")
    node.finish()
    await watch.until_is("node", None)
    ghosts = len(set(watch.names()) ^ {"python"})
    python.finish()
    await watch.until_is("python", None)
    counts = watch.counts
    print(f"\npresence: joins={counts['join']} updates={counts['update']} leaves={counts['leave']} ghosts={ghosts}")
    return ghosts == 0
