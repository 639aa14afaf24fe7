from __future__ import annotations

import json
import random
from dataclasses import replace
from statistics import median

import pytest

from gateway.domain.ids import WorkerName
from gateway.domain.learning import Learner, Lesson
from gateway.domain.placement import Model, Work
from tests.domain.learning.farm import GIB, Farm, Machine, picture

A, B = WorkerName("a"), WorkerName("b")
SECONDS = {"l": 0.2, "t": 0.3, "k": 8.0, "v": 0.5}
LOADS = {"x": 15.0, "y": 30.0, "z": 5.0}


def farm(noise: float = 0.1, **more: float) -> Farm:
    learner = Learner()
    learner.workers({A: 24 * GIB, B: 24 * GIB})
    return Farm(learner, SECONDS | more, LOADS, noise)


def error(predicted: float, ran: float) -> float:
    return abs(predicted - ran) / ran


@pytest.mark.parametrize("noise", [0.0, 0.1, 0.15])
@pytest.mark.parametrize("order", ["grouped", "mixed", "alternating"])
def test_after_twenty_runs_of_a_shape_the_median_error_is_at_most_a_quarter(noise: float, order: str) -> None:
    here = farm(noise)
    machines = [Machine(A), Machine(B, speed=0.4)]
    models = [model for model in LOADS for _ in range(40)]
    if order == "mixed":
        random.Random(2).shuffle(models)
    elif order == "alternating":
        models = list(LOADS) * 40
    seen = dict.fromkeys(LOADS, 0)
    errors = []
    for seed, model in enumerate(models):
        finding = here.runs(picture(model, seed), machines[seed % 2])
        seen[model] += 1
        if seen[model] > 20:
            errors.append(error(finding.predicted, finding.ran))
    assert median(errors) <= 0.25 * (1 if noise else 0.4)


def test_a_load_is_told_from_the_run() -> None:
    here, machine = farm(0.0), Machine(A)
    for seed in range(5):
        here.runs(picture("x", seed), machine)
    cold = here.runs(picture("y", 90), machine)
    here.runs(picture("y", 91), machine)
    back = here.runs(picture("x", 92), machine)
    assert cold.loading == pytest.approx(LOADS["y"], rel=0.2)
    assert back.loading == pytest.approx(LOADS["x"], rel=0.2)
    for _ in range(4):
        for model in ("y", "x"):
            here.runs(picture(model, here.place), machine)
    for name in ("x", "y"):
        assert here.learner.load(Model(name, 6 * GIB), A) == pytest.approx(LOADS[name], rel=0.2)
        fresh = replace(picture(name, 999), parts=())
        assert here.learner.run(fresh, A) == pytest.approx(sum(SECONDS.values()), rel=0.2)


def test_a_load_that_was_guessed_is_set_right_by_the_first_run_without_one() -> None:
    here, machine = farm(0.0), Machine(A)
    first = here.runs(picture("y", 0), machine)
    assert first.loading == pytest.approx(0.5 * first.ran, rel=0.2), "nothing is known: half and half"
    here.runs(picture("y", 1), machine)
    assert here.learner.load(Model("y", 6 * GIB), A) == pytest.approx(LOADS["y"], rel=0.2)


def test_what_a_worker_really_holds_is_found_out() -> None:
    """By its VRAM it could hold three; it drops all but the last."""
    here, machine = farm(), Machine(A)
    for seed in range(6):
        here.runs(picture("x", seed), machine)
    for seed in range(6, 36):
        here.runs(picture("xyyxxxy"[seed % 7], seed), machine)
    assert [model.name for model in here.learner.loaded(A)] == ["x"]
    assert {model.name for model in here.learner.missing(picture("y", 0), A)} == {"y"}
    assert here.learner.missing(picture("x", 0), A) == frozenset()


def test_a_load_shows_in_a_shape_that_never_ran_before_once_its_nodes_are_known() -> None:
    """Else many shapes that are seen once each would all teach their loads as runs, and the models seem to stay."""
    here, machine = farm(0.0), Machine(A)
    for seed, model in enumerate("xxxxyyyy"):
        here.runs(picture(model, seed, shape=f"s{seed}"), machine)
    assert {model.name for model in here.learner.loaded(A)} == {"x", "y"}
    back = here.runs(picture("x", 8, shape="s8"), machine)
    assert back.loading == pytest.approx(LOADS["x"], rel=0.3)
    assert [model.name for model in here.learner.loaded(A)] == ["x"]


