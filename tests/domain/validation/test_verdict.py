from __future__ import annotations

import json

import pytest

from gateway.domain.validation import Generation, Invalid
from gateway.domain.validation.reasons import reason


def test_a_refusal_is_answered_with_these_two_and_no_more() -> None:
    error = reason("prompt_no_outputs", "Prompt has no outputs", "")
    body = Invalid(error, {"1": {"errors": []}}, doubtful=True).body()
    assert json.dumps(body) == (
        '{"error": {"type": "prompt_no_outputs", "message": "Prompt has no outputs", "details": "", "extra_info": {}},'
        ' "node_errors": {"1": {"errors": []}}}'
    )


@pytest.mark.parametrize(("version", "generation"), [("0.3.64", Generation.OLD), ("0.38.1", Generation.NEW)])
def test_a_generation_is_named_by_its_version(version: str, generation: Generation) -> None:
    assert Generation(version) is generation


def test_no_other_version_is_one() -> None:
    with pytest.raises(ValueError, match="1\\.0"):
        Generation("1.0")
