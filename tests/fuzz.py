"""Frames without end against what reads them: `scripts/fuzz`. Many damaged ones fast, then hypothesis's own."""

from __future__ import annotations

import random
import sys
import time
from itertools import cycle

from hypothesis import HealthCheck, settings

from gateway.domain.frames import parse, plain, renamed
from gateway.domain.ids import AttemptId, PromptId
from gateway.domain.telling import Told
from tests.domain.socket_frames import damaged, real

EXAMPLES = 500
NEW = PromptId("new")
OLD = AttemptId("865b7f44-7b0a-4411-b180-4a0dda77b227")


def storm(seconds: float) -> int:
    """Recorded frames, each damaged in some places; returns how many there were. What one breaks is raised."""
    chance, told, number, ends = random.Random(), Told(), 0, time.monotonic() + seconds
    while time.monotonic() < ends:
        raw = chance.choice(real)
        for _ in range(chance.randrange(5)):
            at = min(chance.random(), chance.random() * 40 / (len(raw) or 1))  # heads matter most
            raw = damaged(raw, at, chance.randrange(9), chance.randbytes(chance.randrange(9)))
        try:
            use(raw, told, number)
        except Exception:
            print(f"broken by {raw!r}", file=sys.stderr)
            raise
        number += 1
    return number


def use(raw: str | bytes, told: Told, number: int) -> None:
    frame = parse(raw, text_ids=number % 2 == 0)
    assert type(renamed(frame, NEW, OLD)) is type(raw)
    if isinstance(raw, bytes):
        assert parse(plain(frame)).kind is frame.kind
    prompt_id = PromptId(str(number % 3))
    told.frame(prompt_id, frame)
    if number % 20 == 0:
        told.ended(prompt_id, "execution_success", {}, 0)
        told.began(prompt_id)


def properties(seconds: float) -> int:
    """Returns how many examples there were. The first that fails is raised, made as small as it can be."""
    settings.register_profile(
        "fuzz", max_examples=EXAMPLES, derandomize=False, database=None, suppress_health_check=list(HealthCheck)
    )
    settings.load_profile("fuzz")
    from tests.domain import test_frames, test_telling  # their settings are made of the profile that is loaded then

    tests = (
        test_frames.test_anything_is_a_frame_and_can_be_told_on,
        test_frames.test_a_renamed_event_differs_in_its_prompt_only,
        test_frames.test_the_downgrade_loses_nothing_and_holds_no_result_back,
        test_telling.test_any_frames_can_be_told,
    )
    ends, rounds = time.monotonic() + seconds, 0
    for test in cycle(tests):
        if time.monotonic() >= ends:
            break
        test()
        rounds += 1
    return rounds * EXAMPLES


if __name__ == "__main__":
    half = float(sys.argv[1]) / 2
    print(f"{storm(half)} damaged frames and {properties(half)} examples: nothing found")