def test_another_worker_is_taken_to_be_as_fast_as_it_was_with_other_shapes() -> None:
    here = farm(0.0)
    fast, slow = Machine(A), Machine(B, speed=0.5)
    for seed in range(10):
        here.runs(picture("x", seed), fast)
        here.runs(picture("x", seed), slow)
    for seed in range(10, 20):
        here.runs(picture("z", seed), fast)
    work = picture("z", 99)
    assert here.learner.run(replace(work, parts=()), B) / here.learner.run(replace(work, parts=()), A) > 1.5


def test_an_unknown_shape_goes_by_its_nodes_and_its_size() -> None:
    here = farm(0.0)
    machine = Machine(A)
    for seed in range(8):
        here.runs(picture("x", seed), machine)
    unknown = replace(picture("x", 99, shape="other"), parts=())
    known = here.learner.run(unknown, A)
    assert here.learner.run(replace(unknown, shape="large", size=80.0), A) == pytest.approx(known * 4**0.8, rel=0.1)
    assert known == pytest.approx(here.learner.run(replace(unknown, shape="sx"), A), rel=0.3)
    assert here.learner.typical(unknown) == pytest.approx(known, rel=0.3)


def test_nodes_in_the_cache_are_not_counted() -> None:
    here, machine = farm(0.0, t=6.0), Machine(A)
    for seed in range(8):
        here.runs(picture("x", seed), machine)
        here.runs(picture("x", seed, text="other"), machine)
    here.runs(picture("x", 90), machine)
    assert here.learner.run(picture("x", 90), A) < 0.1  # the very last prompt again
    another_seed, another_text = SECONDS["k"] + SECONDS["v"], 6.0 + SECONDS["k"] + SECONDS["v"]
    here.runs(picture("x", 91), machine)
    assert here.learner.run(picture("x", 99, text="new"), A) == pytest.approx(another_text, rel=0.1)
    for seed in range(3):
        here.runs(picture("x", seed), machine)
    assert here.learner.run(picture("x", 99), A) == pytest.approx(another_seed, rel=0.1)
    assert here.learner.run(picture("x", 99), B) > 1.3 * another_seed


def test_failures_and_interrupts_teach_no_times() -> None:
    here, machine = farm(0.0), Machine(A)
    for seed in range(4):
        here.runs(picture("x", seed), machine)
    work = picture("x", 50)
    before = here.learner.run(work, A)
    for _ in range(5):
        here.place += 1
        assert here.learner.ended(work, A, Lesson(500.0, 3, 3, good=False), here.place) is None
    assert here.learner.run(work, A) == before


def test_outliers_hardly_count_and_a_lasting_change_does() -> None:
    here, machine = farm(0.05), Machine(A)
    for seed in range(20):
        here.runs(picture("x", seed), machine)
    work = picture("x", 90)
    before = here.learner.run(work, A)
    here.seconds = {part: 20 * seconds for part, seconds in SECONDS.items()}
    here.runs(work, machine)
    assert here.learner.run(picture("x", 91), A) < 1.2 * before
    for seed in range(92, 100):
        here.runs(picture("x", seed), machine)
    assert here.learner.run(picture("x", 101), A) > 10 * before


@pytest.mark.parametrize("how", ["restart", "oom", "free"])
def test_what_a_worker_held_is_gone(how: str) -> None:
    here, machine = farm(0.0), Machine(A)
    for seed in range(4):
        here.runs(picture("x", seed), machine)
    assert here.learner.missing(picture("x", 9), A) == frozenset()
    cached = here.learner.run(picture("x", 9), A)
    if how == "oom":
        here.place += 1
        lesson = Lesson(1.0, 3, 3, good=False, oom=True)
        assert here.learner.ended(picture("x", 9), A, lesson, here.place) is None
    else:
        here.learner.emptied(A, nodes=how == "restart")
    assert here.learner.loaded(A) == []
    assert {model.name for model in here.learner.missing(picture("x", 9), A)} == {"x"}
    assert (here.learner.run(picture("x", 10), A) > cached) == (how == "restart")


def test_a_class_that_never_has_the_same_result_is_found_out() -> None:
    learner = Learner()
    work = Work("s", "n", parts=("image", "model", "save"))
    for place in range(1, 4):
        assert learner.changing == frozenset()
        learner.ended(work, A, Lesson(1.0, 0 if place == 1 else 1, 7, ((1, "ProbeModel"),)), place)
    assert learner.changing == {"ProbeModel"}


def test_a_worker_that_keeps_nothing_is_not_expected_to() -> None:
    learner = Learner()
    work = Work("s", "n", parts=("image", "save"))
    for place in range(1, 6):
        learner.ended(work, A, Lesson(5.0, 0, 3, ((0, "EmptyImage"),)), place)
    assert learner.changing == frozenset()
    assert learner.run(work, A) == pytest.approx(5.0, rel=0.2)


