from __future__ import annotations

import asyncio

import pytest

from gateway.domain.ids import PromptId
from gateway.flows import early
from gateway.flows.early import Early

pytestmark = pytest.mark.anyio

A, B = PromptId("a"), PromptId("b")


def say(to: Early, id: PromptId, heard: list[str], *words: str) -> None:
    for word in words:
        to.tell(id, lambda word=word: heard.append(f"{id}: {word}"))  # type: ignore[misc]


def test_what_is_said_before_the_answer_is_told_after_it_in_order() -> None:
    heard: list[str] = []
    waiting = Early()
    waiting.posted(A)
    say(waiting, A, heard, "one", "two")
    say(waiting, B, heard, "one")
    assert heard == ["b: one"]
    assert A in waiting
    assert B not in waiting
    waiting.answered(A)
    say(waiting, A, heard, "three")
    assert heard == ["b: one", "a: one", "a: two", "a: three"]
    waiting.answered(A)
    assert heard[4:] == []


def test_an_answer_that_takes_long_is_waited_for_no_longer() -> None:
    heard: list[str] = []
    waiting = Early()
    waiting.posted(A)
    say(waiting, A, heard, *map(str, range(early._AT_MOST - 1)))
    assert heard == []
    say(waiting, A, heard, "last", "after it")
    assert len(heard) == early._AT_MOST + 1
    assert heard[-2:] == ["a: last", "a: after it"]


async def test_a_client_has_a_moment_to_begin_to_listen() -> None:
    heard: list[str] = []
    waiting = Early()
    waiting.posted(A)
    waiting.sent(A)
    waiting.sent(B)
    say(waiting, A, heard, "one")
    assert heard == []
    await waiting.told(A)
    assert heard == ["a: one"]


async def test_an_end_waits_for_the_answer() -> None:
    waiting = Early()
    waiting.posted(A)
    end = asyncio.create_task(waiting.told(A))
    waiting.answered(B)
    await asyncio.sleep(0)
    assert not end.done()
    waiting.answered(A)
    await end
    await waiting.told(A)


async def test_an_end_waits_for_the_answer_only_for_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(early, "_PATIENCE", 0.01)
    waiting = Early()
    waiting.posted(A)
    await waiting.told(A)
    assert A in waiting
