from __future__ import annotations

import inspect
import logging
from typing import Any

from ._emitter import Emitter, Listener
from ._errors import RealtimeError, describe
from ._ordered import Ordered, Ticket
from ._stalls import Place, Stalls

logger = logging.getLogger("realtime_client")


class Calls:
    """Calls the handlers of a client and its channels, and reports what they raise."""

    def __init__(self, client: Emitter, stalls: Stalls) -> None:
        self._client = client
        self._stalls = stalls
        self.ordered = Ordered(self.failed, stalls)
        """The async handlers of the client's own events."""
        # What an "error" handler raises is not reported on "error".
        self._ordered_errors = Ordered(_log_failed, stalls)

    def emit(
        self,
        emitter: Emitter,
        event: str,
        arguments: tuple[Any, ...],
        ordered: Ordered | None = None,
        ticket: Ticket | None = None,
        channel: str | None = None,
    ) -> bool:
        """Calls the handlers of an event, those that are async in their turn; `False` where there is none.

        Only while the client drains, which has looked for stalls before.
        """
        listeners = emitter._listeners.get(event)
        if not listeners:
            return False
        for listener in listeners:
            if listener.once:
                emitter._discard(event, listener)
            self._call(listener, arguments, ordered or self.ordered, ticket, (channel, event, listener.handler))
        return True

    def failed(self, failure: BaseException) -> None:
        """Reports what a handler has raised."""
        error = RealtimeError("handler_failed", f"a handler raised {describe(failure)}")
        error.__cause__ = failure
        self.error(error)

    def error(self, error: BaseException) -> None:
        """Emits `"error"`; logs it where nobody listens."""
        listeners = self._client._listeners.get("error")
        if not listeners:
            logger.warning("%s: %s", getattr(error, "code", "error"), error, exc_info=error.__cause__)
            return
        self._stalls.settle(None)
        for listener in listeners:
            if listener.once:
                self._client._discard("error", listener)
            place = (None, "error", listener.handler)
            self._call(listener, (error,), self._ordered_errors, None, place)

    def _call(
        self, listener: Listener, arguments: tuple[Any, ...], ordered: Ordered, ticket: Ticket | None, place: Place
    ) -> None:
        if listener.is_async:
            ordered.add(listener, arguments, ticket and ticket.take(), place)
            return
        try:
            result = listener.call(arguments)
        except (KeyboardInterrupt, SystemExit):
            raise
        except BaseException as failure:
            self._stalls.settle(place)
            ordered.failed(failure)
        else:
            if self._stalls.is_overdue():
                self._stalls.found(place)
            if result is not None and inspect.isawaitable(result):
                ordered.add(result, (), ticket and ticket.take(), place)


def _log_failed(failure: BaseException) -> None:
    logger.error("a handler of the event 'error' raised %s", type(failure).__name__, exc_info=failure)
