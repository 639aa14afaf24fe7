from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.ids import PromptId
from gateway.domain.placement import Waiting
from tests.domain.placement.makers import changed, offering, placement, served, waiting, wants, worker

BOUNDED = settings(deadline=None, derandomize=True, max_examples=80)


def test_kinds_that_the_same_workers_fit_share_a_group() -> None:
    state = placement(worker("x"), worker("y"))
    for seq, kind in enumerate(("a", "a b", "a c")):
        demand = replace(wants(*kind.split()), models=frozenset({"a"}))
        state.waits(waiting(f"p{seq}", seq, demand=demand), 0.0)
    assert len(state._lines.groups) == 1
    state.worker_seen(changed(worker("y"), catalogue=offering("a", "c")))
    assert len(state._lines.groups) == 2, "one of them fits x only"
    state.worker_seen(worker("y"))
    assert [id for id, _ in served(state)] == ["p0", "p1", "p2"]


hardness = st.lists(st.tuples(st.sampled_from("abc"), st.booleans()), max_size=12)


@BOUNDED
@given(hardness, st.sets(st.integers(0, 11)))
def test_a_hard_prompt_passes_none_of_its_callers_and_none_passes_it(
    rows: list[tuple[str, bool]], cancelled: set[int]
) -> None:
    state = placement(worker("x"), worker("y"))
    prompts = [_row(seq, model, hard) for seq, (model, hard) in enumerate(rows)]
    for prompt in prompts:
        state.waits(prompt, 0.0)
    for seq in cancelled & set(range(len(rows))):
        state.gone(prompts[seq].id, 0.0)
    left = {prompt.id: prompt for seq, prompt in enumerate(prompts) if seq not in cancelled}
    for id, _ in served(state):
        prompt = left.pop(PromptId(id))
        passed = [other for other in left.values() if other.number < prompt.number]
        assert not any(other.hard or prompt.hard for other in passed)
    assert not left


def _row(seq: int, model: str, hard: bool) -> Waiting:
    return replace(waiting(f"p{seq:02}", seq, demand=wants(model), number=-seq if hard else seq), hard=hard)
