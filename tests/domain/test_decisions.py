from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.decisions import decision, end, read
from gateway.domain.demand import Demand
from gateway.domain.errors import BadRequest
from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.jobs import Job, Queued
from gateway.domain.placement import Chosen, Weighed, Why

X = WorkerName("x")


def line(id: str, since: float, at: float, worker: str = "x", *, load: float = 0.0, run: float = 4.0) -> str:
    nothing = Demand(frozenset(), frozenset(), frozenset())
    job = Job(PromptId(id), Queued(), "1", 1, None, "peer", nothing, since, priority=3)
    weighed = {WorkerName(worker): Weighed(0.0, load, run, run + load)}
    chosen = Chosen(
        job.id, WorkerName(worker), {WorkerName("idle"): "busy"}, Why.SWITCH, weighed, run, 8.0, {"model": 5.0}
    )
    return json.dumps(decision(chosen, job.caller, job.priority, job.created_at, at, "least-queue"))


def ended(id: str, ran: float) -> str:
    return json.dumps(end(id, 99.0, ran))


def test_a_line_says_what_was_decided_and_why() -> None:
    told: dict[str, Any] = json.loads(line("p", 1.0, 3.0, load=5.0))
    assert (told["prompt_id"], told["caller"], told["worker"], told["policy"]) == ("p", "peer", "x", "least-queue")
    assert (told["reason"], told["at"], told["since"], told["priority"]) == ("switch", 3.0, 1.0, 3)
    assert told["weighed"] == {"x": {"free_in": 0.0, "load": 5.0, "run": 4.0, "score": 9.0}}
    assert told["others"] == {"idle": "busy"}


def test_a_log_is_a_trace() -> None:
    recorded = read([line("q", 2.0, 6.0, load=5.0), line("p", 1.0, 3.0, "y", run=8.0), ended("q", 11.0)], slots=2)
    assert recorded.policy == "least-queue"
    assert recorded.waits == [2.0, 4.0]
    assert recorded.times == [2.0 + 8.0, 4.0 + 11.0], "as predicted, and as it ended"
    trace = recorded.trace
    assert trace.speeds == {"idle": 1.0, "x": 2.0, "y": 1.0}
    assert (trace.loads, trace.slots) == ({"model": 5.0}, 2)
    assert [(a.at, a.seconds, a.predicted, a.priority) for a in trace.arrivals] == [
        (1.0, 8.0, 8.0, 3),
        (2.0, 12.0, 8.0, 3),
    ]


def test_of_a_prompt_that_was_placed_twice_the_last_counts() -> None:
    recorded = read([line("p", 1.0, 3.0), line("p", 1.0, 30.0)], slots=1)
    assert recorded.waits == [29.0]


@pytest.mark.parametrize(
    ("lines", "said"),
    [
        ([], "no decision"),
        ([ended("p", 1.0)], "no decision"),
        ([line("p", 1.0, 3.0), "{"], "line 2"),
        (['{"prompt_id": "p"}'], "line 1"),
        (["[]"], "line 1"),
        (['{"ran": "x", "prompt_id": "p"}'], "line 1"),
    ],
)
def test_what_is_no_decision_log_is_refused_by_line(lines: list[str], said: str) -> None:
    with pytest.raises(BadRequest, match=said):
        read(lines, slots=1)


@pytest.mark.parametrize("slots", [1, 2, 3])
def test_how_many_models_workers_keep_shows_in_the_loads_that_were_counted_with(slots: int) -> None:
    kept: list[str] = []
    lines = []
    for number, model in enumerate("abacbcabdacbdab" * 3):
        load = 0.0 if model in kept else 5.0
        kept = [model, *(name for name in kept if name != model)][:slots]
        told = json.loads(line(f"p{number}", number, number, load=load))
        lines.append(json.dumps({**told, "loads": {model: 5.0}}))
    assert read(lines, slots=None).trace.slots == slots
