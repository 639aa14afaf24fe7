"""One output folder out of many: real gateways in front of emulated workers that all write the same names."""

from __future__ import annotations

import io
import json
import shutil
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from PIL import Image

from gateway.emulator.serve import Running, running
from gateway.emulator.settings import EmulatorSettings
from tests.conformance.transcripts import listening
from tests.farm import Answer, Client, Farm, Graph, emulated, farm, unique
from tests.flows import saying
from tests.scripted import Scripted

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(60)]


def saved(color: int, prefix: str = "ComfyUI", seconds: float = 0.0) -> Graph:
    """Saves and previews one picture of this colour."""
    picture = {"width": 16, "height": 16, "batch_size": 1, "color": color}
    sleep = {"image": ["1", 0], "seconds": seconds, "steps": 1, "seed": unique(), "preview": False}
    return {
        "1": {"class_type": "EmptyImage", "inputs": picture},
        "2": {"class_type": "ProbeSleep", "inputs": sleep},
        "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0], "filename_prefix": prefix}},
        "4": {"class_type": "PreviewImage", "inputs": {"images": ["2", 0]}},
    }


def files(record: dict[str, Any]) -> dict[str, dict[str, str]]:
    """Its one output and its one temp file, by type."""
    found = [file for node in ("3", "4") for file in record["outputs"][node]["images"]]
    return {file["type"]: file for file in found}


def rgb(color: int) -> tuple[int, ...]:
    return color >> 16, color >> 8 & 255, color & 255


def color_of(answer: Answer) -> tuple[int, ...] | int:
    """Of its first pixel, or the status of what is no picture."""
    if answer.status != 200:
        return answer.status
    pixel: Any = Image.open(io.BytesIO(answer.body)).convert("RGB").getpixel((0, 0))
    return tuple(pixel)


async def seen(client: Client, **query: str) -> Answer:
    return await client.ask("GET", f"/view?{urlencode(query)}")


def two(folder: Path) -> list[EmulatorSettings]:
    return [EmulatorSettings(directory=folder / name) for name in ("a", "b")]


async def on_both(whole: Farm, client: Client, prefix: str = "ComfyUI") -> list[tuple[int, dict[str, Any]]]:
    """A picture from each of two workers, with its colour; both write the same name."""
    colors = [0x112233, 0x445566]
    ids = [await client.submit(saved(color, prefix, seconds=0.5)) for color in colors]
    records = [await client.ended(id) for id in ids]
    workers = {(await client.job(id))["worker"] for id in ids}
    assert workers == {"w0", "w1"}, "each ran on a worker of its own"
    return list(zip(colors, records, strict=True))


async def test_each_prompt_has_its_own_pictures_by_every_way_to_name_them(state: str, tmp_path: Path) -> None:
    async with emulated(*two(tmp_path)) as workers, farm(state, *workers, replicas=2) as whole:
        client = whole.client()
        both = await on_both(whole, client)
        names = [files(record)["output"]["filename"] for _, record in both]
        assert sorted(names) == ["ComfyUI_00001_~w0.png", "ComfyUI_00001_~w1.png"]
        for color, record in both:
            for file in files(record).values():
                name, type = file["filename"], file["type"]
                for at in (0, 1):
                    anybody = whole.client(at=at)
                    answer = await seen(anybody, **file)
                    assert color_of(answer) == rgb(color)
                    assert answer.headers["Content-Disposition"] == f'filename="{name}"'
                    assert color_of(await seen(anybody, filename=f"{name} [{type}]", type="input")) == rgb(color)
                    assert color_of(await seen(anybody, **file, preview="webp;90", rand="0.1"))[0] in range(256)  # type: ignore[index]
            assert color_of(await seen(client, filename=files(record)["output"]["filename"])) == rgb(color)


async def test_clients_are_told_the_same_names_everywhere(state: str, tmp_path: Path) -> None:
    async with emulated(EmulatorSettings(directory=tmp_path)) as workers, farm(state, *workers) as whole:
        client = whole.client()
        async with listening(whole.http, whole.urls[0], client.client_id) as ear:
            id = await client.submit(saved(1, 'sub/fol "q" ü'))
            await ear.ended(id)
            record = await client.ended(id)
            told = {event["node"]: event["output"] for event in ear.of("executed")}
            assert told == record["outputs"]
        file = files(record)["output"]
        assert file == {"filename": 'fol "q" ü_00001_~w0.png', "subfolder": "sub", "type": "output"}
        job = await client.get(f"/api/jobs/{id}")
        assert job["preview_output"]["filename"] == file["filename"]
        assert job["outputs"] == record["outputs"]
        graph = record["prompt"][2]
        assert graph["3"]["inputs"]["filename_prefix"] == 'sub/fol "q" ü', "the prompt stays its client's"
        answer = await seen(client, **file)
        assert color_of(answer) == rgb(1)
        assert answer.headers["Content-Disposition"] == 'filename="fol \\"q\\" ü_00001_~w0.png"'


