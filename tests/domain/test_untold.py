from __future__ import annotations

from gateway.domain.ids import ClientId
from gateway.domain.jobs import Ended, Job, Outcome
from gateway.domain.untold import Untold
from tests.domain import facts

ME = ClientId("me")


def ended(id: str, at: float, client_id: str | None = "me") -> Job:
    return facts.job(id, client_id=client_id, state=Ended(Outcome.SUCCEEDED, at, 1, None, b"{}"))


def ids(jobs: list[Job]) -> list[str]:
    return [job.id for job in jobs]


def test_what_ended_is_told_once_in_order() -> None:
    untold = Untold()
    for id in "abc":
        untold.note(ended(id, 100.0), 100.0)
    assert ME in untold
    assert ids(untold.take(ME, 101.0)) == ["a", "b", "c"]
    assert ME not in untold
    assert untold.take(ME, 101.0) == []


def test_a_minute_later_nobody_waits_for_it() -> None:
    untold = Untold()
    untold.note(ended("a", 100.0), 100.0)
    untold.note(ended("b", 130.0), 130.0)
    assert ids(untold.take(ME, 161.0)) == ["b"]
    untold.note(ended("old", 100.0), 161.0)
    assert len(untold) == 0


def test_who_was_told_elsewhere_is_forgotten() -> None:
    untold = Untold()
    untold.note(ended("a", 100.0), 100.0)
    untold.note(ended("b", 100.0, "another"), 100.0)
    untold.forget([ME, ClientId("unknown")])
    assert (ME in untold, ClientId("another") in untold) == (False, True)


def test_it_is_bounded_whoever_never_comes() -> None:
    untold = Untold()
    for number in range(5000):
        untold.note(ended(f"mine {number}", 100.0), 100.0)
        untold.note(ended(f"{number}", 100.0, f"client {number}"), 100.0)
        untold.note(ended("nobody's", 100.0, None), 100.0)
    assert len(untold) == 1099
    assert ids(untold.take(ME, 100.0))[-1] == "mine 4999"
    untold.note(ended("later", 200.0), 200.0)
    assert len(untold) == 1, "what is old goes when something comes"
