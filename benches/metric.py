"""What a run says: samples, the metrics that are read from them, and figures with their spread."""

from __future__ import annotations

import statistics
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from subjects import Case, Subject


@dataclass(frozen=True)
class Sample:
    """One run."""

    case: str
    language: str
    subject: str
    result: dict[str, Any]
    busy: float
    """How much of its core the load server took."""
    round: int = 0

    def of(self, subject: Subject) -> bool:
        return self.language == subject.language and self.subject == subject.name


@dataclass(frozen=True)
class Metric:
    name: str
    unit: str
    of: Callable[[dict[str, Any]], float]
    digits: int = 0
    more_is_better: bool = False
    times: int = 0
    """So many of them a run has to have for it to mean something."""


def percentile(share: float) -> Callable[[dict[str, Any]], float]:
    def of(result: dict[str, Any]) -> float:
        times = sorted(result["times"])
        return float(times[min(len(times) - 1, int(len(times) * share))])

    return of


RATE = Metric("messages a second", "1/s", lambda r: r["count"] / r["seconds"], more_is_better=True)
CPU = Metric("CPU seconds a million messages", "s", lambda r: r["cpu"] / r["count"] * 1e6, digits=2)
RSS = Metric("peak RSS", "MiB", lambda r: r["rss"] / 2**20)
P50 = Metric("p50", "µs", percentile(0.5))
P99 = Metric("p99", "µs", percentile(0.99))
P999 = Metric("p99.9", "µs", percentile(0.999), times=10_000)
TIME = Metric("time", "ms", lambda r: percentile(0.5)(r) / 1e3, digits=1)
MEMORY = Metric("memory a connection", "KiB", lambda r: r["idle"] / 2**10, digits=1)

METRICS = {
    "receive": [RATE, CPU, RSS],
    "send": [RATE, CPU, RSS],
    "request": [P50, P99],
    "echo": [P50, P99, P999],
    "connect": [P50],
    "idle": [MEMORY],
    "resubscribe": [TIME],
    "catch-up": [TIME, CPU, RSS],
}


def metrics(case: Case, samples: list[Sample]) -> list[Metric]:
    """Those that enough was measured for."""
    fewest = min((len(sample.result["times"]) for sample in samples), default=0)
    return [metric for metric in METRICS[case.kind] if fewest >= metric.times]


@dataclass(frozen=True)
class Figure:
    """The median of the rounds, with their spread."""

    middle: float
    least: float
    most: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Figure:
        return cls(statistics.median(values), min(values), max(values))

    def text(self, digits: int) -> str:
        return f"{self.middle:,.{digits}f} ({self.least:,.{digits}f}..{self.most:,.{digits}f})"


def figure(metric: Metric, subject: Subject, case: str, samples: list[Sample]) -> Figure | None:
    values = [metric.of(sample.result) for sample in samples if sample.case == case and sample.of(subject)]
    return Figure.of(values) if values else None


def reference(case: Case, subjects: list[Subject], samples: list[Sample]) -> Subject | None:
    """Of the subjects of a language the one that ratios are against: the best peer where the usual one has no part."""
    peers = [s for s in subjects if not s.ours and any(x.case == case.name and x.of(s) for x in samples)]
    usual = next((subject for subject in peers if subject.reference), None)
    if usual is not None or not peers:
        return usual
    metric = METRICS[case.kind][0]

    def middle(subject: Subject) -> float:
        found = figure(metric, subject, case.name, samples)
        assert found is not None
        return -found.middle if metric.more_is_better else found.middle

    return min(peers, key=middle)