async def test_parts_heads_and_unchanged_files(state: str, tmp_path: Path) -> None:
    async with emulated(EmulatorSettings(directory=tmp_path)) as workers, farm(state, *workers) as whole:
        client = whole.client()
        file = files(await client.ended(await client.submit(saved(1))))["output"]
        whole_file = await seen(client, **file)
        target = f"/view?{urlencode(file)}"
        part = await client.ask("GET", target, headers={"Range": "bytes=2-9"})
        assert (part.status, part.body) == (206, whole_file.body[2:10])
        head = await client.ask("HEAD", target)
        assert (head.status, head.headers["Content-Length"]) == (200, str(len(whole_file.body)))
        known = await client.ask("GET", target, headers={"If-None-Match": whole_file.headers["ETag"]})
        assert (known.status, known.body) == (304, b"")


async def test_a_bare_name_is_the_callers_own_newest_file_or_nobodys(state: str, tmp_path: Path) -> None:
    async with emulated(*two(tmp_path)) as workers, farm(state, *workers) as whole:
        mine, other = whole.client(), whole.client()
        bare, me = {"filename": "ComfyUI_00001_.png"}, {"client_id": mine.client_id or ""}
        await on_both(whole, mine)
        answer = await seen(mine, **bare, **me)
        newest = color_of(answer)
        assert newest in (rgb(0x112233), rgb(0x445566))
        assert "~w" in answer.headers["Content-Disposition"], "the name that it has in the farm"
        assert (await seen(other, **bare, client_id=other.client_id or "")).status == 404
        by_header = await other.ask("GET", f"/view?{urlencode(bare)}", headers={"X-Client-Id": me["client_id"]})
        assert color_of(by_header) == newest
        assert color_of(await seen(whole.client(None), **bare)) == newest, "all of this address are one client's"


async def test_one_name_of_two_clients_at_one_address_is_nobodys_without_a_client_id(
    state: str, scripted_worker: Scripted
) -> None:
    image = {"filename": "same.png", "subfolder": "", "type": "output"}
    scripted_worker.more = {"outputs": {"3": {"images": [image]}}}
    scripted_worker.instant = True
    async with farm(state, scripted_worker) as whole:
        one, other = whole.client(), whole.client()
        await one.ended(await one.submit(saved(1)))
        assert scripted_worker.requests["GET /view"] > 0, "the marker"
        before = scripted_worker.requests["GET /view"]
        await seen(whole.client(None), filename="same.png")
        assert scripted_worker.requests["GET /view"] == before + 1
        await other.ended(await other.submit(saved(2)))
        before = scripted_worker.requests["GET /view"]
        assert (await seen(whole.client(None), filename="same.png")).status == 404
        assert scripted_worker.requests["GET /view"] == before, "no worker is asked"


async def test_after_a_disk_began_anew_old_names_are_404_and_never_another_picture(state: str, tmp_path: Path) -> None:
    async with emulated(EmulatorSettings(directory=tmp_path)) as workers, farm(state, *workers) as whole:
        client = whole.client()
        old = files(await client.ended(await client.submit(saved(0x111111))))["output"]
        assert color_of(await seen(client, **old)) == rgb(0x111111)
        shutil.rmtree(tmp_path / "output")
        (tmp_path / "output").mkdir()
        new = files(await client.ended(await client.submit(saved(0x222222))))["output"]
        assert (old["filename"], new["filename"]) == ("ComfyUI_00001_~w0.png", "ComfyUI_00001_~w0.2.png")
        assert (await seen(client, **old)).status == 404
        assert color_of(await seen(client, **new)) == rgb(0x222222)
        bare = await seen(client, filename="ComfyUI_00001_.png", client_id=client.client_id or "")
        assert color_of(bare) == rgb(0x222222)
        assert (await seen(client, filename="ComfyUI_00001_~w0.9.png")).status == 404


