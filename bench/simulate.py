"""`scripts/simulate`: all shipped policies on the traces of `_traces`, beside the best comparators, in virtual time.

Runs the placement that the gateway runs. Prints a table, what is to be reached, and whether it is; writes the rows to
bench/results/simulate.json. Times are seconds from submit to done, but `greatest_wait`, from submit to placed;
`switches` are model loads to a prompt, `loading` the share of busy time that goes into them, `jain` how alike the mean
times of the 16 callers are. `reference` is counted without the first tenth of its prompts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from multiprocessing import Pool
from pathlib import Path
from random import Random

from bench._comparators import central, clearing, least_expected_time
from bench._traces import flooded, reference, zipf8
from gateway.domain.placement import POLICIES
from gateway.domain.simulation import Played, Simulation, Trace

RESULTS = Path(__file__).parent / "results/simulate.json"
DEFAULT = "expected-completion"
COMPARATORS: Mapping[str, Callable[[Trace], Played]] = {
    "ect": least_expected_time,
    "clearing": clearing,
    "cect": central,
}
ZIPF8, REFERENCE, FLOODED = (0.4, 0.6, 0.8, 0.9, 0.95), (0.3, 0.6, 0.8, 0.9), (0.4, 0.6, 0.8)


@dataclass(frozen=True, slots=True)
class Case:
    scenario: str
    load: float
    policy: str
    noise: float
    prompts: int
    seed: int

    @property
    def row(self) -> tuple[str, float, str, float]:
        return (self.scenario, self.load, self.policy, self.noise)


@dataclass(frozen=True, slots=True)
class Measured:
    mean: float
    p95: float
    p99: float
    switches: float
    loading: float
    greatest_wait: float
    jain: float


def trace_of(case: Case) -> Trace:
    if case.scenario.startswith("zipf8"):
        made = zipf8(case.seed, case.prompts, case.load)
    else:
        made = reference(case.seed, case.prompts, case.load, case.noise)
    return flooded(made, case.seed) if case.scenario.endswith("-flood") else made


def played(trace: Trace, policy: str) -> Played:
    if policy in COMPARATORS:
        return COMPARATORS[policy](trace)
    return Simulation(trace, POLICIES[policy](Random(1))).play()


def measure(case: Case) -> Measured:
    trace = trace_of(case)
    found = played(trace, case.policy)
    first = len(trace.arrivals) // 10 if case.scenario.startswith("reference") else 0
    counted = [n for n in range(first, len(trace.arrivals)) if trace.arrivals[n].caller != "flood"]
    times = sorted(found.done[n] - trace.arrivals[n].at for n in counted)
    callers: dict[str, list[float]] = {}
    for n in counted:
        callers.setdefault(trace.arrivals[n].caller, []).append(found.done[n] - trace.arrivals[n].at)
    means = [statistics.fmean(each) for each in callers.values()]
    return Measured(
        mean=statistics.fmean(times),
        p95=times[int(0.95 * len(times))],
        p99=times[int(0.99 * len(times))],
        switches=found.switches / len(trace.arrivals),
        loading=found.loading / (found.loading + found.running),
        greatest_wait=max(found.placed[n] - trace.arrivals[n].at for n in counted),
        jain=sum(means) ** 2 / len(means) / sum(mean * mean for mean in means),
    )


def cases(seeds: int, zipf_prompts: int, reference_prompts: int) -> Iterator[Case]:
    """In the order in which they are worth waiting for: the default, what it is compared with, the rest."""
    for policy in (DEFAULT, "clearing", "ect", "least-queue", "round-robin", "random"):
        for seed in range(1, seeds + 1):
            for load in ZIPF8:
                yield Case("zipf8", load, policy, 0.0, zipf_prompts, seed)
                if policy == DEFAULT:
                    yield Case("zipf8-long", load, policy, 0.0, 3 * zipf_prompts, seed)
            if policy == DEFAULT:
                for load in FLOODED:
                    yield Case("zipf8-calm", load, policy, 0.0, zipf_prompts // 4, seed)
                    yield Case("zipf8-flood", load, policy, 0.0, zipf_prompts // 4, seed)
    for policy in (DEFAULT, "cect", "least-queue", "round-robin", "random"):
        for seed in range(seeds):
            for load in REFERENCE:
                for noise in (0.3, 1.0):
                    yield Case("reference", load, policy, noise, reference_prompts, seed)
            if policy in (DEFAULT, "cect"):
                yield Case("reference-long", 0.9, policy, 0.3, 3 * reference_prompts, seed)


Rows = dict[tuple[str, float, str, float], dict[str, object]]


def rows(todo: Sequence[Case]) -> Rows:
    found: dict[tuple[str, float, str, float], list[Measured]] = {}
    with Pool(os.cpu_count(), initializer=os.nice, initargs=(10,)) as pool:
        for case, measured in zip(todo, pool.imap(measure, todo), strict=True):
            found.setdefault(case.row, []).append(measured)
            print(".", end="", file=sys.stderr, flush=True)
    return {key: _row(key, each) for key, each in found.items()}


def _row(key: tuple[str, float, str, float], found: Sequence[Measured]) -> dict[str, object]:
    row: dict[str, object] = dict(zip(("scenario", "load", "policy", "noise"), key, strict=True))
    row["seeds"] = len(found)
    for name in asdict(found[0]):
        values = [getattr(each, name) for each in found]
        row[name] = round(max(values) if name == "greatest_wait" else statistics.fmean(values), 4)
    return row


def goals(table: Rows) -> list[tuple[str, float, float]]:
    """What is to be reached: in words, the ratio found, the most that it may be."""

    def mean(scenario: str, load: float, policy: str = DEFAULT, noise: float = 0.0, of: str = "mean") -> float:
        return float(str(table[(scenario, load, policy, noise)][of]))

    found = []
    for load in ZIPF8:
        best = min(mean("zipf8", load, "ect"), mean("zipf8", load, "clearing"))
        found.append((f"zipf8 {load}: mean, to the better of ect and clearing", mean("zipf8", load) / best, 1.05))
        longer = mean("zipf8-long", load) / mean("zipf8", load)
        found.append((f"zipf8 {load}: mean, three times as long to once", longer, 1.5 if load == 0.95 else 1.2))
    for load in REFERENCE:
        ours, theirs = mean("reference", load, noise=0.3), mean("reference", load, "cect", 0.3)
        found.append((f"reference {load}: mean, to cect", ours / theirs, 1.05))
        found.append((f"reference {load}: mean, noise 1.0 to 0.3", mean("reference", load, noise=1.0) / ours, 1.5))
    longer = mean("reference-long", 0.9, noise=0.3) / mean("reference", 0.9, noise=0.3)
    found.append(("reference 0.9: mean, three times as long to once", longer, 1.5))
    for load in FLOODED:
        flood = mean("zipf8-flood", load, of="p95") / mean("zipf8-calm", load, of="p95")
        found.append((f"zipf8 {load}: 95th percentile of the others, flooded to calm", flood, 1.5))
    return found


def show(table: Rows) -> None:
    names = list(next(iter(table.values())))
    print("  ".join(f"{name:>13}" for name in names))
    for row in sorted(table.values(), key=lambda row: [str(row[name]) for name in ("scenario", "noise", "load")]):
        print(
            "  ".join(
                f"{row[name]:>13.5g}" if isinstance(row[name], float) else f"{row[name]!s:>13.13}" for name in names
            )
        )


def main() -> int:
    parser = argparse.ArgumentParser(prog="simulate", description=__doc__)
    parser.add_argument("--seeds", type=int, default=8)
    parser.add_argument("--prompts", type=int, default=1500, help="of a trace of zipf8; reference has two thirds")
    parser.add_argument("--quick", action="store_true", help="two seeds of short traces; writes nothing")
    given = parser.parse_args()
    lengths = (600, 400) if given.quick else (given.prompts, given.prompts * 2 // 3)
    table = rows(list(cases(2 if given.quick else given.seeds, *lengths)))
    print(file=sys.stderr)
    show(table)
    if given.quick:
        return 0
    RESULTS.write_text(json.dumps(list(table.values()), indent=1) + "\n")
    reached = goals(table)
    for words, ratio, most in reached:
        print(f"{'reached' if ratio <= most else 'MISSED':8} {ratio:6.2f} of at most {most:4.2f}  {words}")
    return 0 if all(ratio <= most for _, ratio, most in reached) else 1


if __name__ == "__main__":
    sys.exit(main())
