"""Horizontal bars as SVG, which read on light and on dark pages."""

from __future__ import annotations

from dataclasses import dataclass
from html import escape

WIDTH, LABEL, BAR, GAP, HEAD = 760, 290, 18, 7, 34
ROOM = WIDTH - LABEL - 110


@dataclass(frozen=True)
class Bar:
    group: str
    label: str
    value: float
    least: float
    most: float
    ours: bool


def bar_chart(title: str, unit: str, bars: list[Bar]) -> str:
    """Groups one below the other, each with a scale of its own; a thin line shows the spread."""
    parts: list[str] = []
    y = HEAD + 8
    for group in dict.fromkeys(bar.group for bar in bars):
        members = [bar for bar in bars if bar.group == group]
        longest = max(bar.most for bar in members)
        parts.append(f'<text x="8" y="{y + 12}" class="group">{escape(group)}</text>')
        y += 22
        for bar in members:
            parts += _bar(bar, y, ROOM / longest, unit)
            y += BAR + GAP
        y += 10
    style = (
        "text{font:13px system-ui,sans-serif;fill:#57606a}.title{font-size:15px;font-weight:600}.group{font-weight:600}"
        ".ours{fill:#1f883d}.peer{fill:#8c959f}.spread{stroke:#57606a;stroke-width:1.5}"
        "@media(prefers-color-scheme:dark){text{fill:#9198a1}.ours{fill:#3fb950}.peer{fill:#656c76}.spread{stroke:#d1d7e0}}"
    )
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {y}" role="img">'
        f"<title>{escape(title)}</title><style>{style}</style>"
        f'<text x="8" y="22" class="title">{escape(title)}</text>{"".join(parts)}</svg>\n'
    )


def _bar(bar: Bar, y: int, scale: float, unit: str) -> list[str]:
    width, least, most = bar.value * scale, LABEL + bar.least * scale, LABEL + bar.most * scale
    middle, line = y + BAR / 2, y + 13
    kind = "ours" if bar.ours else "peer"
    return [
        f'<text x="{LABEL - 8}" y="{line}" text-anchor="end">{escape(bar.label)}</text>',
        f'<rect x="{LABEL}" y="{y}" width="{width:.1f}" height="{BAR}" rx="2" class="{kind}"/>',
        f'<path d="M{least:.1f} {middle}H{most:.1f}" class="spread"/>',
        f'<text x="{max(most, LABEL + width) + 6:.1f}" y="{line}">{_short(bar.value)} {escape(unit)}</text>',
    ]


def _short(value: float) -> str:
    if value >= 1e6:
        return f"{value / 1e6:.2f}M"
    return f"{value / 1e3:.0f}k" if value >= 1e4 else f"{value:,.0f}"
