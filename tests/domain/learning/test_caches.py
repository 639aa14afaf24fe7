from __future__ import annotations

from gateway.domain.ids import WorkerName
from gateway.domain.learning import Lesson
from gateway.domain.learning.caches import Caches
from gateway.domain.placement import Work

W = WorkerName("w")
FIRST = Work("s", parts=("load", "text", "sample-1", "save-1"))
SECOND = Work("s", parts=("load", "text", "sample-2", "save-2"))


def test_what_the_last_prompt_had_is_there() -> None:
    caches = Caches()
    assert caches.cached(FIRST, W) == 0
    caches.ran(FIRST, W, Lesson(1.0, done=0b1111))
    assert caches.cached(FIRST, W) == 0b1111
    assert caches.cached(SECOND, W) == 0b0011
    assert caches.cached(FIRST, WorkerName("other")) == 0
    caches.ran(Work("t", parts=("other",)), W, Lesson(1.0, done=1))
    assert caches.cached(FIRST, W) == 0
    caches.emptied(W)
    assert caches.cached(Work("t", parts=("other",)), W) == 0


def test_a_failure_leaves_what_was_done_and_what_was_there_of_it() -> None:
    caches = Caches()
    caches.ran(FIRST, W, Lesson(1.0, done=0b1111))
    caches.ran(SECOND, W, Lesson(1.0, cached=0b0011, done=0b0111, good=False))
    assert caches.cached(SECOND, W) == 0b0111
    assert caches.cached(FIRST, W) == 0b0011


def test_a_worker_that_keeps_nothing_is_believed_again_when_it_does() -> None:
    caches = Caches()
    for _ in range(3):
        caches.ran(FIRST, W, Lesson(1.0, done=0b1111, roots=((0, "Load"),)))
    assert caches.cached(FIRST, W) == 0
    assert not caches.changing
    caches.ran(SECOND, W, Lesson(1.0, cached=0b0011, done=0b1111))
    assert caches.cached(SECOND, W) == 0b1111


def test_workers_that_left_are_forgotten() -> None:
    caches = Caches()
    caches.ran(FIRST, W, Lesson(1.0, done=0b1111))
    caches.keep([])
    assert caches.cached(FIRST, W) == 0
    caches.restore({"ProbeModel": 2, "Other": 1})
    assert caches.changing == {"ProbeModel"}
    assert caches.dump() == {"ProbeModel": 2, "Other": 1}
