"""Processes end cleanly in every order: no hang, no crash, no warning, nothing on stderr."""

from __future__ import annotations

import signal
import subprocess
import sys
import textwrap

import pytest

PREAMBLE = """
import asyncio, gc, os, signal, sys, threading
# A shell that starts the tests in the background lets its children ignore it.
signal.signal(signal.SIGINT, signal.default_int_handler)
from realtime_client import *
from realtime_client.testing import FaultProxy, RealtimeServer
"""

PROGRAMS = {
    "client open at exit": """
        async def main():
            server = RealtimeServer(); await server.start()
            global client
            client = WebSocketClient(server.url)
            await client.connect()
            await client.channel("room").subscribe()
            client.channel("room").send("said", 1)
        asyncio.run(main())
        """,
    "client and server forgotten": """
        async def main():
            server = RealtimeServer(); await server.start()
            client = WebSocketClient(server.url)
            await client.connect()
        asyncio.run(main())
        gc.collect()
        """,
    "client never connected": """
        client = WebSocketClient("ws://127.0.0.1:1")
        async def main():
            unused = WebSocketClient("ws://127.0.0.1:1")
            unused.channel("room").send("said", 1)
        asyncio.run(main())
        """,
    "loop closed first": """
        server = RealtimeServer(); server._start()
        loop = asyncio.new_event_loop()
        client = WebSocketClient(server.url)
        loop.run_until_complete(client.connect())
        loop.close()
        server.publish("room", "said", 1)
        del client
        gc.collect()
        """,
    "messages arrive while it ends": """
        server = RealtimeServer(); server._start()
        async def main():
            client = WebSocketClient(server.url)
            await client.connect()
            channel = client.channel("room")
            @channel.on("said")
            async def handler(data):
                await asyncio.sleep(0)
            await channel.subscribe()
            for number in range(5000):
                server.publish("room", "said", number)
            await asyncio.sleep(0)
        asyncio.run(main())
        """,
    "handlers and iterations under way": """
        async def main():
            server = RealtimeServer(); await server.start()
            client = WebSocketClient(server.url, token=lambda: "t")
            await client.connect()
            channel = client.channel("room")
            started = asyncio.Event()
            @channel.on("said")
            async def handler(data):
                started.set()
                await asyncio.get_running_loop().create_future()
            async def iterate():
                async for message in channel:
                    pass
            global task
            task = asyncio.ensure_future(iterate())
            await channel.subscribe()
            channel.send("said", 1)
            channel.send("said", 2)
            await started.wait()
        asyncio.run(main())
        """,
    "exit from a handler": """
        async def main():
            server = RealtimeServer(); await server.start()
            client = WebSocketClient(server.url)
            await client.connect()
            channel = client.channel("room")
            channel.on("said", lambda: sys.exit(0))
            await channel.subscribe()
            channel.send("said", 1)
            await asyncio.get_running_loop().create_future()
        asyncio.run(main())
        """,
    "exit from an async handler": """
        async def main():
            server = RealtimeServer(); await server.start()
            client = WebSocketClient(server.url)
            await client.connect()
            channel = client.channel("room")
            @channel.on("said")
            async def handler(data):
                await asyncio.sleep(0)
                sys.exit(0)
            await channel.subscribe()
            channel.send("said", 1)
            await asyncio.get_running_loop().create_future()
        asyncio.run(main())
        """,
    "in a daemon thread": """
        ready = threading.Event()
        async def main():
            server = RealtimeServer(); await server.start()
            client = WebSocketClient(server.url)
            await client.connect()
            await client.channel("room").subscribe()
            ready.set()
            while True:
                await client.channel("room").send("said", 1)
        threading.Thread(target=lambda: asyncio.run(main()), daemon=True).start()
        ready.wait(10)
        """,
    "a loop that watches no descriptors": """
        class Watchless(asyncio.SelectorEventLoop):
            def add_reader(self, *arguments):
                raise NotImplementedError
        async def main():
            server = RealtimeServer(); await server.start()
            global client
            client = WebSocketClient(server.url)
            await client.connect()
        loop = Watchless()
        loop.run_until_complete(main())
        loop.close()
        """,
    "uvloop": """
        import uvloop
        async def main():
            server = RealtimeServer(); await server.start()
            global client
            client = WebSocketClient(server.url)
            await client.connect()
            client.channel("room").send("said", 1)
        uvloop.run(main())
        """,
    "unreachable": """
        async def main():
            client = WebSocketClient("ws://127.0.0.1:1")
            client.on("error", lambda: None)
            asyncio.ensure_future(client.connect())
            await asyncio.sleep(0)
        asyncio.run(main())
        """,
    "reference cycle": """
        async def main():
            server = RealtimeServer(); await server.start()
            async with WebSocketClient(server.url) as client:
                channel = client.channel("room")
                channel.on("said", lambda data: print(client, channel))
                await channel.subscribe()
        asyncio.run(main())
        gc.collect()
        assert not [thing for thing in gc.get_objects() if isinstance(thing, WebSocketClient)]
        """,
    "os._exit in a forked child": """
        async def main():
            server = RealtimeServer(); await server.start()
            async with WebSocketClient(server.url) as client:
                await client.channel("room").subscribe()
                child = os.fork()
                if child == 0:
                    del client
                    gc.collect()
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
                await client.channel("room").send("said", 1)
        asyncio.run(main())
        """,
    "sys.exit in a forked child": """
        async def main():
            server = RealtimeServer(); await server.start()
            client = WebSocketClient(server.url)
            await client.connect()
            child = os.fork()
            if child == 0:
                sys.exit(0)
            assert os.waitpid(child, 0)[1] == 0
            await client.channel("room").send("said", 1)
            await client.disconnect()
        asyncio.run(main())
        """,
}


