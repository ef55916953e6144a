"""Horizontal bars as SVG, which read on light and on dark pages."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

from metric import Figure

BAR, GAP, HEAD = 18, 7, 34
CHARACTER = 7
"""What a character of a label takes, at most on average."""

STYLE = (
    "text{font:13px system-ui,sans-serif;fill:#57606a}.title{font-size:15px;font-weight:600}.group{font-weight:600}"
    ".ours{fill:#1f883d}.peer{fill:#8c959f}.spread{stroke:#57606a;stroke-width:1.5}"
    "@media(prefers-color-scheme:dark){text{fill:#9198a1}.ours{fill:#3fb950}.peer{fill:#656c76}.spread{stroke:#d1d7e0}}"
)


@dataclass(frozen=True)
class Bar:
    group: str
    label: str
    value: float
    least: float
    most: float
    ours: bool

    @classmethod
    def of(cls, group: str, label: str, figure: Figure, ours: bool) -> Bar:
        return cls(group, label, figure.middle, figure.least, figure.most, ours)


def bar_chart(title: str, unit: str, bars: list[Bar]) -> str:
    """Groups one below the other, each with a scale of its own; a thin line shows the spread."""
    width, figure, label = 760, 110, _room(bars)
    parts: list[str] = []
    y = HEAD + 8
    for group in dict.fromkeys(bar.group for bar in bars):
        members = [bar for bar in bars if bar.group == group]
        longest = max(bar.most for bar in members)
        parts.append(f'<text x="8" y="{y + 12}" class="group">{escape(group)}</text>')
        y += 22
        for bar in members:
            parts.append(_label(bar, label, y))
            parts += _bar(bar, label, y, (width - label - figure) / longest, f" {unit}")
            y += BAR + GAP
        y += 10
    return _svg(title, width, y, parts)


def panels(title: str, columns: list[tuple[str, list[Bar]]]) -> str:
    """Several charts of the same subjects beside each other, so that their names stand there once. A column has a
    heading and bars; a subject may be missing in it.
    """
    column, figure, gutter, label = 240, 54, 14, _room([bar for _, bars in columns for bar in bars])
    rows = list(dict.fromkeys(bar.label for _, bars in columns for bar in bars))
    top = HEAD + 30
    parts: list[str] = []
    named: set[str] = set()
    for place, (heading, bars) in enumerate(columns):
        x = label + place * column
        parts.append(f'<text x="{x}" y="{HEAD + 16}" class="group">{escape(heading)}</text>')
        scale = (column - figure - gutter) / max(bar.most for bar in bars)
        for bar in bars:
            y = top + rows.index(bar.label) * (BAR + GAP)
            if bar.label not in named:
                named.add(bar.label)
                parts.append(_label(bar, label, y))
            parts += _bar(bar, x, y, scale, "")
    return _svg(title, label + len(columns) * column, top + len(rows) * (BAR + GAP) + 6, parts)


def _room(bars: list[Bar]) -> int:
    return 20 + CHARACTER * max(len(bar.label) for bar in bars)


def _label(bar: Bar, x: int, y: int) -> str:
    return f'<text x="{x - 8}" y="{y + 13}" text-anchor="end">{escape(bar.label)}</text>'


def _bar(bar: Bar, x: int, y: int, scale: float, unit: str) -> list[str]:
    width, least, most = bar.value * scale, x + bar.least * scale, x + bar.most * scale
    middle = y + BAR / 2
    kind = "ours" if bar.ours else "peer"
    return [
        f'<rect x="{x}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" class="{kind}"/>',
        f'<path d="M{least:.1f} {middle}H{most:.1f}" class="spread"/>',
        f'<text x="{max(most, x + width) + 6:.1f}" y="{y + 13}">{short(bar.value)}{escape(unit)}</text>',
    ]


def _svg(title: str, width: int, height: int, parts: list[str]) -> str:
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {width} {height}" role="img">'
        f"<title>{escape(title)}</title><style>{STYLE}</style>"
        f'<text x="8" y="22" class="title">{escape(title)}</text>{"".join(parts)}</svg>\n'
    )


def short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.2f}M"
    return f"{value / 1e3:.0f}k" if value >= 1e4 else f"{value:,.0f}"
