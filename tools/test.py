"""Runs every test of every language and prints one line at the end: `N passed, N failed`.

Each stage streams its output; its own closing lines are counted. A stage that ends badly without a counted failure counts as one.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PYTHON = str(ROOT / ".venv/bin/python")


@dataclass(frozen=True)
class Stage:
    name: str
    command: list[str]
    cwd: Path
    passed: str
    failed: str


CARGO = (r"test result: \w+\. (\d+) passed", r"test result: \w+\. \d+ passed; (\d+) failed")
PYTEST = (r"^=*.*?\b(\d+) passed\b.* in [\d.]+s", r"^=*.*?\b(\d+) (?:failed|errors?)\b.* in [\d.]+s")
NODE = (r"^[#\u2139] pass (\d+)", r"^[#\u2139] (?:fail|cancelled) (\d+)")

STAGES = [
    Stage("rust", ["cargo", "test", "--workspace", "--locked", "--no-fail-fast", "--quiet"], ROOT, *CARGO),
    Stage("python", [PYTHON, "-m", "pytest", "-q", "tests"], ROOT / "python", *PYTEST),
    Stage("node", ["npm", "test", "--silent"], ROOT / "node", *NODE),
    Stage("chaos", [PYTHON, "-m", "pytest", "-q", "tests/chaos"], ROOT, *PYTEST),
    Stage("benches", [PYTHON, "-m", "pytest", "-q", "benches/tests"], ROOT, *PYTEST),
    Stage("packages", [PYTHON, "-m", "pytest", "-q", "tests/packages"], ROOT, *PYTEST),
]


def run(stage: Stage) -> tuple[int, int]:
    print(f"\033[1m==> {stage.name}: {' '.join(stage.command)}\033[0m", flush=True)
    started = time.monotonic()
    process = subprocess.Popen(
        stage.command,
        cwd=stage.cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    passed = failed = 0
    assert process.stdout is not None
    for line in process.stdout:
        print(line, end="", flush=True)
        plain = re.sub(r"\x1b\[[0-9;]*m", "", line)
        passed += sum(int(count) for count in re.findall(stage.passed, plain))
        failed += sum(int(count) for count in re.findall(stage.failed, plain))
    code = process.wait()
    if code != 0 and failed == 0:
        failed = 1
    if passed == 0 and failed == 0:
        print(f"{stage.name}: no test ran")
        failed = 1
    print(f"{stage.name}: {passed} passed, {failed} failed in {time.monotonic() - started:.0f} s", flush=True)
    return passed, failed


def main() -> int:
    wanted = sys.argv[1:] or [stage.name for stage in STAGES]
    results = [run(stage) for stage in STAGES if stage.name in wanted]
    passed, failed = sum(result[0] for result in results), sum(result[1] for result in results)
    print(f"{passed} passed, {failed} failed")
    return 1 if failed or not passed else 0


if __name__ == "__main__":
    sys.exit(main())
