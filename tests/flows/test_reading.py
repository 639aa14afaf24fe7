from __future__ import annotations

import json
from dataclasses import replace

import pytest

from gateway.domain.callers import Caller
from gateway.domain.ids import ClientId, PromptId
from gateway.domain.labels import Wishes
from gateway.domain.learning import Learner
from gateway.domain.placement import LeastQueue, Placement
from gateway.domain.submission import parse
from gateway.flows.reading import Reading
from tests.farm import picture
from tests.flows.replica import replica
from tests.scripted import shipped_nodes

pytestmark = pytest.mark.anyio


async def test_a_submission_becomes_a_prompt(state: str) -> None:
    async with replica(state) as here:
        known = await here.catalogues.save(json.dumps(shipped_nodes()).encode())
        here.catalogues.retain([known.digest])
        placement = Placement(LeastQueue())
        reading = Reading(here.catalogues, Learner(), placement, lambda work: replace(work, nodes="weighed"))
        graph = {**picture(), "9": {"class_type": "PreviewImage", "inputs": {"images": ["1", 0]}}}
        body = {"prompt": graph, "client_id": "me", "front": True, "partial_execution_targets": ["3"]}
        new = reading.prompt(
            parse(body, PromptId("minted")), Caller(ClientId("me"), "10.0.0.1"), Wishes(frozenset({"big"}), 7)
        )
        assert (new.number, new.client_id, new.peer, new.priority) == ("front", "me", "10.0.0.1", 7)
        assert new.demand.requires == {"big"}
        assert new.demand.classes == {"EmptyImage", "PreviewImage"}
        assert len(new.work.parts) == 2  # what the target needs
        assert new.work.nodes == "weighed"
        for given, number in (({"number": 3}, "3.0"), ({}, "auto")):
            sent = parse({"prompt": graph, **given}, PromptId("minted"))
            assert reading.prompt(sent, Caller(None, "a"), Wishes()).number == number
