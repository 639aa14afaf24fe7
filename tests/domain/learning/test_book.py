from __future__ import annotations

import json
import math
from dataclasses import replace

import pytest

from gateway.domain.ids import WorkerName
from gateway.domain.learning.book import GUESS, Book
from gateway.domain.placement import Model, Work

GIB = 2**30
A, B = WorkerName("a"), WorkerName("b")
WORK = Work("s", "n", frozenset({Model("m", 6 * GIB)}), ("p", "q"), 1.0)


def seconds(book: Book, work: Work = WORK, worker: WorkerName | None = A, cached: int = 0) -> float:
    return math.exp(book.run(work, cached, worker))


def test_a_shape_is_drawn_to_what_is_more_general() -> None:
    book = Book()
    assert seconds(book) == pytest.approx(GUESS)
    book.teach_run(WORK, 0, A, 100.0)
    once = seconds(book)
    assert GUESS < once < 100
    assert once < seconds(book, worker=B) * 1.5
    assert GUESS < seconds(book, Work("t", "n", WORK.models)) <= once
    assert GUESS < seconds(book, Work("t", "o", WORK.models)) < once
    assert GUESS < seconds(book, Work("t", "o")) < once
    for _ in range(30):
        book.teach_run(WORK, 0, A, 100.0)
    assert seconds(book) == pytest.approx(100, rel=0.02)


def test_the_pace_of_a_worker_holds_for_shapes_it_never_ran() -> None:
    book = Book()
    for _ in range(10):
        for worker, factor in ((A, 1.0), (B, 3.0)):
            book.teach_run(WORK, 0, worker, 5.0 * factor)
    other = replace(WORK, shape="t")
    for _ in range(10):
        book.teach_run(other, 0, A, 20.0)
    assert seconds(book, other, B) / seconds(book, other, A) > 2
    assert seconds(book, other, None) > seconds(book, other, A)  # between them


def test_what_was_cached_is_learned_apart() -> None:
    book = Book()
    for _ in range(10):
        book.teach_run(WORK, 0, A, 10.0)
        book.teach_run(WORK, 1, A, 2.0)
    assert seconds(book) == pytest.approx(10, rel=0.1)
    assert seconds(book, cached=1) == pytest.approx(2, rel=0.15)
    assert seconds(book, cached=3) == pytest.approx(0.02)
    book.teach_run(WORK, 3, A, 0.001)
    assert seconds(book, cached=3) < 0.02
    assert seconds(book) == pytest.approx(10, rel=0.1)


def test_loads_go_by_the_file_then_by_its_size() -> None:
    book = Book()
    model = Model("m", 6 * GIB)
    assert book.load(model, A) == pytest.approx(GUESS)
    assert book.load(Model("none"), A) < 0.01
    for _ in range(5):
        book.teach_load(model, A, 30.0)
    assert book.load(model, A) == pytest.approx(30, rel=0.1)
    assert book.load(model, B) == pytest.approx(30, rel=0.2)
    assert book.load(Model("twice", 12 * GIB), A) == pytest.approx(60, rel=0.2)
    for _ in range(5):
        book.teach_load(model, B, 3.0)
    assert book.load(model, B) < 5
    assert book.loads_known(model) == 10
    assert book.loads_known(model, A) == 5


def test_the_least_used_keys_go() -> None:
    book = Book(max_keys=20)
    for at in range(40):
        book.teach_run(replace(WORK, shape=f"s{at}"), 0, A, 50.0)
    assert len(book) == 20
    assert book.shape_known(replace(WORK, shape="s39")) == 1
    assert book.shape_known(replace(WORK, shape="s0")) == 0
    again = Book(max_keys=10)
    again.restore({**json.loads(json.dumps(book.dump())), "w:x": "nonsense"})
    assert len(again) <= 10
    assert again.shape_known(replace(WORK, shape="s39")) == 1
