from __future__ import annotations

import asyncio
import inspect
from collections.abc import Awaitable
from typing import Any

from ._errors import describe
from ._options import TokenProvider
from ._realtime import Connection


class Tokens:
    """Asks the token provider of a client, plain or `async`, and answers the native side."""

    def __init__(self, provider: TokenProvider | None) -> None:
        self._provider = provider
        self._tasks: set[asyncio.Task[None]] = set()

    def answer(self, request: int, native: Connection) -> None:
        """Asks. One that takes too long is given up by the native side."""
        try:
            token: Any = self._provider() if self._provider is not None else None
        except Exception as error:
            _answer(request, native, None, error)
            return
        if not inspect.isawaitable(token):
            _answer(request, native, token)
            return
        task = asyncio.get_running_loop().create_task(_await(request, native, token), name="realtime token")
        # The loop holds tasks weakly.
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


async def _await(request: int, native: Connection, awaitable: Awaitable[Any]) -> None:
    try:
        _answer(request, native, await awaitable)
    except Exception as error:
        _answer(request, native, None, error)


def _answer(request: int, native: Connection, token: Any, error: Exception | None = None) -> None:
    failure = None if error is None else describe(error)
    if token is not None and not isinstance(token, str):
        token, failure = None, f"it returned {type(token).__name__}, not a string"
    native.answer_token(request, token, failure)
