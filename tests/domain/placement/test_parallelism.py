"""`client_parallelism`: how many prompts of one caller run at a time."""

from __future__ import annotations

from random import Random

from gateway.domain.ids import PromptId, WorkerName
from gateway.domain.placement import POLICIES, Placement, Waiting
from tests.domain.placement.makers import place, runs, wants, worker

NOTHING = wants()


def placement(workers: int) -> Placement:
    found = Placement(POLICIES["least-queue"](Random(1)), parallelism=2)
    for number in range(workers):
        found.worker_seen(worker(f"w{number}"))
    return found


def drain(placement: Placement, callers: dict[PromptId, str]) -> list[str]:
    placed = []
    while (chosen := placement.decide(0.0)) is not None:
        runs(placement, chosen.id, chosen.worker, NOTHING, callers[chosen.id])
        placed.append(str(chosen.id))
    return placed


def test_one_caller_runs_no_more_than_allowed_and_others_are_not_held_up() -> None:
    farm = placement(4)
    callers = {PromptId(f"{who}{n}"): who for n in range(3) for who in "ab"}
    for seq, (id, who) in enumerate(callers.items()):
        farm.waits(Waiting(id, NOTHING, who, seq, seq), 0)
    assert drain(farm, callers) == ["a0", "b0", "a1", "b1"]


def test_the_next_one_runs_when_one_has_ended() -> None:
    farm = placement(4)
    callers = {PromptId(f"a{n}"): "a" for n in range(4)}
    for seq, id in enumerate(callers):
        farm.waits(Waiting(id, NOTHING, "a", seq, seq), 0)
    assert drain(farm, callers) == ["a0", "a1"]
    farm.gone(PromptId("a0"), 1)
    assert drain(farm, callers) == ["a2"]
    farm.gone(PromptId("a1"), 2)
    farm.gone(PromptId("a2"), 2)
    assert drain(farm, callers) == ["a3"]


def test_a_requeued_prompt_counts_once() -> None:
    farm = placement(3)
    runs(farm, PromptId("a"), WorkerName("w0"), NOTHING, "a")
    runs(farm, PromptId("a"), WorkerName("w0"), NOTHING, "a")
    farm.waits(Waiting(PromptId("a"), NOTHING, "a", 0, 0), 1)
    callers = {PromptId(id): "a" for id in "abc"}
    for seq, id in enumerate("bc", 1):
        farm.waits(Waiting(PromptId(id), NOTHING, "a", seq, seq), 1)
    assert drain(farm, callers) == ["a", "b"]


def test_what_just_came_waits_for_the_one_that_drains_the_queue() -> None:
    """Two gateways that place at once would both see room."""
    assert place(placement(3), NOTHING, "a") is None
