"""How far the services are, by what they say."""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable
from typing import Any

SILENCE = ("heartbeat_timeout", "timeout")
"""The errors of a client that hears nothing: of an open connection, of one that it opens."""


class Progress:
    def __init__(self, count: int) -> None:
        """Each service sends so many."""
        self._count = count
        self._ended: dict[str, int] = {}
        self.errors: dict[str, Counter[str]] = {}
        """What each client has reported, by code."""
        self._news = asyncio.Event()

    @property
    def ended(self) -> int:
        """Sends of all services that have ended."""
        return sum(self._ended.values())

    def heard(self, service: str) -> Callable[[dict[str, Any]], None]:
        """What takes the messages of this service."""
        self._ended[service] = 0
        errors = self.errors.setdefault(service, Counter())

        def take(message: dict[str, Any]) -> None:
            if message["state"] == "progress":
                self._ended[service] = message["ended"]
            elif message["state"] == "error":
                errors[message["code"]] += 1
            news, self._news = self._news, asyncio.Event()
            news.set()

        return take

    async def until(self, ended: int) -> None:
        """Waits until so many sends have ended."""
        while self.ended < ended:
            await self._news.wait()

    async def until_others_ended(self, service: str, sends: int) -> None:
        """Waits until so many more sends of the other services have ended, or all."""
        most = self._count * (len(self._ended) - 1)
        goal = min(self._of_others(service) + sends, most)
        while self._of_others(service) < goal:
            await self._news.wait()

    async def until_silence_is_noticed(self, service: str) -> None:
        """Waits until the service's client reports once more that it hears nothing."""
        before = self._silences(service)
        while self._silences(service) == before:
            await self._news.wait()

    def _of_others(self, service: str) -> int:
        return self.ended - self._ended[service]

    def _silences(self, service: str) -> int:
        return sum(self.errors[service][code] for code in SILENCE)
