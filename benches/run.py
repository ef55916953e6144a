"""Runs every subject on every case in interleaved rounds, and writes the report; `tools/bench.sh` prepares it all."""

from __future__ import annotations

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

from metric import Sample
from publish import publish
from report import write_report
from sizes import sizes
from subjects import BENCH, CASES, ROOT, SUBJECTS, Case, Subject, rust

TIMEOUT = 120
MOST = 4_000_000
"""Messages of one run."""


class Server:
    """The load server, on a core of its own."""

    def __init__(self, program: Path, core: list[str], fault: str | None) -> None:
        options = ["--fault", fault] if fault else []
        self.process = subprocess.Popen([*core, str(program), *options], stdout=subprocess.PIPE, text=True)
        assert self.process.stdout is not None
        self.port = int(self.process.stdout.readline())

    def cpu(self) -> float:
        """Seconds of processor time so far."""
        # The clock of another process, as clock_getcpuclockid(3) makes it.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def stop(self) -> None:
        self.process.terminate()
        self.process.wait()


def cores() -> tuple[list[str], list[str]]:
    """What pins the server and the clients; nothing where there is one core, or no taskset."""
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(available) < 2 or shutil.which("taskset") is None:
        print("server and clients share the cores: figures are not to be compared", file=sys.stderr)
        return [], []
    return [["taskset", "-c", str(core)] for core in available[:2]]  # type: ignore[return-value]


def measure(subject: Subject, case: Case, count: int, number: int, server: Server, core: list[str]) -> Sample:
    """One run in a process of its own. Raises where the subject fails, or lost something."""
    place = subject.command.index("{case}")
    command = [*subject.command[:place], *case.arguments(count, server.port), *subject.command[place + 1 :]]
    before = server.cpu()
    try:
        process = subprocess.run([*core, *command], check=False, capture_output=True, text=True, timeout=TIMEOUT)
    except subprocess.TimeoutExpired as error:
        raise RuntimeError(f"no end after {TIMEOUT} s") from error
    if process.returncode != 0:
        raise RuntimeError(process.stderr.strip() or f"exit code {process.returncode}")
    result = json.loads(process.stdout.splitlines()[-1])
    if result["count"] != count:
        raise RuntimeError(f"{result['count']} messages instead of {count}")
    # A quarter more, with the warm-up. Elsewhere the time that is measured is not the time that it works.
    streams = case.kind in ("receive", "send", "echo")
    busy = (server.cpu() - before) / 1.25 / result["seconds"] if streams else 0.0
    return Sample(case.name, subject.language, subject.name, result, busy, number)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--quick", action="store_true", help="one short round: says that everything works, and no more")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--minutes", type=float, default=9, help="no further round where it would take longer")
    parser.add_argument("--seconds", type=float, default=0.4, help="how long a paced run takes")
    parser.add_argument("--only", default="", help="subjects with this in `language/name`, beside the references")
    parser.add_argument("--case", default="", help="cases with this in their name")
    parser.add_argument("--programs", type=Path, default=ROOT / "target/dist", help="where cargo has put them")
    parser.add_argument("--output", type=Path, default=BENCH, help="where the report goes")
    parser.add_argument(
        "--publish", action="store_true", help="puts charts and summary into docs/bench, where all went well"
    )
    parser.add_argument("--fault", help="the load server spoils a message: drop, swap, twice or corrupt; has to fail")
    options = parser.parse_args()
    if options.publish and (options.quick or options.only or options.case or options.fault):
        parser.error("only a whole run is published")

    everyone = [*SUBJECTS, *rust(options.programs)]
    wanted = [s for s in everyone if options.only.lower() in f"{s.language}/{s.name}".lower()]
    languages = {subject.language for subject in wanted}
    subjects = [s for s in everyone if s in wanted or (s.reference and s.language in languages)]
    cases = [case for case in CASES if options.case in case.name]
    server_core, client_core = cores()
    server = Server(options.programs / "bench-load", server_core, options.fault)
    samples: list[Sample] = []
    failures: dict[tuple[str, str], str] = {}
    counts: dict[tuple[str, str], int] = {}

    def attempt(subject: Subject, case: Case, count: int, number: int = 0) -> Sample | None:
        key = (f"{subject.language}: {subject.name}", case.name)
        if case.kind not in subject.kinds or key in failures:
            return None
        try:
            return measure(subject, case, count, number, server, client_core)
        except (RuntimeError, ValueError, OSError) as error:
            failures[key] = str(error)
            print(f"FAILED {key[0]}, {key[1]}: {error}", file=sys.stderr, flush=True)
            return None

    begun = time.monotonic()
    try:
        # Finds out how many messages each takes, and warms the file cache.
        for case in cases:
            for subject in subjects:
                if case.full is not None and not options.quick:
                    counts[subject.language + subject.name, case.name] = case.full
                    continue
                sample = attempt(subject, case, case.count)
                if sample is None:
                    continue
                if options.quick:
                    samples.append(sample)
                pace = case.count / sample.result["seconds"]
                counts[subject.language + subject.name, case.name] = max(
                    case.count, min(int(pace * options.seconds), MOST)
                )
        longest = 0.0
        for number in range(0 if options.quick else options.rounds):
            round_begun = time.monotonic()
            if number > 0 and round_begun - begun + longest > options.minutes * 60:
                print(f"{number} rounds instead of {options.rounds}: the time is up", flush=True)
                break
            print(f"round {number + 1} of {options.rounds}, {round_begun - begun:.0f} s", flush=True)
            for case in (case for case in cases if number % case.every == 0):
                # The other way round every other time, so that no one always follows the same neighbour.
                for subject in subjects[:: -1 if number % 2 else 1]:
                    count = counts.get((subject.language + subject.name, case.name))
                    sample = attempt(subject, case, count, number) if count else None
                    if sample is not None:
                        samples.append(sample)
            longest = max(longest, time.monotonic() - round_begun)
    finally:
        server.stop()
    write_report(options.output, subjects, cases, samples, sizes(), failures, quick=options.quick)
    busiest = max((sample.busy for sample in samples if "receive" in sample.case), default=0.0)
    typical = statistics.median([sample.busy for sample in samples if sample.busy] or [0.0])
    print(f"load server: {typical:.0%} of its core at the median, {busiest:.0%} at most while streaming")
    print(f"{len(samples)} runs in {time.monotonic() - begun:.0f} s; report in {options.output}/report.md")
    if options.publish and not failures:
        publish(options.output)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
