"""realtime, the client of Supabase. Broadcasts are acknowledged where the channel asks for that, as in `request`."""

import asyncio
from collections.abc import Iterable

from common import Case, Handler, Subject, bursts, run
from realtime import AsyncRealtimeClient
from realtime.types import RealtimeAcknowledgementStatus


class Supabase(Subject):
    async def open(self, case: Case, handlers: dict[str, Handler]) -> None:
        self.client = AsyncRealtimeClient(case.url("supabase-objects"), token="t")
        await self.client.connect()
        for name, handler in handlers.items():
            channel = self.client.channel(name, {"config": {"broadcast": {"ack": case.kind == "request"}}})
            channel.on_broadcast("tick", lambda message, handler=handler: handler(message["payload"]))
            await channel.subscribe()
        self.room = self.client.channel("room-0")

    async def send(self, payload: object) -> None:
        await self.room.send_broadcast("tick", payload)

    async def request(self, payload: object) -> None:
        acknowledged = asyncio.get_running_loop().create_future()
        push = await self.room.push("broadcast", {"type": "broadcast", "event": "tick", "payload": payload})
        push.receive(RealtimeAcknowledgementStatus.Ok, acknowledged.set_result)
        await acknowledged

    async def send_all(self, payloads: Iterable[object]) -> None:
        for burst in bursts(payloads):
            for payload in burst:
                await self.room.send_broadcast("tick", payload)
            await asyncio.sleep(0)

    async def close(self) -> None:
        for push in self.room.messages_waiting_for_ack.values():
            push.destroy()
        await self.client.close()


if __name__ == "__main__":
    run(Supabase)
