from __future__ import annotations

import inspect
from collections.abc import Callable
from typing import Any, TypeVar, overload

Handler = Callable[..., Any]
"""A plain or `async` function. It is called with as many arguments as it has parameters without a default."""

H = TypeVar("H", bound=Handler)


class Listener:
    """A registered handler, and how it wants to be called."""

    __slots__ = ("handler", "is_async", "once", "parameters")

    def __init__(self, handler: Handler, once: bool) -> None:
        if not callable(handler):
            raise TypeError(f"a handler must be callable, not {type(handler).__name__}")
        self.handler = handler
        self.once = once
        self.is_async = inspect.iscoroutinefunction(handler) or inspect.iscoroutinefunction(
            getattr(handler, "__call__", None)  # noqa: B004 - for objects whose __call__ is async
        )
        self.parameters = _count_parameters(handler)

    def call(self, arguments: tuple[Any, ...]) -> Any:
        return self.handler(*arguments[: self.parameters])


class Emitter:
    """Events with handlers, plain or `async`.

    A handler is called with as many arguments as it has parameters without a default, at most those that the event
    has; one with only `*args` gets all. A handler that raises stops nothing: it is reported on `"error"`.
    """

    def __init__(self) -> None:
        self._listeners: dict[str, list[Listener]] = {}

    @overload
    def on(self, event: str) -> Callable[[H], H]: ...
    @overload
    def on(self, event: str, handler: Handler) -> Callable[[], None]: ...
    def on(self, event: str, handler: Handler | None = None) -> Any:
        """Calls `handler` for every `event`. Returns a function that ends this; without a handler it is a decorator."""
        return self._register(event, handler, once=False)

    @overload
    def once(self, event: str) -> Callable[[H], H]: ...
    @overload
    def once(self, event: str, handler: Handler) -> Callable[[], None]: ...
    def once(self, event: str, handler: Handler | None = None) -> Any:
        """Like `on`, for the next `event` only."""
        return self._register(event, handler, once=True)

    def off(self, event: str, handler: Handler | None = None) -> None:
        """Ends what `on` and `once` began: for this handler, or for all handlers of the event."""
        listeners = self._listeners.get(event, [])
        self._set(event, [x for x in listeners if handler is not None and x.handler != handler])

    def listener_count(self, event: str) -> int:
        """How many handlers an event has."""
        return len(self._listeners.get(event, ()))

    def _register(self, event: str, handler: Handler | None, *, once: bool) -> Any:
        if not isinstance(event, str):
            raise TypeError(f"an event must be a string, not {type(event).__name__}")
        if handler is None:

            def decorate(decorated: H) -> H:
                self._register(event, decorated, once=once)
                return decorated

            return decorate
        listener = Listener(handler, once)
        self._set(event, [*self._listeners.get(event, ()), listener])
        return lambda: self._discard(event, listener)

    def _discard(self, event: str, listener: Listener) -> None:
        listeners = self._listeners.get(event, [])
        if listener in listeners:
            self._set(event, [x for x in listeners if x is not listener])

    def _set(self, event: str, listeners: list[Listener]) -> None:
        # Always a new list: an emission that is under way goes on with the old one.
        if listeners:
            self._listeners[event] = listeners
        else:
            self._listeners.pop(event, None)
        self._listeners_changed(event)

    def _listeners_changed(self, event: str) -> None:
        """For subclasses."""


def _count_parameters(handler: Handler) -> int:
    try:
        parameters = inspect.signature(handler).parameters.values()
    except (TypeError, ValueError):
        # A builtin that does not say: most take the one value that an event is about.
        return 1
    positional = [p for p in parameters if p.kind in (p.POSITIONAL_ONLY, p.POSITIONAL_OR_KEYWORD)]
    required = sum(p.default is p.empty for p in positional)
    if required == 0 and any(p.kind is p.VAR_POSITIONAL for p in parameters):
        return 8
    # A lone parameter with a default is there to be given.
    return required or min(len(positional), 1)
