from __future__ import annotations

import pytest

from gateway.domain.files.refs import FileRef
from gateway.domain.ids import WorkerName
from gateway.domain.transfers import FIRST_RATE, OVERHEAD, Transfers, patience

A, B = WorkerName("a"), WorkerName("b")
X, Y = FileRef("input", "x"), FileRef("input", "y")
FILES = {X: "dx", Y: "dy"}
SIZES = {X: 10**8, Y: 10**9}


def test_what_is_there_costs_nothing_and_what_is_not_costs_by_its_size() -> None:
    transfers = Transfers()
    both = 2 * OVERHEAD + 1.1e9 / FIRST_RATE
    assert transfers.seconds(FILES, SIZES, A) == pytest.approx(both)
    transfers.there(A, X, "dx")
    assert transfers.seconds(FILES, SIZES, A) == pytest.approx(OVERHEAD + 1e9 / FIRST_RATE)
    transfers.there(A, Y, "dy")
    assert transfers.seconds(FILES, SIZES, A) == 0
    assert transfers.staged(FILES) == {A}
    assert transfers.seconds({X: "other"}, SIZES, A) > 0


def test_rates_are_learned_from_what_is_large_enough() -> None:
    transfers = Transfers()
    transfers.sent(A, 100, 10.0)
    assert transfers.seconds({X: "dx"}, SIZES, A) == pytest.approx(OVERHEAD + 1e8 / FIRST_RATE)
    for _ in range(30):
        transfers.sent(A, 10**8, 10.0)
    assert transfers.seconds({X: "dx"}, SIZES, A) == pytest.approx(OVERHEAD + 10, rel=0.01)
    assert transfers.seconds({X: "dx"}, SIZES, B) == pytest.approx(OVERHEAD + 1e8 / FIRST_RATE)
    assert transfers.typical([10**8]) == pytest.approx(OVERHEAD + 10, rel=0.01)


def test_workers_that_left_are_forgotten_and_memory_is_bounded() -> None:
    transfers = Transfers()
    for number in range(6000):
        transfers.there(A, FileRef("input", str(number)), "d")
    transfers.there(B, X, "dx")
    assert transfers.staged({FileRef("input", "0"): "d"}) == frozenset()
    assert transfers.staged({FileRef("input", "5999"): "d"}) == {A}
    transfers.retain([A])
    assert transfers.staged({X: "dx"}) == frozenset()


def test_patience_grows_with_the_size() -> None:
    assert patience(0) == 30
    assert patience(2**31) == 30 + 2048
