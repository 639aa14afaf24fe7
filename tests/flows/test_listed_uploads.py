"""What was uploaded is in every list at once, on every gateway."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.farm import Client
from tests.uploading import a_color, png, running_farm, upload

pytestmark = pytest.mark.anyio


async def listed(client: Client, node: str = "LoadImage", field: str = "image") -> list[str]:
    names: list[str] = (await client.get("/object_info"))[node]["input"]["required"][field][0]
    one = (await client.get(f"/object_info/{node}"))[node]["input"]["required"][field][0]
    assert one == names
    return names


async def test_an_upload_shows_at_once_before_what_workers_have(state: str, tmp_path: Path) -> None:
    (tmp_path / "w0/input").mkdir(parents=True)
    (tmp_path / "w0/input/own.png").write_bytes(png((1, 2, 3)))
    async with running_farm(state, tmp_path, replicas=2) as (whole, _):
        here, there = whole.client(at=0), whole.client(at=1)
        before = await there.ask("GET", "/object_info")
        for name in ("one.png", "two.png", "sound.wav"):
            assert (await upload(here, name, png(a_color()))).status == 200
        assert (await listed(there))[:3] == ["two.png", "one.png", "own.png"]
        after = await there.ask("GET", "/object_info", headers={"If-None-Match": before.headers["ETag"]})
        assert after.status == 200
        assert await there.get("/internal/files/input") == ["sound.wav", "two.png", "one.png", "own.png"]
        await upload(here, "three.png", png(a_color()))
        assert (await listed(there))[0] == "three.png"
        assert (await there.get("/internal/files/input"))[0] == "three.png"
        assert (await there.ask("GET", "/object_info", headers={"If-None-Match": before.headers["ETag"]})).status == 200
