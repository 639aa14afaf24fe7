from __future__ import annotations

from gateway.domain.placement.groups import Entry, Group, Head, Pool, in_service, turn_of
from tests.domain.placement.makers import waiting

GROUP = Group(Pool(set()), frozenset())


def entry(id: str, seq: int, number: float, caller: str = "me", priority: int = 0) -> Entry:
    prompt = waiting(id, seq, number=number, caller=caller)
    return Entry(-priority, number, prompt.id, prompt, GROUP, 0.0, 1.0)


def head(found: Entry, key: float = 0.0) -> Head:
    return Head(found.band, key, found.prompt.seq, found)


def test_a_line_has_the_turn_of_its_oldest() -> None:
    assert turn_of([entry("front", 9, -9), entry("p", 1, 1)]) == 1


def test_priority_then_whose_turn_it_is_then_who_came_first() -> None:
    heads = [
        head(entry("late", 4, 4, "a")),
        head(entry("ahead", 1, 1, "b"), key=2.0),
        head(entry("early", 3, 3, "c")),
        head(entry("urgent", 9, 9, "d", priority=1), key=5.0),
    ]
    assert [each.entry.id for each in in_service(heads)] == ["urgent", "early", "late", "ahead"]


def test_a_callers_own_order_holds_within_the_places_that_it_has() -> None:
    heads = [
        head(entry("mine", 1, 5)),
        head(entry("other", 2, 2, "you")),
        head(entry("front", 3, -3)),
    ]
    assert [each.entry.id for each in in_service(heads)] == ["front", "other", "mine"]
