from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, Literal, TypeVar

from ._frozen import freeze
from ._outbox import Pending
from ._realtime import encode
from ._stream import Answer, Stream
from ._view import View

if TYPE_CHECKING:
    from ._channel import RealtimeChannel
    from ._link import Link

RecordT = TypeVar("RecordT", bound=Mapping[str, Any])


@dataclass(frozen=True)
class CollectionChange(Generic[RecordT]):
    """How `collection.data` has changed; what its handlers get."""

    kind: Literal["insert", "update", "delete"]
    id: str
    record: RecordT | None
    """The record as it is shown now; `None` where it is gone."""
    old: RecordT | None
    """The record as it was shown before; `None` where there was none."""
    local: bool
    """Whether this client caused it."""
    rollback: bool
    """Whether a change of this client failed, and is taken back."""
    revision: int | None
    """Which change of the collection the server's record is as of; `None` while the server does not have it."""


class RealtimeCollection(Stream, Generic[RecordT]):
    """Records with an id that are kept equal everywhere, from `channel.collection(name)`.

    What is inserted, updated and removed here is in `data` at once, and at the server as soon as there is a connection.
    Where it fails, `data` is as if it had not been. `data` and its records are snapshots that never change.

    Events, with what their handlers get:

    - `"insert"`, `"update"`, `"delete"` (record, `CollectionChange`): `data` has changed; for `"delete"` the record as
      it was. What is there from the beginning comes with the first `"sync"` alone;
    - `"change"` (`CollectionChange`): each of these;
    - `"settled"` (id): no change of this record is on its way any more (`is_pending`), and the server has it, or not;
    - `"sync"` (`data`, reason): what the server has is here. The reason is `"initial"`, `"resync"` (after a
      reconnect), or `"diverged"`;
    - `"diverged"` (offset): records are not equal to those of the server, which must not happen; they are fetched anew;
    - `"error"` (`RealtimeError`): the server refuses the collection, or a change that was not awaited has failed. Where
      nobody listens, it goes to the client's `"error"`.
    """

    def __init__(self, channel: RealtimeChannel, name: str) -> None:
        super().__init__(channel, f"the collection {name!r} of channel {channel.name!r}")
        self._name = name
        self._view: View[RecordT] = View()
        self._pending: dict[str, int] = {}
        """The records that have changes on their way, and how many."""

    # What an application calls.

    @property
    def name(self) -> str:
        """Its name."""
        return self._name

    @property
    def data(self) -> tuple[RecordT, ...]:
        """The records, in the order of their ids; the same tuple until something changes."""
        return self._view.all()

    def get(self, id: str) -> RecordT | None:
        """The record with this id."""
        return self._view.get(id)

    def __len__(self) -> int:
        return len(self._view)

    def __contains__(self, id: object) -> bool:
        return id in self._view

    def __bool__(self) -> bool:
        # An empty collection is one, too.
        return True

    def revision(self, id: str) -> int | None:
        """Which change of the collection the record is as of, for `if_revision`; `None` before the server has it."""
        return self._view.revision(id)

    def is_pending(self, id: str) -> bool:
        """Whether changes of this record are on their way to the server."""
        return id in self._pending

    def insert(self, record: Mapping[str, Any]) -> Pending[RecordT]:
        """Adds a record. Without an `id`, a string, it gets one (UUIDv7, which sorts by time).

        It is in `data` when this returns; await the result to know that the server has it, and for the record as it is
        shown then. Inserting the same record again changes nothing; where the id has another record, this fails with
        `conflict`. Raises at once what is known at once (`invalid_record`, `invalid_payload`, `closed`, `queue_full`).
        """
        return self._mutate("insert", None, record, None)

    def update(self, id: str, patch: Mapping[str, Any], *, if_revision: int | None = None) -> Pending[RecordT]:
        """Changes fields of a record: those of `patch`; the last writer wins each field.

        With `if_revision` only where the server's record is still at that revision; otherwise this fails with
        `conflict`, and the error has the record (`current`) and its `revision`. Fails with `not_found` where the
        server has no such record.
        """
        return self._mutate("update", id, patch, if_revision)

    def remove(self, id: str, *, if_revision: int | None = None) -> Pending[None]:
        """Takes a record out; where it is not there, nothing changes. With `if_revision` as `update`."""
        return self._mutate("remove", id, None, if_revision)

    def close(self) -> None:
        """Stops to sync. What is on its way to the server still goes; `data` stays as it is.

        `channel.collection(name)` goes on with it.
        """
        self._unwatch(f"{self._what} was closed")

    def __repr__(self) -> str:
        return f"<RealtimeCollection {self._name!r} of {self._channel.name!r}: {len(self._view)} records>"

    # Inside.

    def _open(self, link: Link) -> int:
        # A session that is not the one before counts anew.
        self._view = View()
        return link.native.collection(self._channel.name, self._name)

    def _seed(self, link: Link, initial: Iterable[Mapping[str, Any]]) -> None:
        for id, record, version in link.native.seed(self._id, encode(list(initial))):
            self._view.called(id, version)
            self._view.put(id, freeze(record), None)

    def _mutate(
        self, op: str, id: str | None, payload: Mapping[str, Any] | None, if_revision: int | None
    ) -> Pending[Any]:
        if id is not None and not isinstance(id, str):
            raise TypeError(f"the id of a record must be a string, not {type(id).__name__}")
        if if_revision is not None and (isinstance(if_revision, bool) or not isinstance(if_revision, int)):
            raise TypeError(f"if_revision must be an int, not {type(if_revision).__name__}")
        encoded = None if op == "remove" else encode(payload)
        self._client._bind()
        change = _Mutation(self)

        def attempt(link: Link) -> int | None:
            made = link.native.mutate(self._id, op, id, encoded, if_revision)
            if made is None:
                return None
            request, key, record, revision, version, same = made
            shown = freeze(record)
            change.begin(key, shown)
            self._view.called(key, version)
            self._apply(key, shown, revision, same, True, False)
            return request

        self._client._send_in_turn(change, attempt, 0 if encoded is None else len(encoded))
        return change

    def _apply(
        self,
        id: str,
        record: RecordT | None,
        revision: int | None,
        confirms: bool,
        local: bool,
        rollback: bool,
        size: int = 0,
    ) -> bool:
        """Changes what is shown, and tells. `True` where this is consumed later."""
        same = confirms and record is not None and id in self._view
        old = self._view.remove(id) if record is None else self._view.put(id, record, revision, same=same)
        if same or (record is None and old is None) or not self._listeners:
            return False
        kind: Literal["insert", "update", "delete"]
        kind = "delete" if record is None else "insert" if old is None else "update"
        change = CollectionChange(kind, id, record, old, local, rollback, revision)
        ticket = self._ticket(size)

        def emit() -> None:
            self._call(kind, (old if record is None else record, change), ticket)
            self._call("change", (change,), ticket)

        self._emit(emit)
        return ticket is not None and ticket.is_taken

    def _settle(self, id: str) -> None:
        """A change of this record is not on its way any more."""
        left = self._pending.pop(id, 0) - 1
        if left > 0:
            self._pending[id] = left
        elif "settled" in self._listeners:
            self._emit(lambda: self._call("settled", (id,)))

    # What the client hands on while it drains.

    def _on_change(
        self,
        id: str,
        record: Any,
        revision: int | None,
        version: int,
        confirms: bool,
        initial: bool,
        local: bool,
        size: int,
    ) -> bool:
        if self._view.is_late(id, version):
            return False
        shown: RecordT | None = freeze(record)
        if not initial:
            return self._apply(id, shown, revision, confirms, local, local, size)
        # What was there from the beginning is told by "sync" alone.
        if shown is None:
            self._view.remove(id)
        else:
            self._view.put(id, shown, revision)
        return False

    def _on_sync(self, reason: str) -> None:
        self._on_synced()
        if "sync" in self._listeners:
            self._emit(lambda: self._call("sync", (self.data, reason)))

    def _on_diverged(self, offset: int) -> None:
        self._emit(lambda: self._call("diverged", (offset,)))


class _Mutation(Answer[Any]):
    """A change on its way: ends with the record as it is shown then, or with an error."""

    __slots__ = ("_collection", "_id", "_record")

    def __init__(self, collection: RealtimeCollection[Any]) -> None:
        super().__init__(collection)
        self._collection = collection
        self._id: str | None = None
        """Set while the engine has it."""
        self._record: Any = None

    def begin(self, id: str, record: Any) -> None:
        self._id, self._record = id, record
        self._collection._pending[id] = self._collection._pending.get(id, 0) + 1

    def set_result(self, receipt: Any) -> None:
        self._end()
        super().set_result(receipt)

    def fail(self, error: BaseException, unseen: Callable[[BaseException], None]) -> None:
        self._end()
        super().fail(error, unseen)

    def value(self) -> Any:
        if self._record is None or self._id is None:
            return None
        now = self._collection._view.get(self._id)
        return self._record if now is None else now

    def _end(self) -> None:
        if self._id is not None:
            self._collection._settle(self._id)
