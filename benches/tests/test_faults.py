"""The bench sees what goes wrong: a load server that loses, swaps, repeats or spoils one message fails every subject."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from realtime_client import WebSocketClient

ROOT = Path(__file__).resolve().parents[2]
BENCHES = ROOT / "benches"
PROGRAMS = Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "debug"

SUBJECTS = {
    "python": [sys.executable, str(BENCHES / "python/ours.py")],
    "python-plain": [sys.executable, str(BENCHES / "python/ours_plain.py")],
    "node": ["node", "node/ours.mjs"],
    "node-plain": ["node", "node/ours_plain.mjs"],
    "rust": [str(PROGRAMS / "bench-rust"), "ours"],
    "rust-raw": [str(PROGRAMS / "bench-rust"), "ours-raw"],
    "tungstenite": [str(PROGRAMS / "bench-rust"), "tungstenite"],
}
# The fault is in the middle of the warm-up: message 500 of 1,000, in channel 4 of 16, where 516 is the next.
STREAM = ["receive", "small", "16", "4000"]
LOST = "room-4: message 10000516 came instead of 10000500"
SAID = {"drop": LOST, "swap": LOST, "twice": "room-4: message 10000500 came instead of 10000516", "corrupt": LOST}
SPOILT = "message 10000500 cannot be read"


@pytest.fixture(scope="session", autouse=True)
def _programs() -> None:
    subprocess.run(
        ["cargo", "build", "--quiet", "--locked", "-p", "bench-load", "-p", "bench-rust"], cwd=ROOT, check=True
    )


@pytest.fixture(scope="session")
def stage(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Where the subjects for Node find the package, as tools/bench.sh puts them."""
    folder = tmp_path_factory.mktemp("benches")
    shutil.copytree(BENCHES / "payloads", folder / "payloads")
    (folder / "node/node_modules").mkdir(parents=True)
    for file in (BENCHES / "node").glob("*.mjs"):
        shutil.copy(file, folder / "node")
    (folder / "node/node_modules/realtime-client").symlink_to(ROOT / "node")
    return folder


@contextmanager
def load(*options: str, errors: Path | None = None) -> Iterator[str]:
    """The load server; gives its port. Its errors go to that file, where there is one."""
    with ExitStack() as stack:
        stderr = stack.enter_context(errors.open("w")) if errors is not None else None
        command = [str(PROGRAMS / "bench-load"), *options]
        server = stack.enter_context(subprocess.Popen(command, stdout=subprocess.PIPE, stderr=stderr, text=True))
        assert server.stdout is not None
        stack.callback(server.terminate)
        yield server.stdout.readline().strip()


