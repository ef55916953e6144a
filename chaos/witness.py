"""Somebody who changes nothing and writes down every change of the shared records."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Collection
from pathlib import Path
from typing import IO, Any

from realtime_client import CollectionChange, RealtimeCollection, RealtimePresence, WebSocketClient

PATIENCE = 30.0
Records = RealtimeCollection[dict[str, Any]]


class Witness:
    def __init__(self, url: str, journal: IO[str]) -> None:
        self._url = url
        self._journal = journal
        self._client = WebSocketClient(url, reconnect_first=0.05, reconnect_base=0.1, reconnect_max=0.5)
        self._client.on("error", lambda error: None)  # The server is killed.
        channel = self._client.channel("team")
        self._records: Records = channel.collection("records")
        self._presence = channel.presence
        self._changed = asyncio.Event()
        self._records.on("change", self._note)
        self._records.on("diverged", lambda offset: journal.write(f"v {offset}\n"))
        self._presence.on("sync", lambda users: self._changed.set())

    @classmethod
    async def start(cls, url: str, path: Path) -> Witness:
        witness = cls(url, path.open("w", encoding="utf-8"))
        await witness._client.connect()
        await witness._records.ready()
        await witness._presence.ready()
        return witness

    async def finish(self, members: Collection[str], fresh: Path) -> None:
        """Shows what there is once all are at the end, and what somebody is shown who comes now.

        What is missing after a while is missing.
        """
        with contextlib.suppress(asyncio.TimeoutError):
            await asyncio.wait_for(self._until_complete(members), PATIENCE)
        show(self._journal, self._records, self._presence)
        self._journal.close()
        await self._client.disconnect()
        async with WebSocketClient(self._url) as client:
            channel = client.channel("team")
            records: Records = channel.collection("records")
            await records.ready()
            await channel.presence.ready()
            with fresh.open("w", encoding="utf-8") as journal:
                show(journal, records, channel.presence)

    async def _until_complete(self, members: Collection[str]) -> None:
        while True:
            marked = all(f"end-{member}" in self._records for member in members)
            present = {user.id: (user.connections, user.get("ended")) for user in self._presence.users}
            if marked and present == dict.fromkeys(members, (1, True)):
                return
            self._changed.clear()
            await self._changed.wait()

    def _note(self, change: CollectionChange[dict[str, Any]]) -> None:
        record = "-" if change.record is None else json.dumps(dict(change.record))
        revision = "-" if change.revision is None else change.revision
        self._journal.write(f"c {change.kind} {change.id} {revision} {record}\n")
        self._changed.set()


def show(journal: IO[str], records: Records, presence: RealtimePresence) -> None:
    """Writes down the records and the members."""
    for record in records.data:
        revision = records.revision(record["id"])
        journal.write(f"r {record['id']} {'-' if revision is None else revision} {json.dumps(dict(record))}\n")
    for user in presence.users:
        journal.write(f"p {user.id} {user.connections} {json.dumps(dict(user.state))}\n")
