"""Whether a worker's disk is the one it was: over the real state, with emulated workers and one that takes nothing."""

from __future__ import annotations

import shutil
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from gateway.adapters.comfy import ComfyApi
from gateway.adapters.relay import new_session
from gateway.domain.files import Lives
from gateway.domain.ids import WorkerName
from gateway.domain.workers import Worker
from gateway.emulator.serve import running
from gateway.emulator.settings import EmulatorSettings
from gateway.flows.lives import Disk
from tests.adapters.stores import Store, opened
from tests.farm import emulated, farm, picture
from tests.scripted import Scripted
from tests.servers import until

pytestmark = pytest.mark.anyio

W = WorkerName("w0")


@asynccontextmanager
async def looking(state: str) -> AsyncIterator[tuple[Store, Callable[[], Disk]]]:
    """Makes disks as replicas see them that share this state."""
    async with opened(state) as store, new_session(connect_timeout=1) as session:
        comfy = ComfyApi(session, connect_timeout=1)
        yield store, lambda: Disk(comfy, store.farm)


@pytest.mark.parametrize("version", ["0.3.64", "0.38.1"])
async def test_a_disk_is_known_again_and_one_that_began_anew_is_not(state: str, tmp_path: Path, version: str) -> None:
    settings = EmulatorSettings(directory=tmp_path, comfyui=version)
    async with looking(state) as (_, disk), running(settings) as server:
        worker = Worker(W, server.url)
        one, other = disk(), disk()
        assert one.lives is None
        assert await one.look(worker)
        assert one.lives == Lives(1, 1, 1)
        assert not await one.look(worker), "it is sure"
        await other.look(worker)
        assert other.lives == Lives(1, 1, 1), "another replica finds the same disk"
        shutil.rmtree(tmp_path / "output")
        (tmp_path / "output").mkdir()
        assert await one.ended(worker, ["temp"]) == Lives(1, 1, 1), "only what was written to is looked at"
        assert await one.ended(worker, ["output"]) == Lives(2, 1, 1)
        other.doubt()
        assert other.lives is None
        await other.look(worker)
        assert other.lives == Lives(2, 1, 1)


async def test_a_restart_wipes_temp_and_nothing_else(state: str, tmp_path: Path) -> None:
    settings = EmulatorSettings(directory=tmp_path)
    async with looking(state) as (_, disk):
        for life in (1, 2, 3):
            async with running(settings) as server:
                seen = disk()
                await seen.look(Worker(W, server.url))
                assert seen.lives == Lives(output=1, temp=life, input=1)


async def test_two_that_find_it_at_once_count_one_life(state: str, tmp_path: Path) -> None:
    async with looking(state) as (store, disk), running(EmulatorSettings(directory=tmp_path)) as server:
        worker = Worker(W, server.url)
        one, other = disk(), disk()
        await one.look(worker)
        await other.look(worker)
        shutil.rmtree(tmp_path / "output")
        (tmp_path / "output").mkdir()
        assert await one.ended(worker, ["output"]) == await other.ended(worker, ["output"]) == Lives(2, 1, 1)
        assert await store.farm.lives(W) == {"output": 2, "temp": 1, "input": 1}


async def test_a_state_that_was_lost_takes_the_life_that_the_disk_tells(state: str, tmp_path: Path) -> None:
    async with looking(state) as (store, disk), running(EmulatorSettings(directory=tmp_path)) as server:
        await store.farm.begin_life(W, "output", 0, 4)
        worker = Worker(W, server.url)
        await disk().look(worker)
        await store.redis.delete("{test}:disk:w0")
        again = disk()
        await again.look(worker)
        assert again.lives == Lives(5, 1, 1)


async def test_a_worker_that_keeps_no_marker_works_as_ever(state: str, scripted_worker: Scripted) -> None:
    async with looking(state) as (store, disk):
        worker = Worker(W, scripted_worker.url)
        seen = disk()
        await seen.look(worker)
        assert seen.lives == Lives(1, 1, 1)
        asked = scripted_worker.requests["POST /upload/image"]
        assert await seen.ended(worker, ["output", "temp"]) == Lives(1, 1, 1)
        assert scripted_worker.requests["POST /upload/image"] == asked, "it is not asked at every end"
        assert await store.farm.lives(W) == {}


async def test_nothing_is_known_of_a_worker_that_does_not_answer(state: str, scripted_worker: Scripted) -> None:
    async with looking(state) as (_, disk):
        worker = Worker(W, scripted_worker.url)
        await scripted_worker.down()
        seen = disk()
        assert await seen.ended(worker, ["output"]) == Lives()
        assert seen.lives is None


async def test_the_marker_is_not_where_clients_look(state: str, tmp_path: Path) -> None:
    async with emulated(EmulatorSettings(directory=tmp_path)) as workers, farm(state, *workers) as gateway:
        await gateway.client().ended(await gateway.client().submit(picture()))
        assert (tmp_path / "input" / "comfy-gateway").is_dir()
        for kind in ("input", "output", "temp"):
            listed = await gateway.client().get(f"/internal/files/{kind}")
            assert not [name for name in listed if "gateway" in name or name.startswith(".")]


async def test_all_replicas_know_the_lives_and_doubt_them_while_the_worker_is_away(
    state: str, scripted_worker: Scripted
) -> None:
    async with farm(state, scripted_worker, replicas=2) as gateway:

        async def told() -> list[dict[str, int] | None]:
            return [(await gateway.workers(at))["w0"]["lives"] for at in (0, 1)]

        async def known() -> bool:
            return await told() == [{"output": 1, "temp": 1, "input": 1}] * 2

        async def unknown() -> bool:
            return await told() == [None, None]

        await until(known, "both know them")
        await scripted_worker.down()
        await until(unknown, "both know that they may be others")
        await scripted_worker.up()
        await until(known, "both know them again", timeout=20)
