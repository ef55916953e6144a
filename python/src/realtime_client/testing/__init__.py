"""Tools for tests: a real server in this process, and a proxy that breaks the network on demand.

```python
async with RealtimeServer() as server, WebSocketClient(server.url) as client:
    ...
```

With pytest the fixture `realtime_server` gives the URL and the methods of a fresh server to plain and `async` tests.
"""

from __future__ import annotations

import asyncio
import json
from collections.abc import Sequence
from types import TracebackType
from typing import Any

from .._errors import RealtimeError
from .._realtime import FaultProxy as _FaultProxy
from .._realtime import Server as _Server

__all__ = ["FaultProxy", "RealtimeServer"]


class RealtimeServer:
    """The server of this project in this process, on a thread of its own and a free port. Times are in seconds.

    Every option has the default of the server's command line. The server answers clients also while the event loop of
    the test is busy.
    """

    def __init__(
        self,
        *,
        host: str | None = None,
        port: int = 0,
        paths: Sequence[str] | None = None,
        allowed_origins: Sequence[str] | None = None,
        echo: bool = False,
        token_secret: str | None = None,
        jwt_secret: str | None = None,
        jwt_public_key: str | None = None,
        jwt_audience: str | None = None,
        jwt_issuer: str | None = None,
        tls_certificate: str | None = None,
        tls_key: str | None = None,
        data: str | None = None,
        max_connections: int | None = None,
        max_channels: int | None = None,
        max_inflight: int | None = None,
        max_payload: int | None = None,
        max_frame: int | None = None,
        rate: int | None = None,
        history_messages: int | None = None,
        history_bytes: int | None = None,
        history_age: float | None = None,
        heartbeat: float | None = None,
        timeout: float | None = None,
        handshake_timeout: float | None = None,
        write_timeout: float | None = None,
        presence_grace: float | None = None,
        presence_interval: float | None = None,
        presence_members: int | None = None,
        collection_records: int | None = None,
        collection_bytes: int | None = None,
    ) -> None:
        """Makes a server, which `start()` starts.

        Args:
            host: Where to listen. Default: `127.0.0.1`.
            port: 0 takes a free one, and the same again after a `stop()`.
            paths: Where WebSockets are accepted. Default: `/` and `/realtime`.
            allowed_origins: Origins that browsers may come from. Default: all.
            echo: Sends what clients send to the server itself back to them.
            token_secret: Wants this very token.
            jwt_secret: Wants a JWT signed with HS256 and this; its `sub` is the user.
            jwt_public_key: Wants a JWT signed with RS256; the public key in PEM.
            jwt_audience: Wants this `aud`.
            jwt_issuer: Wants this `iss`.
            tls_certificate: Certificate chain in PEM: serves `wss`.
            tls_key: Its key in PEM.
            data: A directory where histories and receipts outlive the server. Default: in memory.
            max_connections: Connections at a time.
            max_channels: Channels of a connection.
            max_inflight: Unanswered sends of a connection.
            max_payload: Bytes of a payload.
            max_frame: Bytes of a frame.
            rate: Sends a second of a connection; 0 is no limit.
            history_messages: Messages of a channel that are kept for recovery.
            history_bytes: The same in bytes.
            history_age: The same in seconds.
            heartbeat: How often clients give a sign of life.
            timeout: After how much silence a client is given up.
            handshake_timeout: How long a client may take until its first message.
            write_timeout: How long a socket may take nothing while something waits.
            presence_grace: How long a client that is not connected still counts as present.
            presence_interval: At most one message of presence changes in this time, for each channel.
            presence_members: Clients that are present in a channel.
            collection_records: Records of a collection.
            collection_bytes: Bytes of all records of all collections.
        """

        def milliseconds(value: float | None) -> float | None:
            return None if value is None else value * 1000

        self._options: dict[str, Any] = {
            "host": host,
            "port": port,
            "paths": None if paths is None else list(paths),
            "allowedOrigins": None if allowed_origins is None else list(allowed_origins),
            "echo": echo,
            "tokenSecret": token_secret,
            "jwtSecret": jwt_secret,
            "jwtPublicKey": jwt_public_key,
            "jwtAudience": jwt_audience,
            "jwtIssuer": jwt_issuer,
            "tlsCertificate": tls_certificate,
            "tlsKey": tls_key,
            "data": data,
            "maxConnections": max_connections,
            "maxChannels": max_channels,
            "maxInflight": max_inflight,
            "maxPayload": max_payload,
            "maxFrame": max_frame,
            "rate": rate,
            "historyMessages": history_messages,
            "historyBytes": history_bytes,
            "historyAge": milliseconds(history_age),
            "heartbeat": milliseconds(heartbeat),
            "timeout": milliseconds(timeout),
            "handshakeTimeout": milliseconds(handshake_timeout),
            "writeTimeout": milliseconds(write_timeout),
            "presenceGrace": milliseconds(presence_grace),
            "presenceInterval": milliseconds(presence_interval),
            "presenceMembers": presence_members,
            "collectionRecords": collection_records,
            "collectionBytes": collection_bytes,
        }
        self._server: _Server | None = None

    async def start(self) -> None:
        """Starts. After a `stop()` it is a new server that knows what `data` holds, on the same port."""
        if self._server is None:
            self._start()

    async def stop(self) -> None:
        """Closes every connection and frees the port. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            await asyncio.get_running_loop().run_in_executor(None, server.stop)

    async def drain(self, spread: float = 0.0) -> None:
        """Asks every client to leave within `spread` seconds, and waits for that."""
        await asyncio.get_running_loop().run_in_executor(None, self._running().drain, spread)

    @property
    def url(self) -> str:
        """Where clients connect to."""
        return self._running().url

    @property
    def connection_count(self) -> int:
        """How many clients are connected."""
        return self._running().connection_count()

    def publish(self, channel: str, event: str, payload: object = None) -> int:
        """Publishes into a channel, as the server itself, and returns the offset."""
        return self._running().publish(channel, event, payload)

    def send_to_all(self, type: str, payload: object = None) -> int:
        """Sends a message to every client, outside of any channel, and returns to how many."""
        return self._running().send_to_all(type, payload)

    def disconnect_all(self, code: int = 4000) -> None:
        """Closes every connection with this close code, which says whether clients come back (4000: they do)."""
        self._running().disconnect_all(code)

    async def __aenter__(self) -> RealtimeServer:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.stop()

    def _start(self) -> None:
        given = {name: value for name, value in self._options.items() if value is not None}
        self._server = _Server(json.dumps(given))
        self._options["port"] = int(self._server.url.rsplit(":", 1)[1])

    def _stop(self) -> None:
        server, self._server = self._server, None
        if server is not None:
            server.stop()

    def _running(self) -> _Server:
        if self._server is None:
            raise RealtimeError("closed", "the server is not running; start() it first")
        return self._server


class FaultProxy:
    """A TCP proxy on a free port that breaks the network on demand. It runs from the moment it is made until `stop()`.

    ```python
    proxy = FaultProxy(server.url)
    client = WebSocketClient(proxy.url)
    ```
    """

    def __init__(self, target: str) -> None:
        """Listens, and forwards to `target`, a URL with an explicit port. Raises `invalid_url`."""
        self._proxy = _FaultProxy(target)

    @property
    def url(self) -> str:
        """Where clients connect: the target's URL with the proxy's address."""
        return self._proxy.url

    @property
    def connections(self) -> int:
        """Connections that were taken so far, without those that were refused."""
        return self._proxy.connections

    @property
    def cuts(self) -> int:
        """Connections that a fault ended so far."""
        return self._proxy.cuts

    def cut(self) -> None:
        """Kills all connections, and every new one, until `restore()`."""
        self._proxy.cut()

    def cut_connections(self) -> None:
        """Kills the connections of now; new ones are welcome."""
        self._proxy.cut_connections()

    def stall(self) -> None:
        """Moves no bytes, without closing anything, until `restore()`: a half-open connection."""
        self._proxy.stall()

    def delay(self, milliseconds: float) -> None:
        """Delays all bytes by this, each way."""
        self._proxy.delay(milliseconds / 1000)

    def limit(self, bytes_per_second: int) -> None:
        """Lets at most this many bytes a second pass, each way of each connection."""
        self._proxy.limit(bytes_per_second)

    def drop_after(self, bytes: int) -> None:
        """Kills a connection once this many more bytes went from the server to clients. It happens once."""
        self._proxy.drop_after(bytes)

    def restore(self) -> None:
        """Ends all faults."""
        self._proxy.restore()

    def stop(self) -> None:
        """Stops listening and kills what is open. Idempotent."""
        self._proxy.stop()

    def __enter__(self) -> FaultProxy:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()

    async def __aenter__(self) -> FaultProxy:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.stop()
