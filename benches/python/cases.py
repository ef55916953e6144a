"""What is done in each case, and what has to come of it: whatever is lost, swapped or repeated ends the process."""

from __future__ import annotations

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from typing import Any, NoReturn

from measure import Clock, resident
from subject import FIRST, PAYLOAD, Case, Handler, Subject, numbered, payloads

Make = Callable[[], Subject]
Result = dict[str, Any]

missing: list[Callable[[], str]] = []
"""What has not come yet, for a run that finds no end."""


def fail(message: str) -> NoReturn:
    # Libraries catch what handlers raise.
    print(message, file=sys.stderr, flush=True)
    os._exit(1)


def receiver(case: Case, channel: int, finished: Callable[[], None]) -> Handler:
    """The user's callback: reads one field, and fails on what is lost or out of order."""
    expected, step = FIRST + channel, case.channels
    end = FIRST + case.count

    def on_message(data: Any) -> None:
        nonlocal expected
        if data["seq"] != expected:
            fail(f"room-{channel}: message {data['seq']} came instead of {expected}")
        expected += step
        if expected >= end:
            finished()

    missing.append(lambda: f"message {expected} of room-{channel}")
    return on_message


async def receive(make: Make, case: Case) -> Result:
    done = asyncio.get_running_loop().create_future()
    left = case.channels

    def finished() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            done.set_result(None)

    subject = make()
    await subject.open(case, {name: receiver(case, index, finished) for index, name in enumerate(case.names)})
    clock = Clock()
    await subject.send(PAYLOAD)
    await done
    result = clock.stop(case.count)
    await subject.close()
    return result


async def send(make: Make, case: Case) -> Result:
    done = asyncio.get_running_loop().create_future()
    subject = make()
    await subject.open(case, {"room-0": lambda data: done.set_result(data["seq"])})
    clock = Clock()
    await subject.send_all(payloads(case.count))
    await last(done, case)
    result = clock.stop(case.count)
    await subject.close()
    return result


async def request(make: Make, case: Case) -> Result:
    done = asyncio.get_running_loop().create_future()
    subject = make()
    await subject.open(case, {"room-0": lambda data: done.set_result(data["seq"])})
    times = []
    clock = Clock()
    for payload in payloads(case.count):
        begun = time.perf_counter()
        await subject.request(payload)
        times.append((time.perf_counter() - begun) * 1e6)
    await last(done, case)
    result = clock.stop(case.count, times=times)
    await subject.close()
    return result


async def last(done: asyncio.Future[int], case: Case) -> None:
    """The server has told that it has everything, in order."""
    number = FIRST + case.count - 1
    missing.append(lambda: f"that the server has message {number}")
    if await done != number:
        fail(f"the server told of message {done.result()} instead of {number}")


async def echo(make: Make, case: Case) -> Result:
    loop = asyncio.get_running_loop()
    back: asyncio.Future[int] = loop.create_future()
    subject = make()
    await subject.open(case, {"room-0": lambda data: back.set_result(data["seq"])})
    expected = FIRST
    missing.append(lambda: f"message {expected}")
    times = []
    clock = Clock()
    for payload in payloads(case.count):
        back = loop.create_future()
        begun = time.perf_counter()
        await subject.send(payload)
        number = await back
        times.append((time.perf_counter() - begun) * 1e6)
        if number != expected:
            fail(f"message {number} came instead of {expected}")
        expected += 1
    result = clock.stop(case.count, times=times)
    await subject.close()
    return result


async def connect(make: Make, case: Case) -> Result:
    times = []
    clock = Clock()
    for _ in range(case.count):
        subject = make()
        begun = time.perf_counter()
        await subject.open(case, {"room-0": lambda _: None})
        times.append((time.perf_counter() - begun) * 1e6)
        await subject.close()
    return clock.stop(case.count, times=times)


async def idle(make: Make, case: Case) -> Result:
    """Connections that are open and subscribed; what the first one costs more is the library's own."""
    subjects = [make() for _ in range(case.count)]
    clock = Clock()
    first, *others = subjects
    await first.open(case, {"room-0": lambda _: None})
    before = resident()
    for subject in others:
        await subject.open(case, {"room-0": lambda _: None})
    after = resident()
    result = clock.stop(case.count, idle=(after - before) / len(others))
    await asyncio.gather(*(subject.close() for subject in subjects))
    return result


async def resubscribe(make: Make, case: Case) -> Result:
    """The server counts from the new connection to the word that the last channel is there."""
    told: asyncio.Queue[int] = asyncio.Queue()
    subject = make()
    await subject.open(case, {name: lambda data: told.put_nowait(data["seq"] - FIRST) for name in case.names})
    missing.append(lambda: "that all channels are subscribed")
    await told.get()
    times = []
    clock = Clock()
    for _ in range(case.count):
        await subject.send(numbered(0))
        if (number := await told.get()) != 0:
            fail(f"message {number} came before all channels were subscribed again")
        await subject.send(numbered(1))
        times.append(await told.get())
    result = clock.stop(case.count, times=times)
    await subject.close()
    return result


async def catch_up(make: Make, case: Case) -> Result:
    """The server counts from the new connection to the word that the last message is there."""
    loop = asyncio.get_running_loop()
    done, answer = loop.create_future(), loop.create_future()
    receive = receiver(case, 0, lambda: done.set_result(None))

    def on_message(data: Any) -> None:
        if done.done():
            answer.set_result(data["seq"] - FIRST)
        else:
            receive(data)

    subject = make()
    await subject.open(case, {"room-0": on_message})
    clock = Clock()
    await subject.send(numbered(0))
    await done
    await subject.send(numbered(1))
    result = clock.stop(case.count, times=[await answer])
    await subject.close()
    return result


MEASURES: dict[str, Callable[[Make, Case], Awaitable[Result]]] = {
    "receive": receive,
    "send": send,
    "request": request,
    "echo": echo,
    "connect": connect,
    "idle": idle,
    "resubscribe": resubscribe,
    "catch-up": catch_up,
}
