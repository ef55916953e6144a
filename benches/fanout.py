"""One publisher and many subscribers, and many connections that do nothing: our server beside others.

`tools/bench-fanout.sh` prepares it all. Writes `fanout.json` and `fanout.md` beside the other reports.
"""

from __future__ import annotations

import argparse
import json
import os
import re
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from metric import Figure
from report import conditions
from rounds import cores
from subjects import BENCH, ROOT

TIMEOUT = 120


@dataclass(frozen=True)
class Subject:
    name: str
    dialect: str
    """What the load client speaks to it."""
    command: list[str]
    """Where it is not given a free `{port}`, it prints its URL."""
    ours: bool = False


@dataclass(frozen=True)
class Case:
    name: str
    arguments: list[str]


@dataclass(frozen=True)
class Metric:
    name: str
    unit: str
    digits: int
    of: Callable[[Run], float | None]


@dataclass
class Run:
    """What the load client said, and how the server was at that moment."""

    result: dict[str, Any] = field(default_factory=dict)
    cpu: dict[str, float] = field(default_factory=dict)
    """Seconds of processor time of the server at each place of the run."""
    client: dict[str, float] = field(default_factory=dict)
    memory: dict[str, int] = field(default_factory=dict)
    """Its resident memory, in bytes."""

    def spent(self) -> float:
        return self.cpu["end"] - self.cpu["begin"]


RATE = Metric("deliveries a second", "1/s", 0, lambda r: r.result["deliveries"] / r.result["seconds"])
CPU = Metric("server CPU a million deliveries", "s", 3, lambda r: r.spent() / r.result["deliveries"] * 1e6)
SERVER = Metric("server busy", "%", 0, lambda r: r.spent() / r.result["seconds"] * 100)
CLIENT = Metric("client busy", "%", 0, lambda r: (r.client["end"] - r.client["begin"]) / r.result["seconds"] * 100)
P50 = Metric("delivery p50", "µs", 0, lambda r: r.result["p50"])
P99 = Metric("delivery p99", "µs", 0, lambda r: r.result["p99"])
EACH = Metric("memory a connection", "KiB", 1, lambda r: _each(r, "held"))
EACH_AFTER = Metric("after a message to all", "KiB", 1, lambda r: _each(r, "end"))
OPENED = Metric("opened in", "s", 1, lambda r: r.result["opened"])
REACHED = Metric("a message to all took", "ms", 0, lambda r: r.result["reached"] * 1000)


def _each(run: Run, place: str) -> float:
    return (run.memory[place] - run.memory["start"]) / int(run.result["connections"]) / 1024


METRICS = {"flood": [RATE, CPU, SERVER, CLIENT], "paced": [CPU, P50, P99], "idle": [EACH, EACH_AFTER, OPENED, REACHED]}


def subjects(programs: Path) -> list[Subject]:
    ours = [str(programs / "realtime"), "serve", "--port", "0", "--max-connections", "20000"]
    # Signs of life come quicker than they would, so that the bench sees several.
    ours += ["--heartbeat", "2000", "--timeout", "6000"]
    return [
        Subject("realtime.v1 (native clients)", "realtime", ours, ours=True),
        Subject("realtime.v1 (text frames)", "realtime-text", ours, ours=True),
        Subject("realtime, plain dialect", "plain", ours, ours=True),
        Subject("relay on ws", "plain", ["node", str(BENCH / "fanout/relay.mjs")]),
        Subject("socket.io", "socket-io", ["node", str(BENCH / "fanout/socketio.mjs")]),
        Subject("NATS, its own protocol", "nats", ["nats-server", "-a", "127.0.0.1", "-p", "{port}"]),
    ]


def cases(seconds: float, connections: int, beats: int) -> list[Case]:
    time = ["--seconds", str(seconds)]
    return [
        Case("flood, 100 subscribers", ["flood", "--subscribers", "100", *time]),
        Case("flood, 1,000 subscribers", ["flood", "--subscribers", "1000", *time]),
        Case("paced, 1,000 subscribers, 100 publishes/s", ["paced", "--subscribers", "1000", "--rate", "100", *time]),
        Case(f"{connections:,} idle connections", ["idle", "--connections", str(connections), "--beats", str(beats)]),
    ]


