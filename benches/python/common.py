"""What all subjects share: the cases, the checks, and one line of JSON at the end.

`python <subject>.py <kind> <size> <channels> <count> <port> [loop]`
"""

from __future__ import annotations

import asyncio
import gc
import json
import sys
import time
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

    def path(self, dialect: str) -> str:
        kind = "echo" if self.kind == "connect" else self.kind
        return f"/{dialect}/{kind}/{self.size}/{self.channels}/{self.count}"

    def url(self, dialect: str) -> str:
        return f"ws://127.0.0.1:{self.port}{self.path(dialect)}"


class Subject(ABC):
    """One connection of one library, used as its documentation says."""

    @abstractmethod
    async def open(self, case: Case, handlers: dict[str, Handler]) -> None:
        """Connects and subscribes. Each handler then gets the parsed payloads of its channel."""

    @abstractmethod
    async def send(self, payload: object) -> None:
        """Sends one message to the first channel; need not wait for a receipt."""

    @abstractmethod
    async def send_all(self, payloads: Iterable[object]) -> None:
        """Sends many, as fast as the library allows; waits for their receipts where it has such."""

    @abstractmethod
    async def close(self) -> None: ...


def payloads(count: int) -> Iterator[dict[str, Any]]:
    for number in range(FIRST, FIRST + count):
        yield {**PAYLOAD, "seq": number}


def bursts(items: Iterable[Any]) -> Iterator[list[Any]]:
    iterator = iter(items)
    while burst := list(islice(iterator, BURST)):
        yield burst


def receiver(case: Case, channel: int, finished: Callable[[], None], fail: Callable[[str], None]) -> Handler:
    """The user's callback: reads one field, and fails on what is lost or out of order."""
    expected, step = FIRST + channel, case.channels
    end = FIRST + case.count

    def on_message(data: Any) -> None:
        nonlocal expected
        if data["seq"] != expected:
            fail(f"message {data['seq']} came instead of {expected}")
        expected += step
        if expected >= end:
            finished()

    return on_message


async def receive(make: Callable[[], Subject], case: Case) -> dict[str, Any]:
    done = asyncio.get_running_loop().create_future()
    left = case.channels

    def finished() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set_result(None)

    def fail(message: str) -> None:
        if not done.done():
            done.set_exception(AssertionError(message))

    subject = make()
    handlers = {name: receiver(case, index, finished, fail) for index, name in enumerate(case.names)}
    await subject.open(case, handlers)
    clock = Clock()
    await subject.send(PAYLOAD)
    await done
    result = clock.stop(case.count)
    await subject.close()
    return result


async def send(make: Callable[[], Subject], case: Case) -> dict[str, Any]:
    done = asyncio.get_running_loop().create_future()
    subject = make()
    await subject.open(case, {"room-0": lambda data: done.set_result(data["seq"])})
    clock = Clock()
    await subject.send_all(payloads(case.count))
    last = await done
    result = clock.stop(case.count)
    assert last == FIRST + case.count - 1, last
    await subject.close()
    return result


async def echo(make: Callable[[], Subject], case: Case) -> dict[str, Any]:
    loop = asyncio.get_running_loop()
    back: asyncio.Future[int] = loop.create_future()
    subject = make()
    await subject.open(case, {"room-0": lambda data: back.set_result(data["seq"])})
    times = []
    clock = Clock()
    for payload in payloads(case.count):
        back = loop.create_future()
        begun = time.perf_counter()
        await subject.send(payload)
        number = await back
        times.append((time.perf_counter() - begun) * 1e6)
        assert number == payload["seq"], number
    result = clock.stop(case.count) | {"times": times}
    await subject.close()
    return result


async def connect(make: Callable[[], Subject], case: Case) -> dict[str, Any]:
    times = []
    clock = Clock()
    for _ in range(case.count):
        subject = make()
        begun = time.perf_counter()
        await subject.open(case, {"room-0": lambda _: None})
        times.append((time.perf_counter() - begun) * 1e6)
        await subject.close()
    return clock.stop(case.count) | {"times": times}


class Clock:
    """Time and processor time from here on."""

    def __init__(self) -> None:
        gc.collect()
        self._begun = time.perf_counter()
        self._cpu = time.process_time()

    def stop(self, count: int) -> dict[str, Any]:
        seconds, cpu = time.perf_counter() - self._begun, time.process_time() - self._cpu
        return {"count": count, "seconds": seconds, "cpu": cpu, "times": []}


def peak() -> int:
    """The most memory that this process has used, in bytes; 0 where the system does not say."""
    try:
        status = Path("/proc/self/status").read_text()
    except OSError:
        return 0
    return next(int(line.split()[1]) * 1024 for line in status.splitlines() if line.startswith("VmHWM:"))


def run(make: Callable[[], Subject]) -> None:
    kind, size, channels, count, port, *loop = sys.argv[1:]
    measure = {"receive": receive, "send": send, "echo": echo, "connect": connect}[kind]
    case = Case(kind, size, int(channels), int(count), int(port))
    warm_up = Case(kind, size, int(channels), -(-int(count) // 4), int(port))

    async def main() -> dict[str, Any]:
        await measure(make, warm_up)
        return await measure(make, case)

    if loop == ["uvloop"]:
        import uvloop

        result = uvloop.run(main())
    else:
        result = asyncio.run(main())
    print(json.dumps(result | {"rss": peak()}))
