from __future__ import annotations

import json
from typing import Any

import pytest

from gateway.domain.errors import BadRequest
from gateway.flows.catalogues import Catalogues
from tests.domain.catalogues import BASE, info
from tests.flows.replica import replica

pytestmark = pytest.mark.anyio


def raw(**more: Any) -> bytes:
    return json.dumps({**BASE, **more}).encode()


async def test_workers_that_answer_alike_share_one_catalogue(state: str) -> None:
    async with replica(state) as here:
        first, again = [await here.catalogues.save(raw()) for _ in range(2)]
        assert first is again
        assert here.catalogues.get(first.digest) is first
        assert await here.catalogues.load(first.digest) is first


async def test_another_replica_reads_it_from_the_state(state: str) -> None:
    async with replica(state) as here, replica(state, "r2") as there:
        saved = await here.catalogues.save(raw())
        found = await there.catalogues.load(saved.digest)
        assert found is not None
        assert (found.digest, found.classes) == (saved.digest, saved.classes)
        assert await there.catalogues.load("nobody's") is None


async def test_garbage_is_refused_and_not_shared(state: str) -> None:
    async with replica(state) as here:
        for garbage in (b"", b"[]", b"<html>"):
            with pytest.raises(BadRequest):
                await here.catalogues.save(garbage)
        assert [key async for key in here.store.redis.scan_iter()] == []


async def test_the_union_is_of_what_is_in_use(state: str) -> None:
    async with replica(state) as here:
        catalogues: Catalogues = here.catalogues
        one = await catalogues.save(raw(Load=info({"model": [["a.pt"], {}]})))
        other = await catalogues.save(raw(Load=info({"model": [["b.pt"], {}]}), Extra=info()))
        assert catalogues.nodes == {}
        catalogues.retain([one.digest, other.digest, one.digest, "nobody's"])
        assert set(catalogues.nodes) == {*BASE, "Load", "Extra"}
        options = catalogues.nodes["Load"].inputs["model"].options
        assert options is not None
        assert set(options) == {"a.pt", "b.pt"}
        catalogues.retain([one.digest])
        assert set(catalogues.nodes) == {*BASE, "Load"}
        assert catalogues.get(other.digest) is None
