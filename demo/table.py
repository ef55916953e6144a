"""Figures of several services, one a line, with their sum."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

Row = Mapping[str, "int | str"]


def total(rows: Sequence[Row]) -> dict[str, int]:
    """The sum of each column that counts."""
    return {key: sum(int(row[key]) for row in rows) for key, value in rows[0].items() if isinstance(value, int)}


def table(rows: Sequence[Row], sum_name: str) -> str:
    header = list(rows[0])
    last: Row = {header[0]: sum_name, **total(rows)}
    lines = [header, *([str(row[key]) for key in header] for row in [*rows, last])]
    return "\n".join("  " + "".join(f"{cell:>14}" for cell in cells) for cells in lines)
