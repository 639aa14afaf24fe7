"""A row of the table: what was measured of the gateway, what of that beside it in the same run, and their ratio."""

from __future__ import annotations

import json
import statistics
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from bench._load import Rate, asked
from bench._servers import Server

ROUNDS = 5
RESULTS = Path(__file__).parent / "results/bench.json"
FARM = "farm: "
"""What the cases of `bench.farm` begin with."""


@dataclass(frozen=True, slots=True)
class Row:
    """`ratio` is above 1 where the gateway is better; `floor` is what is asked for, None where nothing is."""

    case: str
    unit: str
    gateway: float
    beside: float
    what: str
    """What `beside` is of; `limit` where there is nothing to compare with but the figure that is asked for."""
    ratio: float
    floor: float | None

    @property
    def good(self) -> bool:
        return self.floor is None or self.ratio >= self.floor

    def plain(self) -> dict[str, Any]:
        return asdict(self)


async def rates(
    case: str,
    gateway: Server,
    beside: tuple[str, Server],
    path: str,
    *,
    floor: float | None,
    connections: int = 32,
    seconds: float = 1.0,
) -> Row:
    """Requests a second of both by turns; the ratio is the median of those of each turn."""
    what, other = beside
    rounds: list[tuple[Rate, Rate]] = []
    for number in range(ROUNDS + 1):
        first = await asked(gateway, path, connections=connections, seconds=seconds)
        second = await asked(other, path, connections=connections, seconds=seconds)
        if number:  # the one before is for warming up
            rounds.append((first, second))
    ours = statistics.median(first.a_second for first, _ in rounds)
    theirs = statistics.median(second.a_second for _, second in rounds)
    ratio = statistics.median(first.a_second / second.a_second for first, second in rounds)
    return Row(case, "requests/s", ours, theirs, what, ratio, floor)


def at_least(case: str, unit: str, found: float, limit: float) -> Row:
    return Row(case, unit, found, limit, "limit", found / limit, 1.0)


def at_most(case: str, unit: str, found: float, limit: float) -> Row:
    return Row(case, unit, found, limit, "limit", limit / max(found, 1e-9), 1.0)


def keep(rows: Sequence[Row], *, farm: bool) -> None:
    """Write these down; of what is there already only the other benchmark's rows stay."""
    old = json.loads(RESULTS.read_text()) if RESULTS.exists() else []
    others = [row for row in old if row["case"].startswith(FARM) is not farm]
    mine = [row.plain() for row in rows]
    RESULTS.parent.mkdir(exist_ok=True)
    RESULTS.write_text(json.dumps(others + mine if farm else mine + others, indent=2) + "\n")


def quantile(values: Sequence[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def table(rows: Sequence[Row]) -> str:
    lines = [f"{'':46}{'':12}{'gateway':>11}{'beside':>11}  {'of':14}{'ratio':>7}{'floor':>7}"]
    for row in rows:
        floor = "" if row.floor is None else f"{row.floor:.2f}"
        mark = "" if row.good else "  BELOW"
        figures = f"{row.gateway:11,.1f}{row.beside:11,.1f}  {row.what:14}{row.ratio:7.2f}{floor:>7}{mark}"
        lines.append(f"{row.case:46}{row.unit:12}{figures}")
    return "\n".join(lines)
