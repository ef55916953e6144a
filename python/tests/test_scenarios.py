"""The behaviour scenarios that all languages share; see `tests/scenarios/README.md`."""

from __future__ import annotations

import asyncio
import json
from collections import defaultdict
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from realtime_client import CollectionChange, Gap, Message, RealtimeCollection, RealtimeError, WebSocketClient
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
        self.later: list[Awaitable[Any]] = []
        self.presence: dict[str, list[list[str]]] = defaultdict(list)
        self.collections: dict[tuple[str, str], Records] = {}
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
        self.look()

    def look(self) -> None:
        self._changed.set()

    def watch(self, channel: str) -> None:
        presence = self.client.channel(channel).presence
        presence.on("sync", self.look)
        for event in ("join", "update", "leave"):
            presence.on(event, lambda user, event=event: self._note(self.presence[channel], [event, user.id]))

    def collect(self, channel: str, collection: str, initial_data: list[Any] | None) -> Records:
        records = Records(self.client.channel(channel).collection(collection, initial_data=initial_data))
        records.collection.on(
            "change", lambda change: self._note(records.changes, [change.kind, change.id, cause(change)])
        )
        records.collection.on("sync", lambda _, reason: self._note(records.syncs, reason))
        self.collections[channel, collection] = records
        return records

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


class Records:
    """A collection of a client, and what it has noted of it."""

    def __init__(self, collection: RealtimeCollection[Any]) -> None:
        self.collection = collection
        self.changes: list[list[str]] = []
        self.syncs: list[str] = []


def cause(change: CollectionChange[Any]) -> str:
    return "rollback" if change.rollback else "local" if change.local else "remote"


class Runner:
    def __init__(self, server: dict[str, Any]) -> None:
        names = {"historyMessages": "history_messages", "maxPayload": "max_payload", "maxChannels": "max_channels"}
        names |= {"tokenSecret": "token_secret", "rate": "rate", "echo": "echo"}
        names |= {"collectionRecords": "collection_records"}
        grace = server.pop("presenceGrace", None)
        options = {names[name]: value for name, value in server.items()}
        self._server = RealtimeServer(**options, presence_grace=None if grace is None else grace / 1000)
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
            details = {name: arguments.pop(name) for name in ("current", "revision") if name in arguments}
            with pytest.raises(RealtimeError) as raised:
                await getattr(self, step["do"])(**arguments)
            assert raised.value.code == expected
            assert {name: getattr(raised.value, name) for name in details} == details
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
                assert not isinstance(outcome, BaseException), outcome
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

    async def watch(self, person: Person, channel: str) -> None:
        person.watch(channel)
        await person.client.channel(channel).presence.ready()

    async def track(self, person: Person, channel: str, user: dict[str, Any], status: Any = "online") -> None:
        await person.client.channel(channel).presence.track(user, status=status)

    async def updatePresence(
        self, person: Person, channel: str, patch: dict[str, Any] | None = None, status: Any = None
    ) -> None:
        presence = person.client.channel(channel).presence
        await (presence.update(patch) if patch is not None else presence.update_status(status))

    async def untrack(self, person: Person, channel: str) -> None:
        await person.client.channel(channel).presence.untrack()

    async def expectUsers(self, person: Person, channel: str, users: list[Any]) -> None:
        presence = person.client.channel(channel).presence
        await person.until(lambda: [[u.id, u.status, u.state, u.connections] for u in presence.users] == users)

    async def expectPresence(self, person: Person, channel: str, events: list[Any]) -> None:
        noted = person.presence[channel]
        await person.until(lambda: len(noted) >= len(events))
        assert noted == events
        noted.clear()

    async def collection(
        self,
        person: Person,
        channel: str,
        collection: str,
        initialData: list[Any] | None = None,
        ready: bool = True,
    ) -> None:
        records = person.collect(channel, collection, initialData)
        if ready:
            await records.collection.ready()

    async def insert(self, person: Person, channel: str, collection: str, record: Any, later: bool = False) -> None:
        await self._mutation(person, person.collections[channel, collection].collection.insert(record), later)

    async def update(
        self,
        person: Person,
        channel: str,
        collection: str,
        id: str,
        patch: Any,
        ifRevision: int | None = None,
        later: bool = False,
    ) -> None:
        records = person.collections[channel, collection].collection
        await self._mutation(person, records.update(id, patch, if_revision=ifRevision), later)

    async def remove(
        self,
        person: Person,
        channel: str,
        collection: str,
        id: str,
        ifRevision: int | None = None,
        later: bool = False,
    ) -> None:
        records = person.collections[channel, collection].collection
        await self._mutation(person, records.remove(id, if_revision=ifRevision), later)

    async def _mutation(self, person: Person, pending: Awaitable[Any], later: bool) -> None:
        if later:
            person.later.append(pending)
        else:
            await pending

    async def expectData(
        self, person: Person, channel: str, collection: str, data: list[Any], now: bool = False
    ) -> None:
        records = person.collections[channel, collection].collection
        if not now:
            await person.until(lambda: list(records.data) == data)
        assert list(records.data) == data

    async def expectChanges(self, person: Person, channel: str, collection: str, changes: list[Any]) -> None:
        noted = person.collections[channel, collection].changes
        await person.until(lambda: len(noted) >= len(changes))
        assert noted == changes
        noted.clear()

    async def expectSync(self, person: Person, channel: str, collection: str, reason: str) -> None:
        noted = person.collections[channel, collection].syncs
        await person.until(lambda: reason in noted)
        del noted[: noted.index(reason) + 1]

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
