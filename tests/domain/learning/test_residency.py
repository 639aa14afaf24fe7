from __future__ import annotations

import json

from gateway.domain.ids import WorkerName
from gateway.domain.learning.residency import Residency
from gateway.domain.placement import Model

GIB = 2**30
W, V = WorkerName("w"), WorkerName("v")
A, B, C = (Model(name, 6 * GIB) for name in "abc")


def after(*runs: Model, vram: int = 14 * GIB) -> Residency:
    residency = Residency()
    for model in runs:
        residency.ran(W, [model])
    return residency


def held(residency: Residency, vram: int = 14 * GIB) -> str:
    return "".join(model.name for model in residency.loaded(W, vram))


def test_the_least_recently_used_goes_when_there_is_no_room() -> None:
    assert held(Residency()) == ""
    assert held(after(A, B)) == "ab"
    assert held(after(A, B, C)) == "bc"
    assert held(after(A, B, A, C)) == "ac"
    assert held(after(A, B, C), vram=0) == "abc"
    assert held(after(A), vram=GIB) == "a"  # it ran, so it was there
    assert after(A, B).missing(W, [A, C], 14 * GIB) == {C}


def test_what_the_last_prompt_needed_is_there_whatever_it_is_said_to_take() -> None:
    residency = after(C)
    residency.ran(W, [A, B])
    assert held(residency, vram=8 * GIB) == "ab"
    again = Residency()
    again.restore(json.loads(json.dumps(residency.dump())))
    assert held(again, vram=8 * GIB) == "ab"
    residency.ran(W, [C])
    assert held(residency, vram=8 * GIB) == "c"


def test_emptied_and_filled_again() -> None:
    residency = after(A, B)
    residency.emptied(W)
    residency.emptied(V)
    assert held(residency) == ""
    assert residency.missing(W, [A], 0) == {A}
    residency.ran(W, [])
    assert held(residency) == ""
    residency.ran(W, [C])
    assert held(residency) == "c"


def test_less_room_than_was_thought() -> None:
    residency = after(A, B)
    residency.was_gone(W, [A], 24 * GIB)
    residency.ran(W, [A])
    assert held(residency, 24 * GIB) == "a"
    residency.ran(V, [A])
    residency.ran(V, [B])
    assert [model.name for model in residency.loaded(V, 24 * GIB)] == ["b"]  # so it is with the others, until shown
    residency.was_gone(W, [A], 24 * GIB)  # nothing else came in since: that says nothing about room
    assert held(residency, 24 * GIB) == "a"


def test_more_room_than_was_thought_when_it_shows_again_and_again() -> None:
    residency = after(A, B, C)
    for _ in range(2):
        residency.was_there(W, [A], 14 * GIB)
    assert held(residency) == "bc"
    residency.was_missing(W)
    for _ in range(3):
        residency.was_there(W, [A], 14 * GIB)
    assert held(residency) == "abc"


def test_it_is_kept_as_json_and_workers_that_left_are_forgotten() -> None:
    residency = after(A, B, C)
    residency.was_gone(W, [A], 0)
    again = Residency()
    again.restore(json.loads(json.dumps(residency.dump())))
    assert held(again) == held(residency) == "bc"
    assert again.dump() == residency.dump()
    assert again.may_be_there(W, [A, C])
    assert not again.may_be_there(V, [A])
    again.keep([V])
    assert held(again) == ""
