"""`gateway replay`: a decision log once more, under another policy."""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Sequence
from pathlib import Path
from random import Random

from gateway.cli.parser import Commands
from gateway.domain.decisions import Recorded, read
from gateway.domain.errors import BadRequest
from gateway.domain.placement import POLICIES
from gateway.domain.simulation import Simulation

_FLAGS = ("--policy", "--slots")


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("replay", help="play a decision log again under another policy")
    parser.add_argument("file", type=Path, metavar="FILE", help="what `decision_log` names")
    parser.add_argument("--policy", choices=tuple(POLICIES), required=True)
    parser.add_argument("--slots", type=int, help="models that a worker keeps; else as the log suggests")
    parser.set_defaults(run=run, known_flags=_FLAGS)


def run(given: argparse.Namespace) -> int:
    if given.slots is not None and given.slots < 1:
        raise BadRequest("--slots: must be at least 1", field="slots")
    try:
        with given.file.open() as lines:
            recorded = read(lines, slots=given.slots)
    except (OSError, UnicodeDecodeError) as error:
        raise BadRequest(f"{given.file}: {error}", field="file") from None
    print(
        f"{len(recorded.times)} prompts, {len(recorded.trace.speeds)} workers, {len(recorded.trace.loads)} models,"
        f" of which a worker keeps {recorded.trace.slots}"
    )
    print(f"{'':32}{'mean':>9}{'p95':>9}{'p99':>9}{'waited':>9}{'loading':>9}{'switches':>9}")
    print(_line(f"recorded ({recorded.policy})", recorded.times, recorded.waits))
    for policy in dict.fromkeys((recorded.policy, given.policy)):
        print(_played(recorded, policy))
    return 0


def _played(recorded: Recorded, policy: str) -> str:
    trace = recorded.trace
    played = Simulation(trace, POLICIES[policy](Random(1))).play()
    starts = [arrival.at for arrival in trace.arrivals]
    times = [done - start for done, start in zip(played.done, starts, strict=True)]
    waits = [placed - start for placed, start in zip(played.placed, starts, strict=True)]
    busy = played.loading + played.running
    return _line(f"played ({policy})", times, waits) + (
        f"{played.loading / busy if busy else 0.0:>9.0%}{played.switches / len(times):>9.2f}"
    )


def _line(name: str, times: Sequence[float], waits: Sequence[float]) -> str:
    found = sorted(times)
    p95, p99 = (found[int(share * len(found))] for share in (0.95, 0.99))
    return f"{name:32}{statistics.fmean(times):>9.2f}{p95:>9.2f}{p99:>9.2f}{statistics.fmean(waits):>9.2f}"
