"""A prompt that names an output as its worker called it: emulated workers that all write the same names."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.farm import Client, Farm, sleeping
from tests.flows.test_outputs import files, rgb, saved
from tests.uploading import drains, load, png, running_farm, shown, upload, workers_of

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]
BARE = "ComfyUI_00001_.png [output]"


async def made_on(whole: Farm, client: Client, color: int, worker: str) -> None:
    """What the client has written, on this worker, with a name that every worker gives."""
    others = set(await whole.workers()) - {worker}
    for other in others:
        await drains(whole, other)
    file = files(await client.ended(await client.submit(saved(color))))["output"]
    assert file["filename"] == f"ComfyUI_00001_~{worker}.png"
    for other in others:
        await client.send(f"/gateway/workers/{other}/resume")


async def test_it_is_the_callers_own_where_every_worker_has_one_of_that_name(state: str, tmp_path: Path) -> None:
    """The pictures have the same size: nothing but the name and whose it is tells them apart."""
    async with running_farm(state, tmp_path, 3, replicas=2) as (whole, _):
        owners = [whole.client(at=n % 2) for n in range(3)]
        for n, owner in enumerate(owners):
            await made_on(whole, owner, 0x100000 * (n + 1), f"w{n}")
        for n, owner in enumerate(owners):
            ids = [await owner.submit(load(BARE, seconds=0.05)) for _ in range(2)]
            assert [await shown(owner, id) for id in ids] == [rgb(0x100000 * (n + 1))] * 2
            assert await workers_of(owner, ids) == {f"w{n}"}


@pytest.mark.parametrize("busy", [False, True])
async def test_anothers_is_missing_though_the_worker_has_it(state: str, tmp_path: Path, busy: bool) -> None:
    async with running_farm(state, tmp_path, 1) as (whole, _):
        owner, other = whole.client(), whole.client()
        await made_on(whole, owner, 0x123456, "w0")
        if busy:
            await owner.runs(await owner.submit(sleeping()))
        refused, unknown = await other.post(load(BARE)), await other.post(load("none.png [output]"))
        assert (refused.status, unknown.status) == (400, 400)
        [error] = refused.json["node_errors"]["1"]["errors"]
        assert error["details"] == f"image - Invalid image file: {BARE}"
        assert {**unknown.json, "node_errors": 0} == {**refused.json, "node_errors": 0}, "as a worker says it"


async def test_it_is_sent_to_a_worker_without_a_file_of_that_name(state: str, tmp_path: Path) -> None:
    """Under that very name, and it is not written over with another client's."""
    keeping: dict[str, Any] = {"keep_outputs": True, "blobs": (tmp_path / "blobs").as_uri()}
    async with running_farm(state, tmp_path, 2, **keeping) as (whole, workers):
        owner, other = whole.client(), whole.client()
        await made_on(whole, owner, 0x123456, "w0")
        shutil.rmtree(tmp_path / "w0/output")
        (tmp_path / "w0/output").mkdir()
        await made_again(whole, other, 0x654321)
        await drains(whole, "w0")
        for seconds in (0.0, 0.05):
            assert await shown(owner, await owner.submit(load(BARE, seconds=seconds))) == rgb(0x123456)
        first = (tmp_path / "w1/output/ComfyUI_00001_.png").read_bytes()
        workers[0].worker.die(9)
        await whole.sees(w0="down")
        await other.submit(load(BARE, seconds=0.1))  # waits for its worker
        assert await shown(owner, await owner.submit(load(BARE, seconds=0.15))) == rgb(0x123456)
        assert (tmp_path / "w1/output/ComfyUI_00001_.png").read_bytes() == first


async def made_again(whole: Farm, client: Client, color: int) -> None:
    """On the worker whose disk began anew, as another client."""
    await drains(whole, "w1")
    file = files(await client.ended(await client.submit(saved(color))))["output"]
    assert file["filename"] == "ComfyUI_00001_~w0.2.png"
    await client.send("/gateway/workers/w1/resume")


async def test_an_upload_of_that_type_is_an_input_by_its_name(state: str, tmp_path: Path) -> None:
    async with running_farm(state, tmp_path, 2) as (whole, _):
        client = whole.client()
        await upload(client, "up.png", png((1, 2, 3)), type="output")
        ids = [await client.submit(load("up.png [output]", seconds=0.2)) for _ in range(3)]
        assert [await shown(client, id) for id in ids] == [(1, 2, 3)] * 3
        assert await workers_of(client, ids) == {"w0", "w1"}
