"""The property tests on what comes from outside, for as long as one likes: `scripts/fuzz`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from itertools import cycle

from hypothesis import HealthCheck, settings

from tests.domain import test_frames, test_telling

EXAMPLES = 500
TESTS: list[Callable[[], None]] = [
    test_frames.test_anything_is_a_frame_and_can_be_told_on,
    test_frames.test_a_renamed_event_differs_in_its_prompt_only,
    test_frames.test_the_downgrade_loses_nothing_and_holds_no_result_back,
    test_telling.test_any_frames_can_be_told,
]


def main(seconds: float) -> None:
    """Raises what the first failing example raises, and hypothesis prints it made as small as it can be."""
    ends, rounds = time.monotonic() + seconds, 0
    longer = settings(
        max_examples=EXAMPLES,
        derandomize=False,
        database=None,
        deadline=None,
        suppress_health_check=list(HealthCheck),
    )
    for test in cycle([longer(test) for test in TESTS]):
        if time.monotonic() >= ends:
            break
        test()
        rounds += 1
    print(f"{rounds * EXAMPLES} examples, nothing found")


if __name__ == "__main__":
    main(float(sys.argv[1]))
