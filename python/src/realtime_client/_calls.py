from __future__ import annotations

import asyncio
import inspect
import logging
from typing import Any

from ._emitter import Emitter, Listener
from ._errors import RealtimeError
from ._ordered import Ordered, Ticket

logger = logging.getLogger("realtime_client")


class Calls:
    """Calls the handlers of a client and its channels, and reports what they raise."""

    def __init__(self, client: Emitter) -> None:
        self._client = client
        self.ordered = Ordered(self.failed)
        """The async handlers of the client's own events."""
        # What an "error" handler raises is not reported on "error".
        self._ordered_errors = Ordered(_log_failed)

    def emit(
        self,
        emitter: Emitter,
        event: str,
        arguments: tuple[Any, ...],
        ordered: Ordered | None = None,
        ticket: Ticket | None = None,
    ) -> bool:
        """Calls the handlers of an event, those that are async in their turn; `False` where there is none."""
        listeners = emitter._listeners.get(event)
        if not listeners:
            return False
        for listener in listeners:
            if listener.once:
                emitter._discard(event, listener)
            self._call(listener, arguments, ordered or self.ordered, ticket)
        return True

    def failed(self, failure: BaseException) -> None:
        """Reports what a handler has raised."""
        error = RealtimeError("handler_failed", f"a handler raised {type(failure).__name__}: {failure}")
        error.__cause__ = failure
        self.error(error)

    def error(self, error: BaseException) -> None:
        """Emits `"error"`; logs it where nobody listens."""
        listeners = self._client._listeners.get("error")
        if not listeners:
            logger.warning("%s: %s", getattr(error, "code", "error"), error, exc_info=error.__cause__)
            return
        for listener in listeners:
            if listener.once:
                self._client._discard("error", listener)
            if listener.is_async:
                self._ordered_errors.add(listener, (error,), None)
                continue
            try:
                result = listener.call((error,))
            except (Exception, asyncio.CancelledError) as failure:
                _log_failed(failure)
            else:
                if result is not None and inspect.isawaitable(result):
                    self._ordered_errors.add(result, (), None)

    def _call(self, listener: Listener, arguments: tuple[Any, ...], ordered: Ordered, ticket: Ticket | None) -> None:
        if listener.is_async:
            ordered.add(listener, arguments, ticket and ticket.take())
            return
        try:
            result = listener.call(arguments)
        except (Exception, asyncio.CancelledError) as failure:
            self.failed(failure)
        else:
            if result is not None and inspect.isawaitable(result):
                ordered.add(result, (), ticket and ticket.take())


def _log_failed(failure: BaseException) -> None:
    logger.error("a handler of the event 'error' raised %s", type(failure).__name__, exc_info=failure)
