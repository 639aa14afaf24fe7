"""The path of a request and of a prompt, measured beside what else could stand there, in one go.

`scripts/bench fast` runs all of it, `python -m bench.fast answers gaps` some. What is measured runs on a core of its
own where there are two, by turns with what it is compared with; figures are medians of five.
"""

from __future__ import annotations

import asyncio
import os
import resource
import sys
import time

from bench import _asking, _scale, _working
from bench._rows import Row, keep, table
from bench._servers import REST, pin

PARTS = {
    "answers": _asking.answers,
    "passed": _asking.passed,
    "taken": _working.taken_in,
    "added": _working.added,
    "gaps": _working.gaps,
    "scale": _scale.scale,
}


async def measured(parts: list[str]) -> list[Row]:
    rows: list[Row] = []
    for part in parts:
        began = time.monotonic()
        try:
            rows += await PARTS[part]()
        except Exception as error:  # noqa: BLE001 - what is measured so far is worth keeping
            print(f"{part} did not come to its end, its rows are left out: {error!r}", flush=True)
        print(f"{part}: {time.monotonic() - began:.0f} s, load {os.getloadavg()[0]:.1f}", flush=True)
    return rows


def main() -> None:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, 65_536) if hard > 0 else 65_536, hard))
    pin(REST)
    rows = asyncio.run(measured(sys.argv[1:] or list(PARTS)))
    print(table(rows))
    if not sys.argv[1:]:
        keep(rows, farm=False)


if __name__ == "__main__":
    main()
