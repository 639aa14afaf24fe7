from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.learning.lesson import Lesson, lesson_of, load
from gateway.domain.placement import Work
from gateway.domain.shapes import work_of
from tests.domain.catalogues import RECORDINGS, node, recorded

GRAPH = {
    "1": node("EmptyImage", width=8, height=8, batch_size=1, color=1),
    "2": node("ProbeModel", image=["1", 0], model="a.safetensors", load_seconds=1.0),
    "3": node("PreviewImage", images=["2", 0]),
    "9": node("EmptyImage", width=8, height=8, batch_size=1, color=2),
}
WORK = work_of(GRAPH, recorded().nodes, ("3",))


def record(*messages: Any, status: str = "success", outputs: tuple[str, ...] = ("3",)) -> dict[str, Any]:
    return {
        "prompt": [1, "p", GRAPH, {}, list(outputs)],
        "outputs": {},
        "status": {"status_str": status, "completed": status == "success", "messages": list(messages)},
    }


def said(event: str, at: int, **data: Any) -> list[Any]:
    return [event, {"prompt_id": "p", "timestamp": at, **data}]


START, CACHED = said("execution_start", 1000), said("execution_cached", 1001, nodes=["1"])
SUCCESS = said("execution_success", 3500)


def test_a_success_teaches_its_time_and_what_was_cached() -> None:
    assert lesson_of(record(START, CACHED, SUCCESS), WORK) == Lesson(2.5, 0b001, 0b111, ((1, "ProbeModel"),))


def test_a_failure_teaches_what_was_done() -> None:
    error = said("execution_error", 2000, executed=["2"], exception_type="RuntimeError")
    told = lesson_of(record(START, CACHED, error, status="error"), WORK)
    assert told == Lesson(1.0, 0b001, 0b011, ((1, "ProbeModel"),), good=False)
    oom = said("execution_error", 2000, executed=[], exception_type="torch.OutOfMemoryError")
    told = lesson_of(record(START, CACHED, oom, status="error"), WORK)
    assert told is not None
    assert told.oom
    interrupted = said("execution_interrupted", 2000, executed=["2"])
    told = lesson_of(record(START, CACHED, interrupted, status="error"), WORK)
    assert told is not None
    assert not told.good


@pytest.mark.parametrize(
    "untold",
    [
        record(SUCCESS),
        record(["execution_start", {"prompt_id": "p"}], SUCCESS),
        record(START, CACHED, SUCCESS, outputs=("3", "9")),
        {"prompt": [1, "p", GRAPH, {}, ["3"]], "outputs": {}},
    ],
)
def test_what_is_not_told_teaches_nothing(untold: dict[str, Any]) -> None:
    assert lesson_of(untold, WORK) is None


def test_a_prompt_that_nobody_read_teaches_nothing() -> None:
    assert lesson_of(record(START, CACHED, SUCCESS), Work()) is None


def test_it_goes_with_its_prompt_as_text() -> None:
    told = Lesson(2.5, 5, 2**70 - 1, ((1, 'Odd "class"'),), good=False, oom=True)
    assert load(told.dump()) == told
    for wrong in ("", "[]", "{}", "[1,2,3]", '["x","","",[],1,0]'):
        assert load(wrong) is None


@pytest.mark.parametrize("name", ["success", "failing", "interrupting"])
def test_recorded_records(name: str) -> None:
    entries = json.loads((RECORDINGS / f"{name}.json").read_text())
    told = [entry for entry in entries if entry.get("http", {}).get("path", "").startswith("/history/")]
    lessons = []
    for entry in told:
        for one in entry["body"]["json"].values():
            work = work_of(one["prompt"][2], recorded().nodes, one["prompt"][4])
            lessons.append(lesson_of(one, work))
    assert lessons
    for lesson in lessons:
        assert lesson is not None
        assert 0 <= lesson.ran < 10
        assert lesson.cached & lesson.done == lesson.cached
    assert any(lesson.good for lesson in lessons if lesson) == (name != "failing")
