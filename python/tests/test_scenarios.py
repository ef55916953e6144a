"""The behaviour scenarios that all languages share; see `tests/scenarios/README.md`."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from realtime_client import Gap, Message, RealtimeError, Receipt, WebSocketClient
from realtime_client._options import _PATHS
from realtime_client.testing import FaultProxy, RealtimeServer

from .conftest import TIMEOUT

FOLDER = Path(__file__).parents[2] / "tests" / "scenarios"
FILES = sorted(FOLDER.glob("*.json"))


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
async def test_scenario(path: Path) -> None:
    scenario = json.loads(path.read_text())
    runner = Runner(scenario.get("server", {}))
    await runner.start()
    try:
        for number, step in enumerate(scenario["steps"], start=1):
            try:
                await asyncio.wait_for(runner.run(step), TIMEOUT)
            except (AssertionError, asyncio.TimeoutError, RealtimeError) as error:
                pytest.fail(f"{scenario['name']}: step {number} {step}: {error!r}")
    finally:
        await runner.stop()


def test_there_are_scenarios() -> None:
    assert FILES


class Person:
    """A client of a scenario, and what it has noted."""

    def __init__(self, client: WebSocketClient) -> None:
        self.client = client
        self.messages: dict[str, list[Message]] = defaultdict(list)
        self.directs: list[Any] = []
        self.statuses: list[str] = []
        self.errors: list[str] = []
        self.gaps: dict[str, list[str]] = defaultdict(list)
        self.loads: dict[str, list[str]] = defaultdict(list)
        self.load_ends: dict[str, asyncio.Future[int | None]] = {}
        self.later: list[Awaitable[Receipt]] = []
        self._changed = asyncio.Event()
        client.on("message", self._message)
        client.on("status", lambda status: self._note(self.statuses, str(status)))
        client.on("error", lambda error: self._note(self.errors, error.code))

    def _message(self, message: Message) -> None:
        if message.channel is not None:
            self._note(self.messages[message.channel], message)
        elif isinstance(message.data, bytes):
            self._note(self.directs, message.data.hex())
        else:
            self._note(self.directs, [message.event, message.data])

    def _note(self, notes: list[Any], value: Any) -> None:
        notes.append(value)
        self._changed.set()

    def listen_for_gaps(self, channel: str) -> None:
        if self.client.channel(channel).listener_count("gap") == 0:
            self.client.channel(channel).on("gap", lambda gap: self._note(self.gaps[channel], gap.reason))

    async def load(self, gap: Gap) -> int | None:
        end: asyncio.Future[int | None] = asyncio.get_running_loop().create_future()
        self.load_ends[gap.channel] = end
        self._note(self.loads[gap.channel], gap.reason)
        return await end

    async def until(self, done: Callable[[], bool]) -> None:
        while not done():
            self._changed.clear()
            await self._changed.wait()


class Runner:
    def __init__(self, server: dict[str, Any]) -> None:
        names = {"historyMessages": "history_messages", "maxPayload": "max_payload", "maxChannels": "max_channels"}
        names |= {"tokenSecret": "token_secret", "rate": "rate", "echo": "echo"}
        self._server = RealtimeServer(**{names[name]: value for name, value in server.items()})
        self._people: dict[str, Person] = {}

    async def start(self) -> None:
        await self._server.start()
        self._proxy = FaultProxy(self._server.url)

    async def stop(self) -> None:
        for person in self._people.values():
            await person.client.disconnect()
        self._proxy.stop()
        await self._server.stop()

    async def run(self, step: dict[str, Any]) -> None:
        arguments = {name: value for name, value in step.items() if name not in ("do", "client")}
        # `as` is no name in Python.
        if "as" in arguments:
            arguments["name"] = arguments.pop("as")
        if "client" in step and step["do"] != "client":
            arguments["person"] = self._people[step["client"]]
        if "error" in step and step["do"] not in ("settle",):
            expected = arguments.pop("error")
            with pytest.raises(RealtimeError) as raised:
                await getattr(self, step["do"])(**arguments)
            assert raised.value.code == expected
        else:
            await getattr(self, step["do"])(**arguments)

    async def client(self, name: str, via: str = "proxy", options: dict[str, Any] | None = None) -> None:
        url = self._proxy.url if via == "proxy" else self._server.url
        self._people[name] = Person(WebSocketClient(url, **python_options(options or {})))

    async def connect(self, person: Person) -> None:
        await person.client.connect()

    async def disconnect(self, person: Person) -> None:
        await person.client.disconnect()

    async def subscribe(self, person: Person, channel: str) -> None:
        person.listen_for_gaps(channel)
        await person.client.channel(channel).subscribe()

    async def unsubscribe(self, person: Person, channel: str) -> None:
        await person.client.channel(channel).unsubscribe()

    async def send(
        self,
        person: Person,
        channel: str,
        event: str,
        payload: Any = None,
        bytes: str | None = None,
        acknowledged: bool | None = None,
    ) -> None:
        receipt = await person.client.channel(channel).send(event, data_of(payload, bytes))
        assert acknowledged in (None, receipt.acknowledged)

    async def sendLater(
        self,
        person: Person,
        channel: str,
        event: str,
        payload: Any = None,
        bytes: str | None = None,
        count: int | None = None,
    ) -> None:
        payloads = range(1, count + 1) if count is not None else [data_of(payload, bytes)]
        person.later += [person.client.channel(channel).send(event, payload) for payload in payloads]

    async def settle(self, person: Person, error: str | None = None) -> None:
        later, person.later = person.later, []
        assert later, "nothing to settle"
        for outcome in await asyncio.gather(*later, return_exceptions=True):
            if error is None:
                assert isinstance(outcome, Receipt), outcome
            else:
                assert isinstance(outcome, RealtimeError)
                assert outcome.code == error

    async def direct(
        self, person: Person, type: str | None = None, payload: Any = None, bytes: str | None = None
    ) -> None:
        client = person.client
        await (client.send(type, payload) if type is not None else client.send_binary(data_of(None, bytes)))

    async def cut(self) -> None:
        self._proxy.cut()

    async def cutConnections(self) -> None:
        self._proxy.cut_connections()

    async def stall(self) -> None:
        self._proxy.stall()

    async def restore(self) -> None:
        self._proxy.restore()

    async def restartServer(self) -> None:
        await self._server.stop()
        await self._server.start()

    async def expectMessages(
        self,
        person: Person,
        channel: str,
        payloads: list[Any] | None = None,
        bytes: list[str] | None = None,
        count: int | None = None,
        event: str | None = None,
        user: str | None = None,
    ) -> None:
        expected: list[Any] = payloads or [data_of(None, item) for item in bytes or []]
        if count is not None:
            expected = list(range(1, count + 1))
        noted = person.messages[channel]
        await person.until(lambda: len(noted) >= len(expected))
        assert [message.data for message in noted] == expected
        assert event is None or {message.event for message in noted} == {event}
        assert user is None or {message.user for message in noted} == {user}
        noted.clear()

    async def expectDirect(self, person: Person, messages: list[Any]) -> None:
        await person.until(lambda: len(person.directs) >= len(messages))
        assert person.directs == messages
        person.directs.clear()

    async def expectNothing(self, person: Person, channel: str) -> None:
        assert person.messages[channel] == []

    async def expectStatus(self, person: Person, status: str) -> None:
        await person.until(lambda: status in person.statuses)
        del person.statuses[: person.statuses.index(status) + 1]

    async def expectGap(self, person: Person, channel: str, reason: str) -> None:
        await person.until(lambda: reason in person.gaps[channel])

    async def loadOnGap(self, person: Person, channel: str, initial: bool = False) -> None:
        person.client.channel(channel).on_gap(person.load, initial=initial)

    async def expectLoad(self, person: Person, channel: str, reason: str) -> None:
        await person.until(lambda: reason in person.loads[channel])
        person.loads[channel].clear()

    async def endLoad(self, person: Person, channel: str, offset: int | None = None, fails: bool = False) -> None:
        end = person.load_ends.pop(channel)
        if fails:
            end.set_exception(RuntimeError("no snapshot"))
        else:
            end.set_result(offset)

    async def expectError(self, person: Person, code: str) -> None:
        await person.until(lambda: code in person.errors)

    async def expectStats(self, person: Person, stats: dict[str, Any]) -> None:
        found = person.client.get_stats()
        for name, expected in stats.items():
            value = getattr(found, "".join(f"_{c.lower()}" if c.isupper() else c for c in name))
            if isinstance(expected, dict):
                assert value >= expected["min"], name
            else:
                assert value == expected, name


def data_of(payload: Any, hexadecimal: str | None) -> Any:
    return payload if hexadecimal is None else bytes.fromhex(hexadecimal)


def python_options(options: dict[str, Any]) -> dict[str, Any]:
    """Options in the spelling of Node, times in ms, as keyword arguments."""
    found: dict[str, Any] = {}
    for name, path in _PATHS.items():
        path, _, unit = path.partition(":")
        value: Any = options
        for part in path.split("."):
            value = value.get(part) if isinstance(value, dict) else None
        if value is not None:
            found[name] = value / 1000 if unit else value
    return found
