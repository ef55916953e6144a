from __future__ import annotations

import functools
from collections.abc import Callable, Coroutine
from typing import Any

from ._types import StalledHandler

Place = tuple["str | None", str, Any]
"""Which handler is called, and for what: channel, event, handler."""


class Stalls:
    """Finds out in which handler the event loop was blocked.

    The native side says when it has been for long, once. Whoever hears that right after calling a handler, and did not
    before, knows that it was this one.
    """

    def __init__(self) -> None:
        self.is_overdue: Callable[[], bool] = _never
        """Whether the loop has been blocked for long, which is new."""
        self._known = False
        self._found: StalledHandler | None = None

    def watch(self, is_overdue: Callable[[], bool] | None) -> None:
        self.is_overdue = is_overdue or _never

    def settle(self, place: Place | None) -> None:
        """What was running since somebody asked last; `None` for what is not known."""
        if self.is_overdue():
            self.found(place)

    def found(self, place: Place | None) -> None:
        if not self._known:
            self._known, self._found = True, place and _describe(place)

    def take(self) -> StalledHandler | None:
        """In which handler it was."""
        found, self._known, self._found = self._found, False, None
        return found


class Steps(Coroutine[Any, Any, None]):
    """A coroutine that is asked after every step for what it was running in it."""

    def __init__(
        self, coroutine: Coroutine[Any, Any, None], stalls: Stalls, running: Callable[[], Place | None]
    ) -> None:
        self._coroutine = coroutine
        self._stalls = stalls
        self._running = running

    def send(self, value: Any) -> Any:
        self._stalls.settle(None)
        try:
            return self._coroutine.send(value)
        finally:
            self._stalls.settle(self._running())

    def throw(self, *error: Any) -> Any:
        self._stalls.settle(None)
        try:
            return self._coroutine.throw(*error)
        finally:
            self._stalls.settle(self._running())

    def close(self) -> None:
        self._coroutine.close()

    def __await__(self) -> Any:
        return self._coroutine.__await__()


def _describe(place: Place) -> StalledHandler:
    channel, event, handler = place
    while isinstance(handler, functools.partial):
        handler = handler.func
    # An object is called by its class.
    function = handler if hasattr(handler, "__qualname__") else getattr(type(handler), "__call__", handler)  # noqa: B004
    code = getattr(function, "__code__", None)
    return StalledHandler(
        channel,
        event,
        f"{getattr(function, '__module__', '?')}.{getattr(function, '__qualname__', repr(function))}",
        None if code is None else f"{code.co_filename}:{code.co_firstlineno}",
    )


def _never() -> bool:
    return False
