"""The table of docs/performance.md, written from bench/results/bench.json (`scripts/docs`)."""

from __future__ import annotations

import json
from pathlib import Path

from bench._rows import RESULTS, Row

PAGE = Path(__file__).parents[1] / "docs/performance.md"
_BEGIN, _END = "<!-- written by scripts/docs -->\n", "<!-- until here -->\n"
_HEAD = "| case | gateway | beside | ratio | floor |\n|---|---|---|---|---|\n"


def page(before: str) -> str:
    """The page with the table of what is in the results now."""
    start, _, rest = before.partition(_BEGIN)
    _, _, end = rest.partition(_END)
    rows = [Row(**row) for row in json.loads(RESULTS.read_text())]
    return start + _BEGIN + _HEAD + "".join(map(_line, rows)) + _END + end


def _line(row: Row) -> str:
    floor = "" if row.floor is None else f"{row.floor:.2f}" + ("" if row.good else ", missed")
    gateway = f"{_figure(row.gateway)} {row.unit}".rstrip()
    return f"| {row.case} | {gateway} | {row.what}: {_figure(row.beside)} | {row.ratio:.2f} | {floor} |\n"


def _figure(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}".removesuffix(".0")


if __name__ == "__main__":
    PAGE.write_text(page(PAGE.read_text()))