async def test_what_a_video_node_says_of_its_worker_stays_there(state: str, scripted_worker: Scripted) -> None:
    gif = {"filename": "v.mp4", "subfolder": "", "type": "output", "format": "video/h264-mp4", "frame_rate": 8.0}
    gif |= {"workflow": "v.png", "fullpath": "/opt/ComfyUI/output/v.mp4"}
    shown = {"result": ["/opt/ComfyUI/output/3d/m.glb", None]}
    outputs = {"3": {"gifs": [gif]}, "4": shown}
    public = {key: item for key, item in gif.items() if key != "fullpath"}
    public |= {"filename": "v~w0.mp4", "workflow": "v~w0.png"}
    async with farm(state, scripted_worker) as whole:
        client = whole.client()
        async with listening(whole.http, whole.urls[0], client.client_id) as ear:
            id = await client.submit(saved(1))
            attempt = await scripted_worker.runs()
            scripted_worker.more = {"outputs": outputs}
            await scripted_worker.tell(saying.event("executed", node="3", output={"gifs": [gif]}, prompt_id=attempt))
            await scripted_worker.tell(saying.event("custom", files=[gif]))
            scripted_worker.finish()
            await ear.ended(id)
            assert ear.of("executed")[0]["output"] == {"gifs": [public]}
            assert ear.of("custom")[0] == {"files": [public]}
        record = await client.ended(id)
        assert record["outputs"] == {"3": {"gifs": [public]}, "4": {"result": ["3d/m~w0.glb", None]}}
        assert "/opt/" not in json.dumps(await client.get(f"/api/jobs/{id}"))


async def test_with_one_disk_names_stay_and_any_worker_that_is_up_answers(
    state: str, tmp_path: Path, scripted_worker: Scripted
) -> None:
    async with emulated(EmulatorSettings(directory=tmp_path)) as workers:
        await scripted_worker.down()
        async with farm(state, scripted_worker, *workers, outputs="shared", wait=False) as whole:
            await whole.sees(w1="up", w0="down")
            client = whole.client()
            record = await client.ended(await client.submit(saved(5)))
            file = files(record)["output"]
            assert file["filename"] == "ComfyUI_00001_.png"
            assert files(record)["temp"]["filename"].endswith("~w1.png"), "each ComfyUI empties its own at its start"
            assert color_of(await seen(whole.client(), **file)) == rgb(5)
            assert color_of(await seen(whole.client(), **files(record)["temp"])) == rgb(5)


async def test_a_worker_that_is_away_makes_no_404(state: str, tmp_path: Path) -> None:
    async with emulated(*two(tmp_path)) as workers, farm(state, *workers) as whole:
        client = whole.client()
        both = await on_both(whole, client)
        dead: Running = workers[0]
        dead.worker.die(9)
        await whole.sees(w0="down")
        for color, record in both:
            file = files(record)["output"]
            answer = await seen(client, **file)
            if file["filename"].endswith("~w0.png"):
                assert (answer.status, answer.json["error"]["type"]) == (503, "no_worker")
            else:
                assert color_of(answer) == rgb(color)


async def test_files_that_lie_on_the_disks_are_seen_by_the_farms_names(state: str, tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "output").mkdir(parents=True)
        Image.new("RGB", (8, 8), rgb(0xAA0000 if name == "a" else 0xBB0000)).save(
            tmp_path / name / "output" / "old.png"
        )
    async with emulated(*two(tmp_path)) as workers, farm(state, *workers) as whole:
        client = whole.client()
        assert color_of(await seen(client, filename="old~w0.png")) == rgb(0xAA0000)
        assert color_of(await seen(client, filename="old~w1.png")) == rgb(0xBB0000)
        assert (await seen(client, filename="old.png")).status == 404


async def test_after_a_restart_temp_files_are_told_in_their_new_life_from_the_first_on(
    state: str, tmp_path: Path
) -> None:
    settings = EmulatorSettings(directory=tmp_path)
    async with AsyncExitStack() as stack:
        worker = AsyncExitStack()
        url = (await worker.enter_async_context(running(settings))).url
        whole = await stack.enter_async_context(farm(state, url))
        client = whole.client()
        ear = await stack.enter_async_context(listening(whole.http, whole.urls[0], client.client_id))
        old = files(await client.ended(await client.submit(saved(1))))
        await worker.aclose()
        stack.push_async_exit(worker)
        id = await client.submit(saved(2))
        await worker.enter_async_context(running(settings, port=int(url.rpartition(":")[2])))
        await ear.ended(id)
        new = files(await client.ended(id, timeout=30))
        told = {event["node"]: event["output"]["images"][0]["filename"] for event in ear.of("executed")[-2:]}
        assert [file["filename"].rpartition("~")[2] for file in (old["temp"], new["temp"])] == ["w0.png", "w0.2.png"]
        assert told == {"3": "ComfyUI_00002_~w0.png", "4": new["temp"]["filename"]}
        assert color_of(await seen(client, **old["output"])) == rgb(1)
        assert (await seen(client, **old["temp"])).status == 404
        assert color_of(await seen(client, **new["temp"])) == rgb(2)
