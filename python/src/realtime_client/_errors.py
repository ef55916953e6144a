from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from ._frozen import freeze


class RealtimeError(Exception):
    """A failure of a client, a channel or a send.

    `str(error)` says what happened, to what, and what to do; `code` is for programs and the same in every language.
    """

    code: str
    """The stable code, such as `"closed"`, `"timeout"`, `"forbidden"` or `"invalid_payload"`."""
    status: int | None
    """The HTTP status, where the server answered the upgrade with one."""
    close_code: int | None
    """The WebSocket close code, where a close caused it."""
    retry_after: float | None
    """Seconds after which to try again, where the server said so."""
    current: Mapping[str, Any] | None
    """The record as the server has it, with `"conflict"`; `None` where it has none."""
    revision: int | None
    """The revision of that record."""

    def __init__(
        self,
        code: str,
        message: str,
        status: int | None = None,
        close_code: int | None = None,
        retry_after: float | None = None,
        current: Mapping[str, Any] | None = None,
        revision: int | None = None,
    ) -> None:
        super().__init__(message)
        self.code = code
        self.status = status
        self.close_code = close_code
        self.retry_after = retry_after
        self.current = current
        self.revision = revision

    def __repr__(self) -> str:
        return f"RealtimeError({self.code!r}, {str(self)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return RealtimeError, self._arguments()

    def _copy(self) -> RealtimeError:
        """The same for another waiter: an exception that is raised twice would collect both tracebacks."""
        copy = RealtimeError(*self._arguments())
        copy.__cause__ = self.__cause__
        return copy

    def _arguments(self) -> tuple[Any, ...]:
        return (
            self.code,
            str(self),
            self.status,
            self.close_code,
            self.retry_after,
            self.current,
            self.revision,
        )


def error_from_report(report: Mapping[str, Any]) -> RealtimeError:
    """The exception of an error as the native module writes it."""
    retry_after = report.get("retryAfter")
    return RealtimeError(
        report["code"],
        report["message"],
        report.get("status"),
        report.get("closeCode"),
        None if retry_after is None else retry_after / 1000,
        freeze(report.get("record")),
        report.get("revision"),
    )


def describe(error: BaseException) -> str:
    """An exception in words, also one that has none."""
    try:
        return f"{type(error).__name__}: {error}"
    except Exception:
        return type(error).__name__
