"""The decision log: what is written of each decision, and the trace that comes of it, to be played again.

One JSON object a line. A decision: when (`at`), which prompt of whom, since when it waited, where it went and why, what
was weighed, and what it was predicted to cost. An end: which prompt, and how many seconds it ran.
"""

from __future__ import annotations

import json
import statistics
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

from gateway.domain.errors import BadRequest
from gateway.domain.placement import Chosen
from gateway.domain.simulation import Arrival, Trace

_MOST_SLOTS = 8
"""More models than that on a worker are not told apart."""


def explained(chosen: Chosen) -> dict[str, Any]:
    """Why it was placed so, as `/gateway/jobs/{id}` tells it; seconds rounded."""
    weighed = {
        name: {cost: round(seconds, 3) for cost, seconds in asdict(costs).items()}
        for name, costs in (chosen.weighed or {}).items()
    }
    return {"reason": chosen.why, "weighed": weighed, "others": chosen.reasons}


def decision(chosen: Chosen, caller: str, priority: int, since: float, now: float, policy: str) -> dict[str, Any]:
    """The line of one decision about a prompt of this caller that waited `since` then."""
    return {
        "at": now,
        "prompt_id": chosen.id,
        "caller": caller,
        "priority": priority,
        "since": since,
        "worker": chosen.worker,
        "policy": policy,
        **explained(chosen),
        "run": chosen.run,
        "anywhere": chosen.anywhere,
        "loads": chosen.loads or {},
    }


def end(id: str, at: float, ran: float) -> dict[str, Any]:
    """The line of the end of a prompt that ran for `ran` seconds, loading and all."""
    return {"at": at, "prompt_id": id, "ran": ran}


@dataclass(frozen=True, slots=True)
class Recorded:
    """What a decision log tells: a trace, and how it went; seconds by arrival from when a prompt waited."""

    trace: Trace
    policy: str
    waits: list[float]
    times: list[float]
    """To the end, as far as ends are recorded, else to the predicted one."""


def read(lines: Iterable[str], *, slots: int | None) -> Recorded:
    """Raises BadRequest that names the line which is none of a decision log, or says that there is no decision.

    `slots`: models that a worker keeps; None takes what agrees best with the loads that were counted with.
    """
    made: dict[str, dict[str, Any]] = {}
    ran: dict[str, float] = {}
    for number, line in enumerate(lines, 1):
        try:
            told = json.loads(line)
            if "ran" in told:
                ran[told["prompt_id"]] = float(told["ran"])
            else:
                made[told["prompt_id"]] = {**told, "cost": float(told["run"]) + _loaded(told)}  # the last one counts
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise BadRequest(f"line {number} is of no decision log: {error!r}", field=f"line {number}") from None
    if not made:
        raise BadRequest("there is no decision in it", field="file")
    told_all = sorted(made.values(), key=lambda told: float(told["since"]))
    speeds = _speeds(told_all)
    arrivals = [_arrival(told, ran, speeds) for told in told_all]
    waits = [max(0.0, told["at"] - told["since"]) for told in told_all]
    times = [wait + ran.get(told["prompt_id"], told["cost"]) for wait, told in zip(waits, told_all, strict=True)]
    trace = Trace(speeds, _loads(told_all), arrivals, slots or _slots(told_all))
    return Recorded(trace, str(told_all[-1]["policy"]), waits, times)


def _loaded(told: dict[str, Any]) -> float:
    """The seconds of loading that the decision counted with."""
    return float(told["weighed"].get(told["worker"], {}).get("load", 0.0))


def _slots(told_all: list[dict[str, Any]]) -> int:
    """How many models a worker seems to have kept: with how many the fewest loads are not those that were expected."""
    in_order = sorted(told_all, key=lambda told: float(told["at"]))

    def wrong(slots: int) -> int:
        kept: dict[str, list[str]] = {}
        found = 0
        for told in in_order:
            models, before = list(told["loads"]), kept.get(told["worker"], [])
            found += (not before or not set(models) <= set(before)) is not (_loaded(told) > 0)
            kept[told["worker"]] = [*models, *(name for name in before if name not in models)][
                : max(slots, len(models))
            ]
        return found

    return min(range(1, _MOST_SLOTS + 1), key=wrong)


def _speeds(told_all: list[dict[str, Any]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for told in told_all:
        speed = told["anywhere"] / told["run"] if told["run"] and told["anywhere"] else 1.0
        found.setdefault(told["worker"], []).append(speed)
        for other in (*told["weighed"], *told["others"]):
            found.setdefault(other, [])
    return {worker: statistics.median(each) if each else 1.0 for worker, each in sorted(found.items())}


def _loads(told_all: list[dict[str, Any]]) -> dict[str, float]:
    found: dict[str, list[float]] = {}
    for told in told_all:
        for model, seconds in told["loads"].items():
            found.setdefault(model, []).append(float(seconds))
    return {model: statistics.median(each) for model, each in found.items()}


def _arrival(told: dict[str, Any], ran: dict[str, float], speeds: dict[str, float]) -> Arrival:
    speed = speeds[told["worker"]]
    seconds = max(0.0, ran[told["prompt_id"]] - _loaded(told)) if told["prompt_id"] in ran else told["run"]
    predicted = told["anywhere"] or told["run"]
    models = frozenset(told["loads"])
    return Arrival(float(told["since"]), told["caller"], models, seconds * speed, predicted, told["priority"])
