"""Runs of subjects, one process each, in interleaved rounds."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

from metric import Sample
from subjects import Case, Subject

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


class Rounds:
    """Keeps what the runs say. A subject that failed in a case has no further part in it."""

    def __init__(self, subjects: list[Subject], cases: list[Case], server: Server, core: list[str]) -> None:
        self.subjects, self.cases, self.server, self.core = subjects, cases, server, core
        self.samples: list[Sample] = []
        self.failures: dict[tuple[str, str], str] = {}
        self._counts: dict[tuple[Subject, Case], int] = {}

    def prepare(self, seconds: float) -> None:
        """Finds out how many messages each has in a run that takes so long, and warms the file cache."""
        for case in self.cases:
            for subject in self.subjects:
                if case.full is not None:
                    self._counts[subject, case] = case.full
                elif sample := self._attempt(subject, case, case.count):
                    pace = case.count / sample.result["seconds"]
                    self._counts[subject, case] = max(case.count, min(int(pace * seconds), MOST))

    def once(self) -> None:
        """A short run of each: says that everything works, and no more."""
        for case in self.cases:
            for subject in self.subjects:
                if sample := self._attempt(subject, case, case.count):
                    self.samples.append(sample)

    def play(self, number: int) -> None:
        for case in (case for case in self.cases if number % case.every == 0):
            # The other way round every other time, so that no one always follows the same neighbour.
            for subject in self.subjects[:: -1 if number % 2 else 1]:
                count = self._counts.get((subject, case))
                if count and (sample := self._attempt(subject, case, count, number)):
                    self.samples.append(sample)

    def _attempt(self, subject: Subject, case: Case, count: int, number: int = 0) -> Sample | None:
        key = (f"{subject.language}: {subject.name}", case.name)
        if case.kind not in subject.kinds or key in self.failures:
            return None
        try:
            return self._run(subject, case, count, number)
        except (RuntimeError, ValueError, OSError) as error:
            self.failures[key] = str(error)
            print(f"FAILED {key[0]}, {key[1]}: {error}", file=sys.stderr, flush=True)
            if (code := self.server.process.poll()) is not None:
                sys.exit(f"bench: the load server has ended with {code}, so that nothing more can be measured")
            return None

    def _run(self, subject: Subject, case: Case, count: int, number: int) -> Sample:
        """One run in a process of its own. Raises where the subject fails, or lost something."""
        place = subject.command.index("{case}")
        command = [*subject.command[:place], *case.arguments(count, self.server.port), *subject.command[place + 1 :]]
        before = self.server.cpu()
        try:
            process = subprocess.run(
                [*self.core, *command], check=False, capture_output=True, text=True, timeout=TIMEOUT
            )
        except subprocess.TimeoutExpired as error:
            raise RuntimeError(f"no end after {TIMEOUT} s") from error
        if process.returncode != 0:
            raise RuntimeError(process.stderr.strip() or f"exit code {process.returncode}")
        result = json.loads(process.stdout.splitlines()[-1])
        if result["count"] != count:
            raise RuntimeError(f"{result['count']} messages instead of {count}")
        # A quarter more, with the warm-up. Elsewhere the time that is measured is not the time that it works.
        streams = case.kind in ("receive", "send", "echo")
        busy = (self.server.cpu() - before) / 1.25 / result["seconds"] if streams else 0.0
        return Sample(case.name, subject.language, subject.name, result, busy, number)


def cores() -> tuple[list[str], list[str]]:
    """What pins the server and the clients; nothing where there is one core, or no taskset."""
    available = sorted(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else []
    if len(available) < 2 or shutil.which("taskset") is None:
        print("server and clients share the cores: figures are not to be compared", file=sys.stderr)
        return [], []
    return [["taskset", "-c", str(core)] for core in available[:2]]  # type: ignore[return-value]
