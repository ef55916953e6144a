from __future__ import annotations

import asyncio
import random
from typing import IO, Any

from realtime_client import CollectionChange, RealtimeError, WebSocketClient
from witness import Records, show

AT_A_TIME = 100
CLAIMS = 60
RECORDS = 300


class Member:
    """Changes the records that all services share, and is present among them. Writes down what it asks for and is told."""

    def __init__(self, job: dict[str, Any], client: WebSocketClient) -> None:
        channel = client.channel(job["channel"])
        self._job = job
        self._life: str = job["life"]
        # A line is written at once: the service may be killed.
        self._journal: IO[str] = open(job["journal"], "w", buffering=1)  # noqa: SIM115 (open for the life of the service)
        self._records: Records = channel.collection("records")
        self._presence = channel.presence
        self._number = 0
        self._open = 0
        self._changed = asyncio.Event()
        self._editing: asyncio.Task[None] | None = None
        self._revision = 0
        self._has_snapshot = False
        self._records.on("change", self._on_change)
        self._records.on("sync", lambda data, reason: self._on_sync())
        self._records.on("diverged", lambda offset: self._write(f"v {offset}"))
        self._presence.on("sync", lambda users: self._changed.set())

    async def ready(self) -> None:
        await self._records.ready()
        await self._presence.ready()
        await self._presence.track({"id": self._job["member"], "life": self._life, "ended": False})

    def edit(self) -> None:
        """Changes records until `quiet()`."""
        self._editing = asyncio.create_task(self._edit())

    async def quiet(self) -> None:
        """Waits until everything that was asked for has ended."""
        assert self._editing is not None
        self._editing.cancel()
        await self._until(lambda: self._open == 0)

    async def complete(self) -> None:
        """Puts a mark behind what it has done, and waits until those of all are there, and all members as they should be."""
        self._change("i", f"end-{self._job['member']}")
        await self._until(lambda: self._open == 0)
        await self._presence.update({"ended": True})
        await self._until(self._is_complete)

    def show(self) -> None:
        """Writes down the records and the members."""
        show(self._journal, self._records, self._presence)

    async def _edit(self) -> None:
        dice = random.Random()
        while True:
            await asyncio.sleep(self._job["pause"] / 1000)
            if self._open >= AT_A_TIME:
                continue
            ids = [record["id"] for record in self._records.data]
            claims = [id for id in ids if id.startswith("claim-")]
            others = [id for id in ids if not id.startswith(("claim-", "end-"))]
            at = dice.random()
            if at < 0.05:
                # Others want the same.
                self._change("i", f"claim-{len(claims) % CLAIMS:02}")
            elif not others or at < 0.3 and len(ids) < RECORDS:
                self._change("i", f"{self._life}-{self._number + 1}")
            elif at < 0.4:
                self._change("x", dice.choice(others), is_sure=dice.random() < 0.5)
            else:
                some = claims if claims and dice.random() < 0.4 else others
                self._change("u", dice.choice(some), is_sure=dice.random() < 0.3)
            if self._number % 100 == 0:
                self._tell_status("away" if self._number % 200 else "online")

    def _change(self, kind: str, id: str, is_sure: bool = False) -> None:
        self._number += 1
        number, mark = self._number, f"{self._life} {self._number}"
        revision = self._records.revision(id) if is_sure else None
        self._write(f"{kind} {number} {id}" + ("" if kind == "i" else f" {'-' if revision is None else revision}"))
        self._open += 1
        future: asyncio.Future[Any]
        try:
            if kind == "i":
                future = self._records.insert({"id": id, "mark": mark, "title": f"grüße {number}"})
            elif kind == "u":
                future = self._records.update(id, {"mark": mark, self._life: number}, if_revision=revision)
            else:
                future = self._records.remove(id, if_revision=revision)
        except RealtimeError as error:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(error)
        future.add_done_callback(lambda future: self._note(number, future))

    def _note(self, number: int, future: asyncio.Future[Any]) -> None:
        error = future.exception()
        if error is None:
            self._write(f"k {number}")
        else:
            revision = getattr(error, "revision", None)
            self._write(f"f {number} {code_of(error)} {'-' if revision is None else revision}")
        self._open -= 1
        self._changed.set()

    def _tell_status(self, status: Any) -> None:
        def note(future: asyncio.Future[None]) -> None:
            if (error := future.exception()) is not None:
                self._write(f"t {code_of(error)}")

        self._presence.update_status(status).add_done_callback(note)

    def _on_change(self, change: CollectionChange[dict[str, Any]]) -> None:
        if not change.local and change.revision is not None:
            # Changes come in their order, what a snapshot has changed in that of the ids.
            self._has_snapshot |= change.revision < self._revision
            self._revision = change.revision
        self._changed.set()

    def _on_sync(self) -> None:
        if self._has_snapshot:
            self._write("s")
        self._has_snapshot = False

    def _is_complete(self) -> bool:
        members = self._job["members"]
        present = {user.id: (user.connections, user.get("ended")) for user in self._presence.users}
        marked = all(f"end-{member}" in self._records for member in members)
        return marked and present == dict.fromkeys(members, (1, True))

    async def _until(self, holds: Any) -> None:
        while not holds():
            self._changed.clear()
            await self._changed.wait()

    def _write(self, line: str) -> None:
        self._journal.write(f"{line}\n")


def code_of(error: BaseException) -> str:
    return error.code if isinstance(error, RealtimeError) else type(error).__name__
