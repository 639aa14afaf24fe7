from __future__ import annotations

from gateway.domain.demand import Choice, Demand


def test_equal_needs_are_one_need_whatever_their_order() -> None:
    """So that many prompts share one, and what is known of it is found again."""
    choices = [Choice("Load", "ckpt_name", "a.pt"), Choice("Load", "vae_name", "b.pt")]
    one = Demand(frozenset({"Load", "Save"}), frozenset(choices), frozenset({"a.pt"}))
    other = Demand(frozenset({"Save", "Load"}), frozenset(choices[::-1]), frozenset({"a.pt"}), 0)
    assert len({one, other}) == 1
    assert one != Demand(one.classes, one.choices, one.models, 2**30)
    assert one != Demand(one.classes, one.choices, frozenset())


def test_a_choice_is_read_by_name_and_by_place() -> None:
    node_class, input, value = choice = Choice("Load", "ckpt_name", "a.pt")
    assert (choice.node_class, choice.input, choice.value) == (node_class, input, value)
