from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from gateway.adapters import redis_scripts
from gateway.adapters.redis_client import connect
from gateway.adapters.redis_keys import CHANGES_KEPT
from gateway.adapters.redis_scripts import Scripts, translated
from gateway.domain.errors import StoreUnavailable
from tests.adapters.stores import DONE, KEYS, ROOM, Store, contents, new, opened

pytestmark = pytest.mark.anyio

LUA = Path(redis_scripts.__file__).with_name("lua")
OPERATIONS = sorted(path for path in LUA.glob("*.lua") if not path.name.startswith("_"))


@pytest.fixture
async def store(state: str) -> AsyncIterator[Store]:
    async with opened(state) as store:
        yield store


@pytest.mark.parametrize("path", OPERATIONS, ids=lambda path: path.stem)
def test_an_operation_says_what_it_takes_and_gives(path: Path) -> None:
    """What it uses of KEYS and ARGV is what its header numbers."""
    lines = path.read_text().splitlines()
    header = [line for line in lines if line.startswith("--")]
    body = "\n".join(lines[len(header) :])
    told = " ".join(line.removeprefix("--").strip() for line in header)
    keys, _, args = told.partition("ARGV")
    assert "KEYS" in keys
    for name, text in (("KEYS", keys.partition("KEYS")[2]), ("ARGV", args.partition("Returns")[0])):
        numbered = [int(number) for number in re.findall(r"(?:^|\s)(\d+)(?:\.\.)?\s", text)]
        assert numbered == [*range(1, len(numbered) + 1)], name
        used = {int(number) for number in re.findall(name + r"\[(\d+)\]", body)}
        assert used <= set(numbered), name


def test_the_changes_that_are_kept_are_as_many_as_is_said() -> None:
    trims = [text for path in LUA.glob("*.lua") for text in re.findall(r"'MAXLEN', '~', (\d+)", path.read_text())]
    assert set(trims) == {str(CHANGES_KEPT)}


async def test_what_a_server_forgot_is_sent_again(store: Store) -> None:
    await store.jobs.accept(new("p"), ROOM)
    await store.redis.script_flush()
    await store.jobs.accept(new("q"), ROOM)
    assert await store.feed.all_ids() == ["p", "q"]


async def test_each_run_is_told_with_its_time_also_one_that_fails(state: str) -> None:
    seen: list[tuple[str, float]] = []
    redis = connect(state)
    run = Scripts(redis, lambda name, seconds: seen.append((name, seconds)))
    await redis.set(KEYS.history, "no sorted set", ex=9)
    with pytest.raises(StoreUnavailable, match="WRONGTYPE"):
        await run("forget", [KEYS.version, KEYS.changes, KEYS.history, "j", "r"], ["p"])
    assert await run("home", [KEYS.version, KEYS.changes, KEYS.home], ["w"]) == 1
    assert [name for name, _ in seen] == ["forget", "home"]
    assert all(0 < seconds < 5 for _, seconds in seen)
    await redis.aclose()


@pytest.mark.parametrize("error", [OSError("gone"), TimeoutError()])
def test_what_the_connection_suffers_is_said_in_our_words(error: Exception) -> None:
    with pytest.raises(StoreUnavailable, match=type(error).__name__), translated():
        raise error


def test_our_own_faults_are_not_hidden() -> None:
    with pytest.raises(KeyError), translated():
        raise KeyError("x")


async def test_a_server_without_memory_takes_no_prompt_by_half_and_lets_those_it_has_end(store: Store) -> None:
    await store.jobs.accept(new("p"), ROOM)
    before = await contents(store.redis)
    await store.redis.config_set("maxmemory", 1)
    try:
        with pytest.raises(StoreUnavailable):
            await store.jobs.accept(new("q"), ROOM)
        assert await contents(store.redis) == before
        assert await store.jobs.finish(new("p").id, None, DONE)
    finally:
        await store.redis.config_set("maxmemory", 0)
    assert await store.kind(new("p").id) == "Ended"
    assert await store.jobs.records([new("p").id]) == [DONE.record]
