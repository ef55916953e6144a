"""picows with orjson: the fastest WebSocket library for Python that we know of."""

import asyncio
from collections.abc import Iterable

import orjson
import picows
from common import Case, Handler, Subject, bursts, run


class Listener(picows.WSListener):
    def __init__(self, handlers: dict[str, Handler]) -> None:
        self.handlers = handlers
        self.room = asyncio.Event()
        self.room.set()

    def on_ws_frame(self, transport: picows.WSTransport, frame: picows.WSFrame) -> None:
        if frame.msg_type == picows.WSMsgType.TEXT:
            message = orjson.loads(frame.get_payload_as_memoryview())
            self.handlers[message["channel"]](message["payload"])

    def pause_writing(self) -> None:
        self.room.clear()

    def resume_writing(self) -> None:
        self.room.set()


class Picows(Subject):
    async def open(self, case: Case, handlers: dict[str, Handler]) -> None:
        self.transport, self.listener = await picows.ws_connect(lambda: Listener(handlers), case.url("plain"))
        for name in handlers:
            self._write({"type": "subscribe", "payload": {"channel": name}})

    async def send(self, payload: object) -> None:
        message = {"channel": "room-0", "event": "tick", "payload": payload}
        self._write({"type": "channel_message", "payload": message})

    async def send_all(self, payloads: Iterable[object]) -> None:
        for burst in bursts(payloads):
            for payload in burst:
                message = {"channel": "room-0", "event": "tick", "payload": payload}
                self._write({"type": "channel_message", "payload": message})
            await asyncio.sleep(0)
            await self.listener.room.wait()

    async def close(self) -> None:
        self.transport.disconnect()
        await self.transport.wait_disconnected()

    def _write(self, message: object) -> None:
        self.transport.send(picows.WSMsgType.TEXT, orjson.dumps(message))


if __name__ == "__main__":
    run(Picows)