def test_what_was_learned_is_kept_as_json() -> None:
    here, machine = farm(), Machine(A)
    for seed in range(30):
        here.runs(picture("xyz"[seed // 3 % 3], seed), machine)
    again = Learner()
    again.workers({A: 24 * GIB, B: 24 * GIB})
    again.restore(json.loads(json.dumps(here.learner.dump())))
    for model in LOADS:
        work = replace(picture(model, 99), parts=())
        for worker in (A, B):
            assert again.run(work, worker) == pytest.approx(here.learner.run(work, worker), rel=0.001)
            assert again.load(Model(model, 6 * GIB), worker) == pytest.approx(
                here.learner.load(Model(model, 6 * GIB), worker), rel=0.001
            )
    assert again.loaded(A) == here.learner.loaded(A)
    assert again.ended(picture("x", 1), A, Lesson(1.0), here.place) is None  # it is in there already
    assert again.ended(picture("x", 1), A, Lesson(1.0), here.place + 1) is not None
    other = Learner()
    other.restore({"format": 99})
    assert other.place == 0


def test_its_memory_is_bounded() -> None:
    learner = Learner(max_keys=50)
    for place in range(1, 500):
        work = Work(f"s{place}", f"n{place}", frozenset({Model(f"m{place}", GIB)}), (f"p{place}",))
        learner.ended(work, A, Lesson(1.0, 0, 1, ((0, f"C{place}"),)), place)
    kept = learner.dump()
    assert len(kept["book"]) <= 50
    assert len(kept["residency"]["shelves"]["a"][0]) <= 32
    learner.workers({B: 0})
    assert learner.dump()["residency"]["shelves"] == {}
    for place in range(500, 5000):
        learner.ended(Work("s"), B, Lesson(1.0), place)
    assert len(learner.dump()["places"]) <= 1000


def test_with_nothing_learned_all_cost_the_same_and_loads_nothing() -> None:
    learner = Learner()
    assert learner.run(picture("x", 1), A) == learner.run(picture("y", 2), B) > 0
    assert learner.load(Model("x", GIB), A) == 0.0


def test_each_end_counts_once_also_when_its_news_comes_late() -> None:
    learner, work = Learner(), Work("s", "n")
    taught = [place for place in (5, 9, 7, 9, 5, 7, 8) if learner.ended(work, A, Lesson(1.0), place) is not None]
    assert taught == [5, 9, 7, 8]
    again = Learner()
    again.restore(json.loads(json.dumps(learner.dump())))
    taught = [place for place in (5, 6, 9, 7000, 7, 6999) if again.ended(work, A, Lesson(1.0), place) is not None]
    assert taught == [6, 7000, 6999]


def test_a_model_that_somebody_else_loaded_does_not_make_loads_look_free() -> None:
    here = farm(0.0)
    first, second = Machine(A), Machine(B)
    for seed in range(4):
        here.runs(picture("x", seed), first)
        here.runs(picture("y", seed), first)
    before = here.learner.load(Model("x", 6 * GIB), B)
    second.holds = frozenset({Model("x", 6 * GIB)})
    here.runs(picture("x", 90), second)
    assert here.learner.load(Model("x", 6 * GIB), B) > before / 10


def test_a_shape_that_ran_out_of_memory_is_known_by_the_largest_worker_that_it_did_so_on() -> None:
    learner, work = Learner(), picture("x", 0)
    for vram in (16 * GIB, 8 * GIB):
        learner.too_small(work, vram)
    again = Learner()
    again.restore(json.loads(json.dumps(learner.dump())))
    assert again.outgrown(work) == learner.outgrown(work) == 16 * GIB
    assert again.outgrown(picture("x", 0, shape="other")) == 0


def test_models_that_do_not_fit_together_are_not_expected_to_be_loaded_each_time() -> None:
    """ComfyUI keeps in its VRAM what of them it needs: told sizes are those of files."""
    learner = Learner()
    learner.workers({A: 24 * GIB})
    models = frozenset({Model("unet", 23 * GIB), Model("text", 9 * GIB)})
    for place, ran in enumerate([60.0] + [20.0] * 12, 1):
        found = learner.ended(Work("s", "n", models), A, Lesson(ran, 0, 0), place)
    assert found is not None
    assert found.predicted == pytest.approx(20.0, rel=0.1)
    assert not learner.missing(Work("s", "n", models), A)
