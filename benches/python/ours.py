"""This project: `realtime.v1`, with receipts and recovery."""

from collections.abc import Iterable

from common import Case, Handler, Subject, bursts, run
from realtime_client import WebSocketClient


class Ours(Subject):
    protocol, dialect = "realtime.v1", "realtime"

    async def open(self, case: Case, handlers: dict[str, Handler]) -> None:
        soon = {"reconnect_first": 0.001, "reconnect_base": 0.001} if case.cuts else {}
        self.client = WebSocketClient(case.url(self.dialect), protocol=self.protocol, **soon)
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
        room, before = self.room, []
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
