"""An outbox against a plain list: only what a newer item replaces is missing, and nothing changes places."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.outbox import Item, Outbox, Overflow

WIDE = 1 << 40
messages = st.lists(st.text(max_size=5) | st.binary(max_size=5), min_size=1, max_size=2).map(tuple)
items = st.builds(Item, messages, st.sampled_from([None, None, 1, ("preview", "p", "2"), ("progress", "p", "2")]))
actions = st.lists(st.none() | items)
"""An item is put; None takes one."""


def size(item: Item) -> int:
    return sum(len(m.encode() if isinstance(m, str) else m) for m in item.messages)


@settings(deadline=None)
@given(actions)
def test_items_come_out_in_order_and_only_replaced_ones_are_missing(actions: list[Item | None]) -> None:
    outbox, waiting = Outbox(WIDE, WIDE), list[Item]()
    for action in actions:
        if action is None:
            assert outbox.take() == (waiting.pop(0) if waiting else None)
        else:
            assert outbox.put(action) is None
            waiting = [item for item in waiting if item.key is None or item.key != action.key] + [action]
        assert len(outbox) == sum(len(item.messages) for item in waiting)
        assert outbox.bytes == sum(map(size, waiting))
    assert [outbox.take() for _ in waiting] == waiting
    assert (outbox.take(), len(outbox), outbox.bytes) == (None, 0, 0)


@settings(deadline=None)
@given(actions, st.integers(1, 20), st.integers(1, 5))
def test_nothing_is_given_up_without_an_overflow(actions: list[Item | None], max_bytes: int, max_messages: int) -> None:
    outbox, waiting = Outbox(max_bytes, max_messages), list[Item]()
    for action in actions:
        if action is None:
            assert outbox.take() == (waiting.pop(0) if waiting else None)
            continue
        waiting = [item for item in waiting if item.key is None or item.key != action.key] + [action]
        many, much = sum(len(item.messages) for item in waiting), sum(map(size, waiting))
        fits = len(waiting) == 1 or (many <= max_messages and much <= max_bytes)
        assert outbox.put(action) == (None if fits else Overflow(many, much))
        if not fits:
            assert_closed(outbox)
            return


def assert_closed(outbox: Outbox) -> None:
    told = outbox.overflow
    assert told is not None
    assert outbox.put(Item(("more",))) == told == outbox.overflow
    assert (outbox.take(), len(outbox), outbox.bytes) == (None, 0, 0)


def test_a_newer_progress_state_does_not_overtake_what_came_between() -> None:
    outbox = Outbox(WIDE, WIDE)
    for item in (Item(("state 1",), "state"), Item(("executing",)), Item(("state 2",), "state")):
        outbox.put(item)
    assert [outbox.take(), outbox.take()] == [Item(("executing",)), Item(("state 2",), "state")]


def test_an_empty_outbox_takes_a_result_of_any_size() -> None:
    outbox = Outbox(max_bytes=10, max_messages=2)
    huge = Item((bytes(1000),))
    assert outbox.put(huge) is None
    assert outbox.take() == huge
    assert outbox.put(huge) is None
    assert outbox.put(Item(("x",))) == Overflow(2, 1001)


def test_newer_previews_free_the_room_of_older_ones() -> None:
    outbox = Outbox(max_bytes=250, max_messages=10)
    outbox.put(Item(("executing",)))
    for _ in range(1000):
        assert outbox.put(Item((bytes(200),), "preview")) is None
    assert outbox.bytes == 209
