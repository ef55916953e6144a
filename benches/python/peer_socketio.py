"""python-socketio: rooms as events; acknowledgements where they are asked for."""

from collections.abc import Iterable

import socketio
from common import Case, Handler, Subject, run


class SocketIo(Subject):
    async def open(self, case: Case, handlers: dict[str, Handler]) -> None:
        self.client = socketio.AsyncClient(reconnection=False)
        for name, handler in handlers.items():
            self.client.on(name, handler)
        path = case.path("socketio")
        await self.client.connect(f"http://127.0.0.1:{case.port}", socketio_path=path, transports=["websocket"])
        for name in handlers:
            await self.client.emit("subscribe", name)

    async def send(self, payload: object) -> None:
        await self.client.emit("tick", payload)

    async def request(self, payload: object) -> None:
        await self.client.call("tick", payload)

    async def send_all(self, payloads: Iterable[object]) -> None:
        for payload in payloads:
            await self.client.emit("tick", payload)

    async def close(self) -> None:
        await self.client.disconnect()


if __name__ == "__main__":
    run(SocketIo)