@contextmanager
def server(subject: Subject, core: list[str]) -> Iterator[tuple[int, str]]:
    """Starts it, and says its process and where it listens."""
    port = free_port()
    command = [word.replace("{port}", str(port)) for word in subject.command]
    process = subprocess.Popen([*core, *command], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
    try:
        address = f"127.0.0.1:{port}"
        if "{port}" in subject.command:
            wait_for(port)
        else:
            assert process.stdout is not None
            found = re.search(r"ws://(\S+)", process.stdout.readline())
            if found is None:
                raise RuntimeError("the server did not start")
            address = found[1]
        yield process.pid, address
    finally:
        process.terminate()
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def wait_for(port: int) -> None:
    for _ in range(500):
        try:
            socket.create_connection(("127.0.0.1", port)).close()
            return
        except OSError:
            time.sleep(0.01)
    raise RuntimeError("the server does not listen")


def measure(subject: Subject, case: Case, program: Path, server_core: list[str], client_core: list[str]) -> Run:
    """One run with a new server. Raises where something was lost."""
    run = Run()
    with server(subject, server_core) as (pid, address):
        run.memory["start"] = memory(pid)
        command = [*client_core, str(program), subject.dialect, address, *case.arguments]
        client = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        assert client.stdout is not None and client.stderr is not None
        for line in client.stdout:
            if line.startswith("{"):
                run.result = json.loads(line)
            else:
                place = line.strip()
                run.cpu[place], run.client[place], run.memory[place] = cpu(pid), cpu(client.pid), memory(pid)
        if client.wait(TIMEOUT) != 0:
            raise RuntimeError(client.stderr.read().strip() or "the load client failed")
    return run


def cpu(pid: int) -> float:
    """Seconds of processor time of a process so far."""
    # The clock of another process, as clock_getcpuclockid(3) makes it.
    return time.clock_gettime((~pid << 3) | 2)


def memory(pid: int) -> int:
    """Resident memory of a process, in bytes."""
    pages = Path(f"/proc/{pid}/statm")
    if pages.exists():
        return int(pages.read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE")
    size = subprocess.run(["ps", "-o", "rss=", "-p", str(pid)], check=False, capture_output=True, text=True).stdout
    return int(size) * 1024


def report(samples: dict[tuple[str, str], list[Run]], everyone: list[Subject], failures: list[str], quick: bool) -> str:
    rows: list[dict[str, Any]] = []
    lines = ["# Fan-out", "", *conditions(quick), ""]
    lines += [f"**FAILED** {failure}\n" for failure in failures]
    for case in dict.fromkeys(case for case, _ in samples):
        kind = next(kind for kind in METRICS if kind in case)
        head = " | ".join(f"{metric.name}, {metric.unit}" for metric in METRICS[kind])
        lines += [f"## {case}", "", f"| | {head} |", "|---" * (len(METRICS[kind]) + 1) + "|"]
        for subject in everyone:
            runs = samples.get((case, subject.name))
            if not runs:
                continue
            cells = []
            for metric in METRICS[kind]:
                figure = Figure.of([value for value in map(metric.of, runs) if value is not None])
                cells.append(figure.text(metric.digits) if len(runs) > 1 else f"{figure.middle:,.{metric.digits}f}")
                key = {"case": case, "subject": subject.name, "metric": metric.name, "value": figure.middle}
                rows.append(key | {"unit": metric.unit, "min": figure.least, "max": figure.most, "rounds": len(runs)})
            name = f"**{subject.name}**" if subject.ours else subject.name
            lines.append(f"| {name} | " + " | ".join(cells) + " |")
        lines.append("")
    BENCH.mkdir(parents=True, exist_ok=True)
    (BENCH / "fanout.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    text = "\n".join(lines)
    (BENCH / "fanout.md").write_text(text + "\n")
    return text


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: says that everything works, and no more")
    parser.add_argument("--rounds", type=int, default=3, help="idle connections are held once")
    parser.add_argument("--seconds", type=float, default=1.0, help="how long a run takes, after a quarter to warm up")
    parser.add_argument("--connections", type=int, default=10_000, help="how many do nothing")
    parser.add_argument("--only", default="", help="subjects with this in their name")
    parser.add_argument("--case", default="", help="cases with this in their name")
    parser.add_argument("--programs", type=Path, default=ROOT / "target/dist", help="where cargo has put them")
    options = parser.parse_args()
    if options.quick:
        options.rounds, options.seconds, options.connections = 1, 0.3, 500

    everyone = [s for s in subjects(options.programs) if options.only.lower() in s.name.lower()]
    for subject in list(everyone):
        if shutil.which(subject.command[0]) is None:
            print(f"{subject.name} is left out: {subject.command[0]} is not installed", file=sys.stderr)
            everyone.remove(subject)
    wanted = [
        c for c in cases(options.seconds, options.connections, 2 if options.quick else 4) if options.case in c.name
    ]
    server_core, client_core = cores()
    samples: dict[tuple[str, str], list[Run]] = {}
    failures: list[str] = []
    begun = time.monotonic()
    for number in range(options.rounds):
        print(f"round {number + 1} of {options.rounds}, {time.monotonic() - begun:.0f} s", flush=True)
        for case in wanted:
            if "idle" in case.name and number > 0:
                continue
            for subject in everyone[:: -1 if number % 2 else 1]:
                try:
                    run = measure(subject, case, options.programs / "bench-fanout", server_core, client_core)
                    samples.setdefault((case.name, subject.name), []).append(run)
                except (RuntimeError, ValueError, OSError, subprocess.SubprocessError) as error:
                    failures.append(f"{subject.name}, {case.name}: {error}")
                    print(f"FAILED {failures[-1]}", file=sys.stderr, flush=True)
    print(report(samples, everyone, failures, options.quick))
    print(f"{time.monotonic() - begun:.0f} s; report in {(BENCH / 'fanout.md').relative_to(ROOT)}")
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
