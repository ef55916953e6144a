from __future__ import annotations

import asyncio
import atexit
import contextlib
import os
import threading
from collections.abc import Callable

from ._realtime import Connection


class Link:
    """The native connection, and how it wakes a loop: a byte on a descriptor, or a thread where it watches none.

    The loop holds an attached link, and with it the client, as it holds a socket.
    """

    def __init__(self, options: str, waits: bool) -> None:
        self.native = Connection(options, waits)
        self.loop: asyncio.AbstractEventLoop | None = None
        self.corked = False
        self._drain: Callable[[], bool] | None = None
        self._descriptor: int | None = None
        self._thread: threading.Thread | None = None

    def attach(self, loop: asyncio.AbstractEventLoop, drain: Callable[[], bool]) -> None:
        """Lets `loop` call `drain` when there is something; `True` from it means that there may be more."""
        self.loop, self._drain = loop, drain
        self.native.take_over()
        if not self._watch(loop) and self._thread is None:
            self._thread = threading.Thread(target=self._wait, name="realtime-wake", daemon=True)
            self._thread.start()
            atexit.register(self._stop_thread)
        # What happened while nobody watched.
        loop.call_soon(self._run)

    def detach(self) -> None:
        """Lets the loop go, and the descriptors. What happens meanwhile waits for the next `attach`."""
        loop, self.loop, self._drain = self.loop, None, None
        self._uncork()
        descriptor, self._descriptor = self._descriptor, None
        if descriptor is not None:
            self.native.set_descriptor(None)
            if loop is not None and not loop.is_closed():
                loop.remove_reader(descriptor)
            os.close(descriptor)

    def close(self) -> None:
        """Closes the connection at once."""
        self.detach()
        self.native.close()
        if self._thread is not None:
            self._stop_thread()
            atexit.unregister(self._stop_thread)

    def cork(self) -> None:
        """Lets the sends that follow in this turn of the loop go together."""
        if self.loop is not None:
            self.corked = True
            self.native.cork()
            self.loop.call_soon(self._uncork)

    def _uncork(self) -> None:
        self.corked = False
        self.native.uncork()

    def _watch(self, loop: asyncio.AbstractEventLoop) -> bool:
        if os.name != "posix":
            return False
        reader, writer = _descriptors()
        try:
            loop.add_reader(reader, self._readable)
            # It takes a copy.
            self.native.set_descriptor(writer)
        except BaseException as error:
            os.close(reader)
            if isinstance(error, NotImplementedError):
                return False
            raise
        else:
            self._descriptor = reader
            return True
        finally:
            if writer != reader:
                os.close(writer)

    def _readable(self) -> None:
        if self._descriptor is not None:
            with contextlib.suppress(BlockingIOError):
                os.read(self._descriptor, 4096)
        self._run()

    def _run(self) -> None:
        if self._drain is None or self.loop is None:
            return
        more = True
        try:
            more = self._drain()
        finally:
            # Also after a handler has raised KeyboardInterrupt: what follows is still to be handled.
            if more and self.loop is not None and not self.loop.is_closed():
                self.loop.call_soon(self._run)

    def _wait(self) -> None:
        while self.native.wait():
            loop = self.loop
            if loop is not None:
                with contextlib.suppress(RuntimeError):  # the loop is closed
                    loop.call_soon_threadsafe(self._run)

    def _stop_thread(self) -> None:
        self.native.close()
        if self._thread is not None and self._thread is not threading.current_thread():
            self._thread.join()

    def __del__(self) -> None:
        descriptor = getattr(self, "_descriptor", None)
        if descriptor is not None:
            os.close(descriptor)


def _descriptors() -> tuple[int, int]:
    """One to read and one to write."""
    if hasattr(os, "eventfd"):
        number = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        return number, number
    reader, writer = os.pipe()
    os.set_blocking(reader, False)
    os.set_blocking(writer, False)
    return reader, writer