class Program:
    """A process of its own, which never outlives its test."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )

    @classmethod
    def of(cls, source: str) -> Program:
        # Every warning is an error but the one of Python 3.12 about threads and fork.
        options = ["-X", "faulthandler", "-W", "error", "-W", "ignore:.*fork:DeprecationWarning"]
        return cls(*options, "-c", PREAMBLE + textwrap.dedent(source))

    def line(self) -> str:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def interrupt(self) -> None:
        self._process.send_signal(signal.SIGINT)

    def end(self) -> tuple[int, str, str]:
        """Exit code, standard output and standard error, once it has ended by itself."""
        try:
            output, errors = self._process.communicate(timeout=20)
        except subprocess.TimeoutExpired:
            self._process.kill()
            output, errors = self._process.communicate()
            pytest.fail(f"it hangs: {output}{errors}")
        return self._process.returncode, output, errors


@pytest.mark.parametrize("name", PROGRAMS)
def test_a_program_ends_by_itself_without_a_word(name: str) -> None:
    assert Program.of(PROGRAMS[name]).end() == (0, "", "")


@pytest.mark.parametrize(
    "wait", ["await asyncio.get_running_loop().create_future()", "async for message in channel: pass"]
)
def test_ctrl_c_ends_it(wait: str) -> None:
    program = Program.of(f"""
        async def main():
            server = RealtimeServer(); await server.start()
            async with WebSocketClient(server.url) as client:
                channel = client.channel("room")
                await channel.subscribe()
                print("ready", flush=True)
                {wait}
        try:
            asyncio.run(main())
        except KeyboardInterrupt:
            print("interrupted")
        """)
    assert program.line() == "ready\n"
    program.interrupt()
    assert program.end() == (0, "interrupted\n", "")


def test_ctrl_c_in_a_handler_loses_no_message() -> None:
    program = Program.of("""
        got = []
        async def main():
            server = RealtimeServer(); await server.start()
            client = WebSocketClient(server.url)
            await client.connect()
            channel = client.channel("room")
            def handler(data):
                got.append(data)
                if data == 50:
                    raise KeyboardInterrupt
            channel.on("said", handler)
            await channel.subscribe()
            sends = [channel.send("said", number) for number in range(100)]
            await asyncio.gather(*sends)
            while len(got) < 100:
                await asyncio.sleep(0)
        loop = asyncio.new_event_loop()
        task = loop.create_task(main())
        try:
            loop.run_until_complete(task)
        except KeyboardInterrupt:
            print("interrupted")
        loop.run_until_complete(task)
        print(got == list(range(100)))
        loop.close()
        """)
    assert program.end() == (0, "interrupted\nTrue\n", "")


def test_the_server_command_serves_and_stops_on_a_signal() -> None:
    server = Program("-m", "realtime_client", "serve", "--port", "0", "--drain", "0")
    line = server.line()
    assert line.startswith("realtime listening on ws://127.0.0.1:")
    client = Program.of(f"""
        async def main():
            async with WebSocketClient({line.split()[-1]!r}) as client:
                print((await client.channel("room").send("said", 1)).offset)
        asyncio.run(main())
        """)
    assert client.end() == (0, "1\n", "")
    server.interrupt()
    assert server.end() == (0, "", "")


def test_the_server_command_refuses_nonsense() -> None:
    code, _, errors = Program("-m", "realtime_client", "serve", "--port", "many").end()
    assert code == 2
    assert "--port" in errors
