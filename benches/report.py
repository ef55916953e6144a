"""From samples to `report.json`, `report.md` and charts. Figures with their spread, never a verdict."""

from __future__ import annotations

import json
import os
import platform
import subprocess
from pathlib import Path
from typing import Any

from chart import Bar, bar_chart
from metric import P50, RATE, Figure, Sample, figure, metrics, reference
from subjects import RECEIVE_L16, RECEIVE_S16, ROUND_TRIP, SEND, Case, Subject
from summary import write_summary

CHARTS = [
    ("receive-small", RECEIVE_S16, RATE),
    ("receive-large", RECEIVE_L16, RATE),
    ("send", SEND, RATE),
    ("round-trip", ROUND_TRIP, P50),
]


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
            members = [subject for subject in subjects if subject.language == language]
            mine = [sample for sample in samples if sample.case == case.name and sample.language == language]
            lines += _table(case, language, members, mine, rows)
    lines += _sizes(sizes)
    rows += sizes
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "report.json").write_text(json.dumps(rows, indent=1, ensure_ascii=False) + "\n")
    (folder / "report.md").write_text("\n".join(lines) + "\n")
    for name, case_name, metric in CHARTS:
        figures = {subject: figure(metric, subject, case_name, samples) for subject in subjects}
        bars = [
            Bar.of(subject.language, subject.name, found, subject.ours) for subject, found in figures.items() if found
        ]
        if bars:
            (folder / f"{name}.svg").write_text(bar_chart(f"{case_name}: {metric.name}", metric.unit, bars))
    write_summary(folder, subjects, samples, _head(samples, quick))


def _table(
    case: Case, language: str, subjects: list[Subject], samples: list[Sample], rows: list[dict[str, Any]]
) -> list[str]:
    if not samples:
        return []
    shown = metrics(case, samples)
    against = reference(case, subjects, samples)
    theirs = {sample.round: sample.result for sample in samples if against is not None and sample.of(against)}
    body = []
    for subject in subjects:
        results = {sample.round: sample.result for sample in samples if sample.of(subject)}
        if not results:
            continue
        cells = []
        for metric in shown:
            found = Figure.of([metric.of(result) for result in results.values()])
            key = {"case": case.name, "subject": f"{language}: {subject.name}"}
            spread = {"min": found.least, "max": found.most, "rounds": len(results)}
            rows.append(key | {"metric": metric.name, "value": found.middle, "unit": metric.unit} | spread)
            cells.append(found.text(metric.digits))
            # Of the same round, so that what slowed a round down slows both.
            pairs = [(metric.of(results[n]), metric.of(theirs[n])) for n in results if n in theirs]
            pairs = [(a, b) for a, b in pairs if b > 0]
            if pairs and against is not None:
                ratio = Figure.of([a / b for a, b in pairs])
                spread = {"min": ratio.least, "max": ratio.most, "rounds": len(pairs)}
                name = f"{metric.name}, ratio to {against.name}"
                rows.append(key | {"metric": name, "value": ratio.middle, "unit": "ratio"} | spread)
            cells.append(ratio.text(2) if pairs else "")
        note = " (receipts)" if case.kind == "send" and subject.acknowledged else ""
        name = f"**{subject.name}**" if subject.ours else subject.name
        body.append(f"| {name}{note} | " + " | ".join(cells) + " |")
    title = f"## {case.name}: {language}" + (
        f" (ratios to {against.name})" if against is not None else " (no peer does it)"
    )
    head = " | ".join(f"{metric.name}, {metric.unit} | ratio" for metric in shown)
    return [title, "", f"| | {head} |", "|---" * (2 * len(shown) + 1) + "|", *body, ""]


def _sizes(sizes: list[dict[str, Any]]) -> list[str]:
    if not sizes:
        return []
    packed: dict[str, dict[str, float]] = {row["subject"]: {} for row in sizes}
    for row in sizes:
        packed[row["subject"]][row["metric"]] = row["value"] / 2**20
    table = [f"| {name} | {row['packed']:.2f} | {row['unpacked']:.2f} |" for name, row in packed.items()]
    return ["## Sizes", "", "| package | packed, MiB | unpacked, MiB |", "|---|---|---|", *table, ""]


def _head(samples: list[Sample], quick: bool) -> list[str]:
    """Of the summary, which lies in docs/bench in the end."""
    rounds = len({sample.round for sample in samples})
    machine, _, *quickly = conditions(quick)
    what = (
        "- What is measured, and how it is kept fair: [benches](../../benches/README.md); `make bench` measures again."
    )
    return [machine, f"- Medians; {rounds} rounds, of which some cases have every other one.", what, *quickly]


def _conditions(samples: list[Sample], quick: bool) -> list[str]:
    busiest = max((sample.busy for sample in samples), default=0.0)
    ratios = "- Ratios are of runs of the same round."
    return [*conditions(quick), ratios, f"- The load server took at most {busiest:.0%} of its core while it streamed."]


def conditions(quick: bool) -> list[str]:
    """Where and how it was measured."""
    node = subprocess.run(["node", "--version"], check=False, capture_output=True, text=True).stdout.strip()
    system = f"{os.cpu_count()} cores, {platform.system()} {platform.release()}"
    lines = [
        f"- {_processor()}, {system}; Python {platform.python_version()}, Node {node}.",
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
