from __future__ import annotations

from typing import TYPE_CHECKING

from ._channel import RealtimeChannel
from ._client import WebSocketClient
from ._emitter import Emitter
from ._errors import RealtimeError
from ._options import Options
from ._types import Status

if TYPE_CHECKING:
    from typing_extensions import Unpack


class RealtimeManager(Emitter):
    """One client for a whole program: initialize it once, use its channels everywhere.

    Handlers registered here, or at the client, hear the events of the client; they may be registered before
    `initialize`, and stay registered over `disconnect`.
    """

    def __init__(self) -> None:
        super().__init__()
        self._client: WebSocketClient | None = None

    async def initialize(self, url: str, **options: Unpack[Options]) -> WebSocketClient:
        """Makes the client, connects it, and returns it. The options are those of `WebSocketClient`.

        Raises as `WebSocketClient` and its `connect` do, and `invalid_option` where it was initialized with another URL
        and not disconnected since. With the same URL it connects the client that there is.
        """
        if self._client is not None and self._client.url != url:
            raise RealtimeError(
                "invalid_option", f"the manager has a client for {self._client.url}; disconnect it first"
            )
        if self._client is None:
            self._client = WebSocketClient(url, **options)
            self._client._listeners = self._listeners
        await self._client.connect()
        return self._client

    def channel(self, name: str) -> RealtimeChannel:
        """The channel of this name. Raises `closed` before `initialize`."""
        if self._client is None:
            raise RealtimeError("closed", "the manager has no client; call initialize() first")
        return self._client.channel(name)

    async def disconnect(self) -> None:
        """Disconnects and forgets the client. Idempotent."""
        client, self._client = self._client, None
        if client is not None:
            await client.disconnect()

    @property
    def status(self) -> Status:
        """What the client does; `disconnected` without one."""
        return Status.DISCONNECTED if self._client is None else self._client.status

    @property
    def is_connected(self) -> bool:
        """Whether the client is connected."""
        return self.status is Status.CONNECTED

    @property
    def client(self) -> WebSocketClient | None:
        """The client; `None` before `initialize`."""
        return self._client

    def _listeners_changed(self, event: str) -> None:
        if self._client is not None:
            self._client._listeners_changed(event)


realtime_manager = RealtimeManager()
"""The manager of this process."""
