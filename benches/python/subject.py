"""What a subject is: one connection of one library, used as its documentation says."""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path
from typing import Any

FIRST = 10_000_000
"""Numbers in payloads begin here, so that they all have eight digits."""

BURST = 512
"""Messages that are sent before the loop gets its turn, or their receipts are awaited."""

PAYLOAD = json.loads((Path(__file__).parent.parent / "payloads/small.json").read_text())

Handler = Callable[[Any], None]


@dataclass(frozen=True)
class Case:
    kind: str
    size: str
    channels: int
    count: int
    port: int

    @property
    def names(self) -> list[str]:
        return [f"room-{index}" for index in range(self.channels)]

    @property
    def cuts(self) -> bool:
        """Whether the server cuts the connection: the subject is to come back as soon as its options allow."""
        return self.kind in ("resubscribe", "catch-up")

    def path(self, dialect: str) -> str:
        kind = {"connect": "echo", "idle": "echo", "request": "send"}.get(self.kind, self.kind)
        return f"/{dialect}/{kind}/{self.size}/{self.channels}/{self.count}"

    def url(self, dialect: str) -> str:
        return f"ws://127.0.0.1:{self.port}{self.path(dialect)}"


class Subject(ABC):
    @abstractmethod
    async def open(self, case: Case, handlers: dict[str, Handler]) -> None:
        """Connects and subscribes. Each handler then gets the parsed payloads of its channel."""

    @abstractmethod
    async def send(self, payload: object) -> None:
        """Sends one message to the first channel; need not wait for a receipt."""

    @abstractmethod
    async def send_all(self, payloads: Iterable[object]) -> None:
        """Sends many, as fast as the library allows; waits for their receipts where it has such."""

    async def request(self, payload: object) -> None:
        """Sends one message and waits for its receipt, where the library has such."""
        raise NotImplementedError

    @abstractmethod
    async def close(self) -> None: ...


def numbered(number: int) -> dict[str, Any]:
    return {**PAYLOAD, "seq": FIRST + number}


def payloads(count: int) -> Iterator[dict[str, Any]]:
    return map(numbered, range(count))


def bursts(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while burst := list(islice(iterator, BURST)):
        yield burst
