"""A service that is killed and started again: it shares what the others share, and sends no messages."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from plan import Fault
from services import Service

GUEST = "guest"


class Guest:
    def __init__(self, start: Callable[[str], Awaitable[Service]]) -> None:
        """`start` begins a life of this name."""
        self._start = start
        self.lives: list[str] = []
        self.service: Service | None = None

    async def come(self) -> None:
        life = f"{GUEST}-{len(self.lives) + 1}"
        self.service = await self._start(life)
        self.lives.append(life)
        await self.service.hear("ready", 60)
        self.service.tell("go")

    async def suffer(self, fault: Fault) -> None:
        """`kill -9`, and the same program again."""
        assert fault.kind == "kill"
        assert self.service is not None
        if not self.service.kill():
            raise SystemExit("chaos: the guest has ended by itself")
        await self.service.end()
        await self.come()
