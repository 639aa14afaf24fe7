"""How uploads get their names, and when a blob is nobody's any more."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from gateway.adapters.redis_inputs import RedisInputs
from gateway.domain.files.index import Naming
from gateway.domain.files.refs import FileRef, located
from gateway.domain.ids import WorkerName
from gateway.domain.ports.blobs import Blob
from gateway.domain.ports.inputs import Placed, Sent
from tests.adapters.stores import KEYS, Store, opened

pytestmark = pytest.mark.anyio
X = FileRef("input", "x.png")


@pytest.fixture
async def store(state: str) -> AsyncIterator[Store]:
    async with opened(state) as store:
        yield store


@pytest.fixture
def inputs(store: Store) -> RedisInputs:
    return RedisInputs(store.redis, store.run, KEYS)


def blob(data: str, key: str = "") -> Blob:
    """As if these bytes had been put."""
    return Blob(key or uuid.uuid4().hex, data.encode().hex().ljust(64, "0"), len(data))


async def place(inputs: RedisInputs, name: str, kept: Blob, *, overwrite: bool = False, compared: str = "") -> Placed:
    naming = Naming(located("input", "", name), name, overwrite)
    return await inputs.place(naming, kept, compared or kept.digest)


async def names(store: Store) -> dict[str, str]:
    """Each name, and the blob that it has."""
    return {ref.path: kept.blob for ref, kept in (await store.feed.all_files()).items()}


async def test_same_bytes_keep_the_name_and_others_are_counted(inputs: RedisInputs, store: Store) -> None:
    red, green, blue = blob("red"), blob("green"), blob("blue")
    assert await place(inputs, "x.png", red) == Placed(0, X, [])
    again = blob("red")
    assert await place(inputs, "x.png", again) == Placed(0, X, [again.key])
    assert (await place(inputs, "x.png", green)).ref.path == "x (1).png"
    assert (await place(inputs, "x.png", blob("green"))).count == 1
    assert (await place(inputs, "x.png", blue)).count == 2
    assert await names(store) == {"x.png": red.key, "x (1).png": green.key, "x (2).png": blue.key}
    assert await inputs.total() == len("redgreenblue")


async def test_overwriting_leaves_the_old_bytes_to_nobody(inputs: RedisInputs, store: Store) -> None:
    old, new = blob("old"), blob("new")
    await place(inputs, "x.png", old)
    assert await place(inputs, "x.png", new, overwrite=True) == Placed(0, X, [old.key])
    assert await names(store) == {"x.png": new.key}
    assert await inputs.known_blobs() == {new.key}
    assert await inputs.total() == 3


async def test_names_of_equal_bytes_share_one_blob(inputs: RedisInputs, store: Store) -> None:
    one, two = blob("same"), blob("same")
    await place(inputs, "x.png", one)
    assert (await place(inputs, "y.png", two)).useless == [two.key]
    assert await names(store) == {"x.png": one.key, "y.png": one.key}
    assert await inputs.total() == 4
    assert await inputs.remove(X, 0) is None
    assert await inputs.remove(FileRef("input", "y.png"), 0) == one.key
    assert await inputs.total() == 0


async def test_overwriting_with_the_same_bytes_is_a_new_time_of_writing(inputs: RedisInputs, store: Store) -> None:
    await place(inputs, "x.png", blob("same"))
    before = (await store.feed.all_files())[X]
    await place(inputs, "x.png", again := blob("same"), overwrite=True)
    after = (await store.feed.all_files())[X]
    assert after.blob == before.blob != again.key
    assert after.at >= before.at
    assert await inputs.total() == 4


async def test_a_repeated_call_changes_nothing_and_gives_no_blob_away(inputs: RedisInputs, store: Store) -> None:
    kept = blob("x")
    for overwrite in (False, True):
        await place(inputs, "x.png", kept, overwrite=overwrite)
        before = await store.feed.all_files()
        assert await place(inputs, "x.png", kept, overwrite=overwrite) == Placed(0, X, [])
        assert await store.feed.all_files() == before


async def test_a_mask_is_compared_by_what_was_sent_and_not_by_what_it_became(inputs: RedisInputs) -> None:
    await place(inputs, "x.png", blob("composed"), compared="mask")
    assert (await place(inputs, "x.png", blob("composed"), compared="mask")).count == 1


async def test_of_many_at_once_each_gets_a_name_of_its_own(inputs: RedisInputs, store: Store) -> None:
    placed = await asyncio.gather(*(place(inputs, "x.png", blob(f"bytes {n}")) for n in range(20)))
    assert sorted(one.count for one in placed) == list(range(20))
    assert len(await names(store)) == 20


async def test_a_change_is_news(inputs: RedisInputs, store: Store) -> None:
    version = (await store.feed.since(0)).version
    await place(inputs, "x.png", blob("x"))
    changes = await store.feed.since(version)
    assert changes.files == {X}
    assert (await store.feed.files([X, FileRef("input", "y")]))[FileRef("input", "y")] is None
    await inputs.remove(X, 0)
    assert await store.feed.files([X]) == {X: None}


async def test_what_was_used_of_late_is_not_removed(inputs: RedisInputs, store: Store) -> None:
    await place(inputs, "x.png", blob("x"))
    await place(inputs, "y.png", blob("y"))
    await store.redis.zadd(KEYS.inputs_used, {str(X): 1000, "input/y.png": 2000})
    await inputs.touch([X, FileRef("input", "nothing")])
    assert await inputs.remove(X, 60) is None
    oldest = await inputs.oldest(10)
    assert [ref.path for ref, _ in oldest] == ["y.png", "x.png"]
    assert await inputs.remove(X, 0) is not None
    assert len(await inputs.oldest(10)) == 1


async def test_what_a_worker_was_sent_is_remembered(inputs: RedisInputs) -> None:
    worker, odd = WorkerName("w"), FileRef("temp", 'a b/"ü ~.png')
    await inputs.note_sent(worker, X, Sent("d", '"e"'))
    await inputs.note_sent(worker, odd, Sent("d2", "e2"))
    assert await inputs.sent(worker, [odd, X, FileRef("input", "y")]) == {X: Sent("d", '"e"'), odd: Sent("d2", "e2")}
    assert await inputs.sent(WorkerName("other"), [X]) == {}
