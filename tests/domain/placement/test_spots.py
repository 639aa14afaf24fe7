from __future__ import annotations

from dataclasses import replace

import pytest

from gateway.domain.demand import Demand
from gateway.domain.ids import PromptId
from gateway.domain.placement.spots import DEPTH, Spot, unfit
from gateway.domain.workers import Down, HalfOpen, Suspect, Worker
from tests.domain.placement.makers import GIB, offering, wants, worker


@pytest.mark.parametrize(
    ("demand", "who", "reason"),
    [
        (wants("a"), worker("w"), None),
        (wants(), worker("w", liveness=Down(1.0), draining=True), None),
        (wants("a"), worker("w", catalogue=None), "its node list is not read yet"),
        (wants("x"), worker("w"), "Load.model has no 'x'"),
        (wants("a", node_class="Paint"), worker("w"), "node class Paint is not installed"),
        (wants("a", min_vram=24 * GIB), worker("w"), None),
        (wants("a", min_vram=24 * GIB + 1), worker("w"), f"too little VRAM: {24 * GIB} of {24 * GIB + 1} bytes"),
        (wants("a", min_vram=1), worker("w", vram=0), "too little VRAM: 0 of 1 bytes"),
        (wants("a"), worker("w", vram=0), None),
        (wants("x", min_vram=99 * GIB), worker("w", catalogue=offering("a")), "Load.model has no 'x'"),
        (replace(wants("a"), requires=frozenset({"big", "eu"})), worker("w"), "lacks the label big"),
        (replace(wants("a"), requires=frozenset({"eu"})), replace(worker("w"), labels=frozenset({"eu", "x"})), None),
    ],
)
def test_what_is_installed_decides_whether_it_fits(demand: Demand, who: Worker, reason: str | None) -> None:
    """Whether the worker takes anything at the moment is another question."""
    assert unfit(demand, who) == reason


def test_a_worker_as_placement_sees_it() -> None:
    spot = Spot(worker("w", foreign=2, free=5))
    assert (spot.name, spot.length, spot.free, spot.vram_free, spot.suspect) == ("w", 2, True, 5, False)
    spot.held.update(PromptId(str(number)) for number in range(DEPTH))
    assert (spot.length, spot.free) == (2 + DEPTH, False)
    assert Spot(worker("w", liveness=Suspect(0))).suspect
    assert not Spot(worker("w", liveness=HalfOpen())).suspect
