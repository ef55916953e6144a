"""This project: `realtime.v1`, with receipts and recovery."""

from collections.abc import Awaitable, Iterable, Sequence
from typing import Literal

from common import Case, Handler, Subject, bursts, run
from realtime_client import Receipt, WebSocketClient


class Ours(Subject):
    protocol: Literal["realtime.v1", "plain"] = "realtime.v1"
    dialect = "realtime"

    async def open(self, case: Case, handlers: dict[str, Handler]) -> None:
        first, base = (0.001, 0.001) if case.cuts else (0.5, 3.0)
        self.client = WebSocketClient(
            case.url(self.dialect), protocol=self.protocol, reconnect_first=first, reconnect_base=base
        )
        await self.client.connect()
        for name, handler in handlers.items():
            channel = self.client.channel(name)
            channel.on("tick", handler)
            await channel.subscribe()
        self.room = self.client.channel("room-0")

    async def send(self, payload: object) -> None:
        self.room.send("tick", payload)

    async def request(self, payload: object) -> None:
        await self.room.send("tick", payload)

    async def send_all(self, payloads: Iterable[object]) -> None:
        room = self.room
        before: Sequence[Awaitable[Receipt]] = []
        for burst in bursts(payloads):
            receipts = [room.send("tick", payload) for payload in burst]
            for receipt in before:
                await receipt
            before = receipts
        for receipt in before:
            await receipt

    async def close(self) -> None:
        await self.client.disconnect()


if __name__ == "__main__":
    run(Ours)
