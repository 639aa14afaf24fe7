from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.adapters.blobs import ObjectBlobs, open_store
from gateway.adapters.redis_inputs import RedisInputs
from gateway.domain.errors import NotFound
from gateway.domain.files.index import Naming
from gateway.domain.files.refs import FileRef
from gateway.flows.kept_files import KeptFiles
from tests.adapters.stores import KEYS
from tests.flows.replica import replica

pytestmark = pytest.mark.anyio
X = FileRef("input", "x.png")


async def one(data: bytes) -> AsyncIterator[bytes]:
    yield data


async def test_what_is_written_anew_is_read_anew_on_any_replica(state: str, tmp_path: Path) -> None:
    blobs = ObjectBlobs(open_store(str(tmp_path)), "inputs")
    async with replica(state) as here, replica(state, "r2") as there:
        files = KeptFiles(there.mirror, blobs)
        assert await files.find(X) is None
        store = RedisInputs(here.store.redis, here.store.run, KEYS)
        for data in (b"first", b"second"):
            blob = await blobs.put(one(data))
            await store.place(Naming(X, "x.png", overwrite=True), blob, blob.digest)
            async with files.open(X, 1) as chunks:
                assert b"".join([chunk async for chunk in chunks]) == data[1:]
        await store.remove(X, 0)
        with pytest.raises(NotFound):
            async with files.open(X):
                pass
