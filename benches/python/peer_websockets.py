"""websockets with orjson."""

import asyncio
from collections.abc import Callable, Iterable
from typing import Any

import orjson
from common import Case, Handler, Subject, run
from websockets.asyncio.client import connect


class Websockets(Subject):
    loads: Callable[[str], Any] = staticmethod(orjson.loads)
    dumps: Callable[[object], str] = staticmethod(lambda message: orjson.dumps(message).decode())

    async def open(self, case: Case, handlers: dict[str, Handler]) -> None:
        self.socket = await connect(case.url("plain"), max_size=None, proxy=None)
        for name in handlers:
            await self._write({"type": "subscribe", "payload": {"channel": name}})
        self.reader = asyncio.create_task(self._read(handlers))

    async def send(self, payload: object) -> None:
        message = {"channel": "room-0", "event": "tick", "payload": payload}
        await self._write({"type": "channel_message", "payload": message})

    async def send_all(self, payloads: Iterable[object]) -> None:
        for payload in payloads:
            await self.send(payload)

    async def close(self) -> None:
        await self.socket.close()
        await self.reader

    async def _read(self, handlers: dict[str, Handler]) -> None:
        loads = self.loads
        async for frame in self.socket:
            message = loads(frame)
            handlers[message["channel"]](message["payload"])

    async def _write(self, message: object) -> None:
        await self.socket.send(self.dumps(message))


if __name__ == "__main__":
    run(Websockets)