def start(subject: str, case: list[str], port: str, stage: Path, limit: int = 60) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [*SUBJECTS[subject], *case, port],
        cwd=stage,
        env=os.environ | {"BENCH_LIMIT": str(limit)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize("subject", SUBJECTS)
def test_whole_stream_is_counted(subject: str, stage: Path) -> None:
    with load() as port:
        process = start(subject, STREAM, port, stage)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    assert json.loads(out)["count"] == 4000


@pytest.mark.parametrize("fault", SAID)
@pytest.mark.parametrize("subject", SUBJECTS)
def test_fault_ends_the_subject_and_is_named(subject: str, fault: str, stage: Path) -> None:
    with load("--fault", fault) as port:
        process = start(subject, STREAM, port, stage)
        out, err = process.communicate(timeout=120)
    assert process.returncode != 0
    assert out == ""
    # Rust hands the bytes to the callback; the others tell that they are no JSON, and go on.
    in_rust = SUBJECTS[subject][0].endswith("bench-rust")
    assert (SPOILT if fault == "corrupt" and in_rust else SAID[fault]) in err


def test_fault_while_catching_up_is_named(stage: Path) -> None:
    """The middle of the warm-up comes after the cut."""
    case = ["catch-up", "small", "1", "16000"]
    with load("--fault", "drop") as port:
        for subject in ("python", "node", "rust"):
            process = start(subject, case, port, stage)
            _, err = process.communicate(timeout=120)
            assert process.returncode != 0
            assert "room-0: message 10002001 came instead of 10002000" in err


def test_message_that_never_comes_is_named(stage: Path) -> None:
    """The subjects wait for it at the same time, as long as they may."""
    subjects = ("python", "node", "rust")
    with load("--fault", "drop") as port:
        processes = [start(subject, ["echo", "small", "1", "40"], port, stage, limit=5) for subject in subjects]
        errors = [process.communicate(timeout=120)[1] for process in processes]
    assert [process.returncode for process in processes] == [1, 1, 1]
    assert "after 5 s there is not: message 10000005" in errors[0]
    assert "after 5 s there is not: message 10000005" in errors[1]
    assert "Echo has found no end in 5 s: a message is missing" in errors[2]


def test_server_ends_a_sender_that_leaves_one_out(tmp_path: Path) -> None:
    async def leave_one_out(port: str) -> None:
        client = WebSocketClient(f"ws://127.0.0.1:{port}/plain/send/small/1/10", protocol="plain", reconnect=False)
        closed = asyncio.get_running_loop().create_future()
        client.on("close", closed.set_result)
        await client.connect()
        room = client.channel("room-0")
        await room.subscribe()
        await room.send("tick", {"seq": 10_000_000})
        await room.send("tick", {"seq": 10_000_002})
        await asyncio.wait_for(closed, 60)

    errors = tmp_path / "errors"
    with load(errors=errors) as port:
        asyncio.run(leave_one_out(port))
    assert "load: message 10000002 came instead of 10000001" in errors.read_text()


CASES = {
    "send": ["send", "small", "1", "2000"],
    "request": ["request", "small", "1", "100"],
    "echo": ["echo", "small", "1", "100"],
    "connect": ["connect", "small", "1", "4"],
    "idle": ["idle", "small", "1", "8"],
    "resubscribe": ["resubscribe", "small", "1000", "2"],
    "catch-up": ["catch-up", "small", "1", "8000"],
}


@pytest.mark.parametrize("case", CASES)
@pytest.mark.parametrize("subject", ["python", "node", "rust"])
def test_case_comes_to_its_end(subject: str, case: str, stage: Path) -> None:
    with load() as port:
        process = start(subject, CASES[case], port, stage)
        out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    result = json.loads(out)
    assert result["count"] == int(CASES[case][3])
    times = {"send": 0, "idle": 0, "catch-up": 1}.get(case, result["count"])
    assert len(result["times"]) == times
    if case == "idle":
        assert result["idle"] > 0


def bench(output: Path, *options: str) -> subprocess.CompletedProcess[str]:
    # The subjects in Rust and their peer, which need no packages.
    command = [sys.executable, str(BENCHES / "run.py"), "--programs", str(PROGRAMS), "--output", str(output)]
    command += ["--only", "rust", "--case", "receive S, 1 channel", "--quick", *options]
    return subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)


def test_run_reports_every_subject(tmp_path: Path) -> None:
    result = bench(tmp_path)
    assert result.returncode == 0, result.stderr
    rows = json.loads((tmp_path / "report.json").read_text())
    assert len({row["subject"] for row in rows if row["case"] == "receive S, 1 channel"}) == 4
    assert "FAILED" not in (tmp_path / "report.md").read_text()


def test_run_ends_with_an_error_where_a_message_is_lost(tmp_path: Path) -> None:
    result = bench(tmp_path, "--fault", "drop")
    assert result.returncode == 1
    assert result.stderr.count("FAILED Rust: ") == 4
    # The warm-up has 10,000 messages.
    assert result.stderr.count("room-0: message 10005001 came instead of 10005000") == 4
    assert (tmp_path / "report.md").read_text().count("**FAILED** Rust: ") == 4
