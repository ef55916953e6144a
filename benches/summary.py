"""What fits on one page: a chart and a table a language."""

from __future__ import annotations

from pathlib import Path

from chart import Bar, panels
from metric import CPU, MEMORY, P50, P99, RATE, TIME, Metric, Sample, figure
from subjects import CATCH_UP, IDLE, RECEIVE_L16, RECEIVE_S16, REQUEST, RESUBSCRIBE, ROUND_TRIP, SEND, Subject

CHARTED = [
    ("receive S, messages a second", RECEIVE_S16, RATE),
    ("send S, messages a second", SEND, RATE),
    ("round trip, µs (less is better)", ROUND_TRIP, P50),
]

COLUMNS: list[tuple[str, str, Metric]] = [
    ("receive S, 1/s", RECEIVE_S16, RATE),
    ("receive L, 1/s", RECEIVE_L16, RATE),
    ("CPU s a million S", RECEIVE_S16, CPU),
    ("send S, 1/s", SEND, RATE),
    ("round trip p50, µs", ROUND_TRIP, P50),
    ("p99, µs", ROUND_TRIP, P99),
    ("receipt p50, µs", REQUEST, P50),
    ("idle, KiB", IDLE, MEMORY),
    ("1,000 channels again, ms", RESUBSCRIBE, TIME),
    ("100,000 missed, ms", CATCH_UP, TIME),
]


def write_summary(folder: Path, subjects: list[Subject], samples: list[Sample], head: list[str]) -> None:
    """`summary.md`, and a `summary-<language>.svg` for each."""
    lines = ["# Side by side, in short", "", *head, ""]
    for language in dict.fromkeys(subject.language for subject in subjects):
        members = [subject for subject in subjects if subject.language == language]
        chart = f"summary-{language.lower()}.svg"
        columns = [(head, _bars(case, metric, members, samples)) for head, case, metric in CHARTED]
        columns = [(head, bars) for head, bars in columns if bars]
        if columns:
            (folder / chart).write_text(panels(language, columns))
            lines += [f"![{language}]({chart})", ""]
        lines += _table(language, members, samples)
    (folder / "summary.md").write_text("\n".join(lines))


def _bars(case: str, metric: Metric, subjects: list[Subject], samples: list[Sample]) -> list[Bar]:
    figures = {subject: figure(metric, subject, case, samples) for subject in subjects}
    return [Bar.of(s.language, s.name, found, s.ours) for s, found in figures.items() if found]


def _table(language: str, subjects: list[Subject], samples: list[Sample]) -> list[str]:
    body = []
    for subject in subjects:
        figures = [(figure(metric, subject, case, samples), metric) for _, case, metric in COLUMNS]
        cells = [f"{found.middle:,.{metric.digits}f}" if found else "" for found, metric in figures]
        name = f"**{subject.name}**" if subject.ours else subject.name
        body.append(f"| {name} | " + " | ".join(cells) + " |")
    head = " | ".join(head for head, _, _ in COLUMNS)
    return [f"| {language} | {head} |", "|---" + "|---:" * len(COLUMNS) + "|", *body, ""]
