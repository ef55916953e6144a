from __future__ import annotations

from bisect import bisect_left
from collections import deque
from typing import Generic, TypeVar

T = TypeVar("T")


class View(Generic[T]):
    """The records of a collection in the order of their ids, which is that of their UTF-8.

    Changes come on two ways: from the calls of the application at once, and from the queue of everything else. They are
    numbered as they happened, and one that comes after a later one of the same record is left out.
    """

    def __init__(self) -> None:
        self._ids: list[str] = []
        self._records: list[T] = []
        self._revisions: list[int | None] = []
        self._all: tuple[T, ...] | None = ()
        self._ahead: dict[str, int] = {}
        """The records that calls have changed, with the number of their change, until the queue has come to it."""
        self._calls: deque[tuple[int, str]] = deque()

    def __len__(self) -> int:
        return len(self._ids)

    def __contains__(self, id: object) -> bool:
        return isinstance(id, str) and self._find(id) is not None

    def get(self, id: str) -> T | None:
        at = self._find(id)
        return None if at is None else self._records[at]

    def revision(self, id: str) -> int | None:
        at = self._find(id)
        return None if at is None else self._revisions[at]

    def all(self) -> tuple[T, ...]:
        """All records; the same tuple until one changes."""
        if self._all is None:
            self._all = tuple(self._records)
        return self._all

    def called(self, id: str, version: int) -> None:
        """A call has made this change; the queue is behind it."""
        self._ahead[id] = version
        self._calls.append((version, id))

    def is_late(self, id: str, version: int) -> bool:
        """Whether a change from the queue comes after a later one from a call."""
        while self._calls and self._calls[0][0] < version:
            passed, of = self._calls.popleft()
            if self._ahead.get(of) == passed:
                del self._ahead[of]
        return self._ahead.get(id, 0) > version

    def put(self, id: str, record: T, revision: int | None, *, same: bool = False) -> T | None:
        """Shows a record, and returns what was shown before. With `same` only its revision is another."""
        ids = self._ids
        at = len(ids) if not ids or ids[-1] < id else bisect_left(ids, id)
        if at == len(ids) or ids[at] != id:
            ids.insert(at, id)
            self._records.insert(at, record)
            self._revisions.insert(at, revision)
            self._all = None
            return None
        old = self._records[at]
        self._revisions[at] = revision
        if not same:
            self._records[at] = record
            self._all = None
        return old

    def remove(self, id: str) -> T | None:
        at = self._find(id)
        if at is None:
            return None
        self._all = None
        del self._ids[at], self._revisions[at]
        return self._records.pop(at)

    def _find(self, id: str) -> int | None:
        at = bisect_left(self._ids, id)
        return at if at < len(self._ids) and self._ids[at] == id else None
