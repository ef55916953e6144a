from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from ._frozen import freeze
from ._outbox import Pending
from ._realtime import encode
from ._stream import Answer, Report, Stream
from ._types import _StrEnum

if TYPE_CHECKING:
    from ._channel import RealtimeChannel
    from ._link import Link


class PresenceStatus(_StrEnum):
    """How available a user is."""

    ONLINE = "online"
    AWAY = "away"
    BUSY = "busy"


StatusName = PresenceStatus | Literal["online", "away", "busy"]


@dataclass(frozen=True, eq=True)
class PresenceUser:
    """One user who is present, with however many connections; a snapshot that never changes.

    What the user tells of itself is in `state`; `user["name"]` is short for `user.state["name"]`.
    """

    id: str
    """The verified user where the server knows one, else the `id` that was tracked, else a name made by the server."""
    status: PresenceStatus
    """The most available of its connections."""
    state: Mapping[str, Any]
    """What was tracked, as of the connection that changed last; read-only."""
    joined_at: float
    """Since when it is present, by the server's clock, in seconds since the Unix epoch."""
    last_seen: float
    """When it last changed something, likewise."""
    connections: int
    """How many connections (tabs, devices, processes) it is present with."""
    verified: bool
    """Whether the server has verified who it is."""
    is_self: bool
    """Whether one of the connections is this client's."""

    def __getitem__(self, field: str) -> Any:
        return self.state[field]

    def get(self, field: str, default: Any = None) -> Any:
        """A field of the state."""
        return self.state.get(field, default)

    # The state is a mapping, which has no hash.
    __hash__ = None  # type: ignore[assignment]


class RealtimePresence(Stream):
    """Who is present in a channel, from `channel.presence`.

    Watching does not make present, and begins with the first handler, `users`, `ready()` or `track()`.

    Events, with what their handlers get:

    - `"join"`, `"update"`, `"leave"` (`PresenceUser`): somebody came, changed something, is gone. Who is there from the
      beginning comes with the first `"sync"` alone; a second connection of a user is an update;
    - `"sync"` (`users`): after each of these, and once all that are present are known;
    - `"error"` (`RealtimeError`): the server refuses to let this client watch, or what was not awaited failed. Where
      nobody listens, it goes to the client's `"error"`.
    """

    def __init__(self, channel: RealtimeChannel) -> None:
        super().__init__(channel, f"the presence of channel {channel.name!r}")
        self._members: dict[tuple[bool, str], PresenceUser] = {}
        self._users: tuple[PresenceUser, ...] | None = ()

    # What an application calls.

    @property
    def users(self) -> tuple[PresenceUser, ...]:
        """Who is present, in the order in which they came; the same tuple until something changes.

        Empty until it is known; `ready()` waits for that. While the connection is lost it stays as it was.
        """
        self._watch()
        if self._users is None:
            self._users = tuple(sorted(self._members.values(), key=lambda user: (user.joined_at, user.id)))
        return self._users

    @property
    def online_count(self) -> int:
        """How many users have the status `online`. `len(users)` counts those who are away or busy, too."""
        return sum(user.status is PresenceStatus.ONLINE for user in self.users)

    def get(self, id: str) -> PresenceUser | None:
        """The user with this id; of two with the same the verified one."""
        self._watch()
        return self._members.get((True, id)) or self._members.get((False, id))

    @property
    def is_tracked(self) -> bool:
        """Whether this client is present, or will be as soon as it is connected."""
        return self._client._link is not None and self._client._link.native.is_tracked(self._id)

    def track(self, user: Mapping[str, Any] | None = None, *, status: StatusName = "online") -> Pending[None]:
        """Makes this client present, until `untrack()`, `close()` or `disconnect()`; await it to know that it is.

        `user` is anything that JSON carries, up to 16 KiB. Its `id` says who it is: clients with the same id are one
        user. A server that knows who connects (a token) takes that instead, and says so (`verified`). Tracking again
        replaces what was tracked. After a reconnect the client is present again by itself; within the grace period (10
        seconds, the server's setting) nobody notices that it was gone.
        """
        state = {} if user is None else dict(user)
        id = state.pop("id", None)
        key = str(id) if isinstance(id, (str, int)) and not isinstance(id, bool) else id
        payload = encode(state)
        self._watch()
        return self._request(lambda link: link.native.track(self._id, key, str(status), payload))

    def update(self, patch: Mapping[str, Any]) -> Pending[None]:
        """Changes some fields of what is tracked. Fails with `not_tracked` where nothing is."""
        return self._change(None, patch)

    def update_status(self, status: StatusName) -> Pending[None]:
        """Changes the status. Fails with `not_tracked` where nothing is tracked."""
        return self._change(status, None)

    def untrack(self) -> Pending[None]:
        """Ends being present. Idempotent."""
        return self._request(lambda link: link.native.untrack(self._id))

    def close(self) -> None:
        """Untracks, and stops to watch. What was seen stays as it was; using it again watches again."""
        if self.is_tracked:
            self.untrack()
        self._unwatch(f"{self._what} was closed")

    def __repr__(self) -> str:
        return f"<RealtimePresence of {self._channel.name!r}: {len(self._members)} users>"

    # Inside.

    def _change(self, status: StatusName | None, patch: Mapping[str, Any] | None) -> Pending[None]:
        payload = None if patch is None else encode(dict(patch))
        name = None if status is None else str(status)
        return self._request(lambda link: link.native.update_presence(self._id, name, payload))

    def _request(self, ask: Callable[[Link], int]) -> Pending[None]:
        request = ask(self._client._bind())
        answer: Answer[None] = Answer(self)
        self._client._outbox.futures[request] = answer
        return answer

    def _open(self, link: Link) -> int:
        return link.native.presence(self._channel.name)

    def _listeners_changed(self, event: str) -> None:
        if event in self._listeners and event != "error":
            self._watch()

    # What the client hands on while it drains.

    def _on_presence(self, report: Report, size: int) -> bool:
        """Somebody came, changed or left. `True` where this is consumed later."""
        first, events = not self._synced, []
        for event in ("leave", "update", "join"):
            for told in report.get(event, ()):
                user = _user(told)
                place = (user.verified, user.id)
                if event == "leave":
                    self._members.pop(place, None)
                else:
                    self._members[place] = user
                events.append((event, user))
        if events:
            self._users = None
        if report.get("sync"):
            self._on_synced()
        ticket = self._ticket(size)

        def emit() -> None:
            for event, user in events if not first else ():
                self._call(event, (user,), ticket)
            if self._synced and "sync" in self._listeners:
                self._call("sync", (self.users,), ticket)

        self._emit(emit)
        return ticket is not None and ticket.is_taken


def _user(told: Report) -> PresenceUser:
    return PresenceUser(
        told["id"],
        PresenceStatus(told["status"]),
        freeze(told["state"]),
        told["joinedAt"] / 1000,
        told["lastSeen"] / 1000,
        told["connections"],
        told["verified"],
        told["self"],
    )
