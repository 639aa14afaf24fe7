from __future__ import annotations

import json

from gateway.domain.validation import Invalid
from gateway.flows.replies import conflict, invalid
from tests.adapters.stores import new


def test_a_verdict_is_told_as_one_comfyui_tells_it() -> None:
    reply = invalid(Invalid({"type": "t"}, {"1": {}}, doubtful=True))
    assert (reply.status, reply.content_type) == (400, "application/json; charset=utf-8")
    assert json.loads(reply.body) == {"error": {"type": "t"}, "node_errors": {"1": {}}}


def test_a_conflict_names_the_prompt() -> None:
    assert "prompt_id the-one is taken" in conflict(new("the-one")).details
