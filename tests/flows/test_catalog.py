from __future__ import annotations

import json
import random

import pytest

from gateway.domain.bodies import Body
from gateway.domain.errors import NoWorker
from gateway.flows.catalog import Catalog
from gateway.flows.listings import Patience
from tests.flows.worker_reads import FakeReads

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(20)]


def open_catalog(reads: FakeReads, *, patience: Patience | None = None) -> Catalog:
    quick = Patience(every=60, read=2, first=0.3, rest=0.2)
    return Catalog(reads, max_upload=100, patience=patience or quick, rng=random.Random(1))


def read(body: Body | None) -> object:
    assert body is not None
    return json.loads(body.plain)


async def test_features_are_the_gateways_own() -> None:
    async with open_catalog(FakeReads(a={})) as catalog:
        assert catalog.features().plain == b'{"supports_preview_metadata": true, "max_upload_size": 100}'


async def test_system_stats_are_those_of_all() -> None:
    reads = FakeReads(a={}, b={})
    async with open_catalog(reads) as catalog:
        with pytest.raises(NoWorker):
            catalog.system_stats()
        reads.tells("b", {"system": {"os": "nt", "argv": ["/secret"]}, "devices": [{"name": "cpu"}]})
        assert read(catalog.system_stats()) == {
            "system": {"os": "nt", "argv": ["main.py"]},
            "devices": [{"name": "cpu"}],
        }
        reads.tells("a", {"system": {"os": "posix"}, "devices": [{"name": "cpu"}]})
        both = read(catalog.system_stats())
        assert both == {
            "system": {"os": "posix"},
            "devices": [{"name": "cpu (a)", "index": 0}, {"name": "cpu (b)", "index": 1}],
        }


async def test_models_are_asked_for_by_a_quoted_folder() -> None:
    reads = FakeReads(a={"/models": ["loras"], "/models/a%2F..%3Fx": ["odd"]})
    async with open_catalog(reads) as catalog:
        assert read(await catalog.models()) == ["loras"]
        assert read(await catalog.models("a/..?x")) == ["odd"]
        assert await catalog.models("nope") is None


async def test_embeddings_and_extensions_have_paths_of_their_own() -> None:
    async with open_catalog(FakeReads(a={"/embeddings": ["e"], "/extensions": ["/x.js"]})) as catalog:
        assert read(await catalog.embeddings()) == ["e"]
        assert read(await catalog.extensions()) == ["/x.js"]


async def test_a_tick_brings_the_nodes_before_anybody_asks() -> None:
    reads = FakeReads(a={})
    reads.knows("a", "One")
    async with open_catalog(reads) as catalog:
        await catalog.tick()
        assert list(json.loads((await catalog.object_info()).plain)) == ["One"]
        assert list(json.loads((await catalog.node("One")).plain)) == ["One"]
        assert (await catalog.node("Nope")).plain == b"{}"


async def test_leaving_ends_what_is_under_way() -> None:
    reads = FakeReads(a={"/models": []})
    reads.holds("a")
    async with open_catalog(reads, patience=Patience(first=0.05)) as catalog:
        with pytest.raises(NoWorker):
            await catalog.models()
    assert reads._at_once == 0
