"""From samples to `report.json`, `report.md` and charts. Figures with their spread, never a verdict."""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from chart import Bar, bar_chart
from subjects import RECEIVE_L16, RECEIVE_S16, ROUND_TRIP, SEND, Case, Subject


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


@dataclass(frozen=True)
class Metric:
    name: str
    unit: str
    of: Callable[[dict[str, Any]], float]
    digits: int = 0
    more_is_better: bool = False


def _percentile(share: float) -> Callable[[dict[str, Any]], float]:
    def of(result: dict[str, Any]) -> float:
        times = sorted(result["times"])
        return float(times[min(len(times) - 1, int(len(times) * share))])

    return of


RATE = Metric("messages a second", "1/s", lambda r: r["count"] / r["seconds"], more_is_better=True)
CPU = Metric("CPU seconds a million messages", "s", lambda r: r["cpu"] / r["count"] * 1e6, digits=2)
RSS = Metric("peak RSS", "MiB", lambda r: r["rss"] / 2**20)
P50 = Metric("p50", "µs", _percentile(0.5))
P99 = Metric("p99", "µs", _percentile(0.99))
P999 = Metric("p99.9", "µs", _percentile(0.999))

METRICS = {"receive": [RATE, CPU, RSS], "send": [RATE, CPU, RSS], "echo": [P50, P99, P999], "connect": [P50]}
CHARTS = [
    ("receive-small", RECEIVE_S16, RATE),
    ("receive-large", RECEIVE_L16, RATE),
    ("send", SEND, RATE),
    ("round-trip", ROUND_TRIP, P50),
]


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


def write_report(
    folder: Path,
    subjects: list[Subject],
    cases: list[Case],
    samples: list[Sample],
    sizes: list[dict[str, Any]],
    failures: dict[tuple[str, str], str],
    *,
    quick: bool,
) -> None:
    rows: list[dict[str, Any]] = []
    lines = ["# Side by side", "", *_conditions(samples, quick), ""]
    for failed, reason in failures.items():
        lines += [f"**FAILED** {failed[0]}, {failed[1]}: `{reason.splitlines()[-1]}`", ""]
    for case in cases:
        for language in dict.fromkeys(subject.language for subject in subjects):
            lines += _table(case, language, subjects, samples, rows)
    lines += _sizes(sizes)
    rows += sizes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    (folder / "report.md").write_text("\n".join(lines) + "\n")
    for name, case_name, metric in CHARTS:
        bars = []
        for subject in subjects:
            values = [metric.of(s.result) for s in samples if s.case == case_name and _is(s, subject)]
            if values:
                figure = Figure.of(values)
                bars.append(Bar(subject.language, subject.name, figure.middle, figure.least, figure.most, subject.ours))
        if bars:
            (folder / f"{name}.svg").write_text(bar_chart(f"{case_name}: {metric.name}", metric.unit, bars))


def _table(
    case: Case, language: str, subjects: list[Subject], samples: list[Sample], rows: list[dict[str, Any]]
) -> list[str]:
    metrics = METRICS[case.kind]
    head = " | ".join(f"{metric.name}, {metric.unit} | ratio" for metric in metrics)
    body = []
    mine = [sample for sample in samples if sample.case == case.name and sample.language == language]
    reference = next((s for s in subjects if s.reference and s.language == language), None)
    against = {sample.round: sample.result for sample in mine if reference is not None and _is(sample, reference)}
    for subject in subjects:
        results = {sample.round: sample.result for sample in mine if _is(sample, subject)}
        if not results:
            continue
        cells = []
        for metric in metrics:
            figure = Figure.of([metric.of(result) for result in results.values()])
            key = {"case": case.name, "subject": f"{language}: {subject.name}"}
            spread = {"min": figure.least, "max": figure.most, "rounds": len(results)}
            rows.append(key | {"metric": metric.name, "value": figure.middle, "unit": metric.unit} | spread)
            cells.append(figure.text(metric.digits))
            # Of the same round, so that what slowed a round down slows both.
            pairs = [(metric.of(results[n]), metric.of(against[n])) for n in results if n in against]
            pairs = [(a, b) for a, b in pairs if b > 0]
            if pairs:
                ratio = Figure.of([a / b for a, b in pairs])
                spread = {"min": ratio.least, "max": ratio.most, "rounds": len(pairs)}
                name = f"{metric.name}, ratio to {reference.name}" if reference else ""
                rows.append(key | {"metric": name, "value": ratio.middle, "unit": "ratio"} | spread)
            cells.append(ratio.text(2) if pairs else "")
        note = " (receipts)" if case.kind == "send" and subject.acknowledged else ""
        name = f"**{subject.name}**" if subject.ours else subject.name
        body.append(f"| {name}{note} | " + " | ".join(cells) + " |")
    if not body:
        return []
    title = f"## {case.name}: {language}"
    if reference is not None:
        title += f" (ratios to {reference.name})"
    return [title, "", f"| | {head} |", "|---" * (2 * len(metrics) + 1) + "|", *body, ""]


def _sizes(sizes: list[dict[str, Any]]) -> list[str]:
    if not sizes:
        return []
    packed: dict[str, dict[str, float]] = {row["subject"]: {} for row in sizes}
    for row in sizes:
        packed[row["subject"]][row["metric"]] = row["value"] / 2**20
    table = [f"| {name} | {row['packed']:.2f} | {row['unpacked']:.2f} |" for name, row in packed.items()]
    return ["## Sizes", "", "| package | packed, MiB | unpacked, MiB |", "|---|---|---|", *table, ""]


def _conditions(samples: list[Sample], quick: bool) -> list[str]:
    busiest = max((sample.busy for sample in samples), default=0.0)
    ratios = "- Ratios are of runs of the same round."
    return [*conditions(quick), ratios, f"- The load server took at most {busiest:.0%} of its core."]


def conditions(quick: bool) -> list[str]:
    """Where and how it was measured."""
    node = subprocess.run(["node", "--version"], capture_output=True, text=True).stdout.strip()
    lines = [
        f"- {_processor()}, {os.cpu_count()} cores, {platform.system()} {platform.release()}; "
        f"Python {platform.python_version()}, Node {node}.",
        "- The median of the rounds, with the least and the most in brackets.",
    ]
    if quick:
        lines.append("- **A quick run**: one short round. It shows that everything works; its figures mean little.")
    return lines


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.machine()
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), platform.machine())


def _is(sample: Sample, subject: Subject) -> bool:
    return sample.language == subject.language and sample.subject == subject.name
