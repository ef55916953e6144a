"""aiohttp with orjson."""

import asyncio
from collections.abc import Iterable

import aiohttp
import orjson
from common import Case, Handler, Subject, run


class Aiohttp(Subject):
    async def open(self, case: Case, handlers: dict[str, Handler]) -> None:
        self.session = aiohttp.ClientSession()
        self.socket = await self.session.ws_connect(case.url("plain"), max_msg_size=0)
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
        await self.session.close()

    async def _read(self, handlers: dict[str, Handler]) -> None:
        async for frame in self.socket:
            message = orjson.loads(frame.data)
            handlers[message["channel"]](message["payload"])

    async def _write(self, message: object) -> None:
        await self.socket.send_str(orjson.dumps(message).decode())


if __name__ == "__main__":
    run(Aiohttp)
