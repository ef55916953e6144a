"""The Python service of `make chaos`: `service.py JOB`. Speaks JSON lines with `chaos.py` on stdin and stdout.

The same as `service.mjs` and `service/` beside it, in the manner of its language.
"""

from __future__ import annotations

import asyncio
import json
import sys
from typing import Any

from member import Member
from realtime_client import Gap, Message, RealtimeError, Receipt, WebSocketClient


class Journal:
    """What the service was told, one event a line, in the order of the events."""

    def __init__(self, path: str) -> None:
        self._file = open(path, "w", buffering=1 << 20)  # noqa: SIM115 (it is open for the life of the service)

    def receipt(self, channel: int, number: int, receipt: Receipt) -> None:
        self._file.write(f"r {channel} {number} {receipt.epoch} {receipt.offset}\n")

    def error(self, channel: int, number: int, error: BaseException) -> None:
        code = error.code if isinstance(error, RealtimeError) else type(error).__name__
        self._file.write(f"e {channel} {number} {code}\n")

    def message(self, channel: int, offset: int | None, sender: str, number: int) -> None:
        self._file.write(f"m {channel} {offset} {sender} {number}\n")

    def gap(self, channel: int, gap: Gap) -> None:
        previous, start, end = (
            "-" if value is None else value for value in (gap.previous_epoch, gap.from_offset, gap.to_offset)
        )
        self._file.write(f"g {channel} {gap.reason} {gap.epoch} {previous} {start} {end}\n")

    def flush(self) -> None:
        self._file.flush()


class Publisher:
    """Sends numbered messages, so many without an outcome at a time, and writes down every outcome."""

    def __init__(self, job: dict[str, Any], client: WebSocketClient, journal: Journal) -> None:
        self._job = job
        self._channels = [client.channel(name) for name in job["channels"]]
        self._journal = journal
        self._open = 0
        self._changed = asyncio.Event()
        self._ended = 0
        self.repeated = 0

    async def run(self) -> None:
        for number in range(1, self._job["count"] + 1):
            large = number % self._job["large_every"] == 0
            body = self._body(number, self._job["large"] if large else number * 37 % 200)
            if number % 20 == 19:
                self._send("picture", number, json.dumps(body).encode())
            else:
                self._send("work", number, body)
            if self._open == self._job["window"]:
                await self._until(self._job["window"] // 2)
        await self._until(0)
        self._tell_progress()

    async def mark_the_end(self) -> None:
        for number in range(self._job["count"] + 1, self._job["count"] + 1 + len(self._channels)):
            self._send("end", number, self._body(number, 0), place=number - self._job["count"] - 1)
        await self._until(0)

    def _body(self, number: int, pad: int) -> dict[str, object]:
        return {"from": self._job["name"], "n": number, "pad": "x" * pad}

    def _send(self, event: str, number: int, payload: object, place: int | None = None) -> None:
        place = number % len(self._channels) if place is None else place
        future: asyncio.Future[Receipt]
        try:
            future = self._channels[place].send(event, payload)
        except RealtimeError as error:
            future = asyncio.get_running_loop().create_future()
            future.set_exception(error)
        self._open += 1
        future.add_done_callback(lambda future: self._note(place, number, future))

    def _note(self, place: int, number: int, future: asyncio.Future[Receipt]) -> None:
        error = future.exception()
        if error is not None:
            self._journal.error(place, number, error)
        else:
            self._journal.receipt(place, number, future.result())
            self.repeated += future.result().duplicate
        self._open -= 1
        self._ended += 1
        self._changed.set()
        if self._ended % self._job["report_every"] == 0:
            self._tell_progress()

    def _tell_progress(self) -> None:
        tell(state="progress", ended=self._ended)

    async def _until(self, open_: int) -> None:
        while self._open > open_:
            self._changed.clear()
            await self._changed.wait()


async def main(job: dict[str, Any]) -> None:
    journal = Journal(job["journal"])
    marks: set[tuple[str, str]] = set()
    complete = asyncio.Event()
    client = WebSocketClient(
        job["url"],
        heartbeat_interval=0.3,
        heartbeat_timeout=1.0,
        connect_timeout=1.5,
        reconnect_first=0.05,
        reconnect_base=0.1,
        reconnect_max=0.5,
        # The guest may begin while there is no server.
        attempts_until_error=1000,
        queue_messages=job["queue"],
        inbox_bytes=job["inbox"],
        channel_inbox_bytes=job["channel_inbox"],
    )
    client.on("error", lambda error: tell(state="error", code=error.code, message=str(error)))
    async with client:
        for index, name in enumerate(job["channels"]):

            def note(data: Any, message: Message, index: int = index) -> None:
                body = json.loads(data) if isinstance(data, bytes) else data
                journal.message(index, message.offset, body["from"], body["n"])
                if message.event == "end":
                    marks.add((message.channel or "", body["from"]))
                    if len(marks) == job["marks"]:
                        complete.set()

            def note_gap(gap: Gap, index: int = index) -> None:
                journal.gap(index, gap)

            channel = client.channel(name)
            for event in ("work", "picture", "end"):
                channel.on(event, note)
            channel.on("gap", note_gap)
            await channel.subscribe()
        if job["marks"] == 0:
            complete.set()
        member = Member(job["shared"], client) if job["shared"] else None
        if member:
            await member.ready()
        tell(state="ready")

        publisher = Publisher(job, client, journal)
        await expect("go")
        if member:
            member.edit()
        await publisher.run()
        tell(state="sent")
        await expect("quiet")
        if member:
            await member.quiet()
        tell(state="quiet")
        await expect("end")
        await publisher.mark_the_end()
        stopped = asyncio.create_task(expect("stop"))
        everything = asyncio.create_task(has_everything(complete, member))
        await asyncio.wait([stopped, everything], return_when=asyncio.FIRST_COMPLETED)
        if everything.done():
            everything.result()
        tell(state="complete")
        await stopped  # What is missing by then is counted as lost.
        everything.cancel()
        journal.flush()
        if member:
            member.show()
        stats = client.get_stats()
        tell(state="done", repeated=publisher.repeated, reconnects=stats.reconnects, recovered=stats.recovered)


async def has_everything(complete: asyncio.Event, member: Member | None) -> None:
    await complete.wait()
    if member:
        await member.complete()


async def expect(word: str) -> None:
    heard = await asyncio.to_thread(sys.stdin.readline)
    if heard.strip() != word:
        raise SystemExit(f"expected {word}, heard {heard!r}")


def tell(**message: object) -> None:
    print(json.dumps(message), flush=True)


if __name__ == "__main__":
    asyncio.run(main(json.loads(sys.argv[1])))
