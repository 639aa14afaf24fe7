from __future__ import annotations

from pathlib import Path

import pytest

from tests.uploading import a_color, drains, load, png, running_farm, shown, upload

pytestmark = pytest.mark.anyio


async def test_a_file_on_one_workers_own_disk_is_brought_to_the_other(state: str, tmp_path: Path) -> None:
    color = a_color()
    (tmp_path / "w1/input/own").mkdir(parents=True)
    (tmp_path / "w1/input/own/y.png").write_bytes(png(color))
    async with running_farm(state, tmp_path) as (whole, _):
        client = whole.client()
        await drains(whole, "w1")
        assert await shown(client, await client.submit(load("own/y.png"))) == color


async def test_an_input_that_only_a_worker_has_is_seen(state: str, tmp_path: Path) -> None:
    (tmp_path / "w1/input").mkdir(parents=True)
    (tmp_path / "w1/input/own.png").write_bytes(png((1, 2, 3)))
    async with running_farm(state, tmp_path) as (whole, _):
        client = whole.client()
        seen = await client.ask("GET", "/view", params={"filename": "own.png", "type": "input"})
        assert (seen.status, seen.body) == (200, png((1, 2, 3)))
        gone = await client.ask("GET", "/view", params={"filename": "gone.png", "type": "input"})
        assert (gone.status, gone.body) == (404, b"")


async def test_a_name_that_a_worker_has_is_taken(state: str, tmp_path: Path) -> None:
    """What its disk has under that name stays what it is."""
    (tmp_path / "w1/input").mkdir(parents=True)
    (tmp_path / "w1/input/own.png").write_bytes(png((1, 2, 3)))
    async with running_farm(state, tmp_path) as (whole, _):
        client = whole.client()
        assert (await upload(client, "own.png", png((1, 2, 3)))).json["name"] == "own.png"
        assert (await upload(client, "own.png", png((9, 9, 9)))).json["name"] == "own (1).png"
        assert (tmp_path / "w1/input/own.png").read_bytes() == png((1, 2, 3))
