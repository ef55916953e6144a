"""Where the processor time of a client goes, layer by layer: a sampling profile (perf, Linux) as Markdown tables.

Symbols are needed: build with `CARGO_PROFILE_DIST_STRIP=none tools/bench.sh --quick`. What the compiler has inlined counts for its caller.
"""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path

from rounds import Server
from subjects import CASES, ROOT, SUBJECTS, Case, Subject, rust

Layer = tuple[str, Callable[[str, str, str], bool]]


def symbol(pattern: str) -> Callable[[str, str, str], bool]:
    return lambda thread, library, name: re.search(pattern, name) is not None


def library(pattern: str) -> Callable[[str, str, str], bool]:
    return lambda thread, library, name: re.search(pattern, library) is not None


def in_thread(pattern: str) -> Callable[[str, str, str], bool]:
    return lambda thread, library, name: re.search(pattern, thread) is not None


# The first that takes a sample has it.
LAYERS: list[Layer] = [
    ("kernel: socket, wake-ups, memory", library(r"kernel|vdso")),
    ("host: parser of JSON (orjson, V8)", library("orjson")),
    (
        "host: parser of JSON (orjson, V8)",
        symbol(r"Json|InternalizeString|StringTable|Strtod|StringToDouble|Utf8Decoder"),
    ),
    (
        "host: interpreter, objects, the callback",
        library(r"libpython|asyncio|contextvars|uvloop|ld-linux"),
    ),
    (
        "host: interpreter, objects, the callback",
        library(r"^node$|JIT|\[unknown\]|perf-\d+|libstdc"),
    ),
    ("host: the callback", symbol("^bench_rust|serde_json")),
    ("framing: WebSocket, buffers", library("picows")),
    ("framing: WebSocket, buffers", symbol(r"tungstenite|bytes::|simdutf|utf-?8")),
    (
        "engine: envelope, channels, windows, recorder",
        symbol("realtime_engine|memchr|foldhash"),
    ),
    ("driver and Rust client", symbol("realtime_client")),
    (
        "crossing: batches, conversion, consumption",
        symbol("realtime_bridge|_realtime::|realtime_node|napi|pyo3"),
    ),
    ("runtime: tokio, std", symbol("tokio|mio|std::|core::|alloc::")),
    ("copies and allocation in the I/O thread", in_thread("realtime-io")),
    ("copies and allocation in the host's thread", lambda *_: True),
]


def profile(subject: Subject, case: Case, count: int, server: Server, core: list[str]) -> dict[str, float]:
    """The share of each layer."""
    place = subject.command.index("{case}")
    command = [
        *subject.command[:place],
        *case.arguments(count, server.port),
        *subject.command[place + 1 :],
    ]
    with tempfile.TemporaryDirectory() as folder:
        data = f"{folder}/perf.data"
        subprocess.run(
            [*core, "perf", "record", "-q", "-F", "1999", "-o", data, *command],
            check=True,
            capture_output=True,
        )
        report = [
            "perf",
            "report",
            "-i",
            data,
            "--stdio",
            "-q",
            "--sort",
            "comm,dso,sym",
            "-t",
            "\t",
        ]
        lines = subprocess.run(report, check=True, capture_output=True, text=True).stdout.splitlines()
    shares: dict[str, float] = defaultdict(float)
    for line in lines:
        fields = [field.strip() for field in line.split("\t")]
        if len(fields) < 4 or not fields[0].endswith("%"):
            continue
        thread, where, name = fields[1], fields[2], fields[3]
        layer = next(layer for layer, takes in LAYERS if takes(thread, where, name))
        shares[layer] += float(fields[0].removesuffix("%"))
    return shares


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--programs",
        type=Path,
        default=ROOT / "target/dist",
        help="where cargo has put them",
    )
    parser.add_argument("--messages", type=int, default=1_000_000)
    options = parser.parse_args()
    if shutil.which("perf") is None or shutil.which("taskset") is None:
        print(
            "perf or taskset is missing (Debian: linux-perf, util-linux)",
            file=sys.stderr,
        )
        return 1
    first, second = sorted(os.sched_getaffinity(0))[:2]
    server = Server(options.programs / "bench-load", ["taskset", "-c", str(first)], None)
    subjects = [subject for subject in [*SUBJECTS, *rust(options.programs)] if subject.ours or subject.reference]
    wanted = [subject for subject in subjects if "plain" not in subject.name and "uvloop" not in subject.name]
    try:
        for case in [case for case in CASES if case.kind in ("receive", "send") and case.channels in (1, 16)]:
            if case.kind == "receive" and case.channels == 1:
                continue
            taking_part = [subject for subject in wanted if case.kind in subject.kinds]
            count = options.messages // (1 if case.size == "small" and case.kind == "receive" else 5)
            shares = [profile(subject, case, count, server, ["taskset", "-c", str(second)]) for subject in taking_part]
            print(f"\n### {case.name}\n")
            print("| % | " + " | ".join(f"{subject.language}: {subject.name}" for subject in taking_part) + " |")
            print("|---" * (len(taking_part) + 1) + "|")
            for layer in dict.fromkeys(name for name, _ in LAYERS):
                row = [of.get(layer, 0.0) for of in shares]
                if max(row) >= 0.5:
                    print(
                        f"| {layer} | " + " | ".join(f"{share:.0f}" for share in row) + " |",
                        flush=True,
                    )
    finally:
        server.stop()
    return 0


if __name__ == "__main__":
    sys.exit(main())
