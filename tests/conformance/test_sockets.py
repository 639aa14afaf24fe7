"""The event socket: what a client of it is told, by one ComfyUI or by a gateway in front of many."""

from __future__ import annotations

import asyncio
import re
import uuid
from typing import Any

import aiohttp
import pytest

from tests.conformance.client import Client, failing, files, picture, sleeping
from tests.conformance.transcripts import FLAGS, Ear, Player, listening

pytestmark = [pytest.mark.anyio, pytest.mark.timeout(90)]

RECORDED = ["success", "success_no_flags", "two_listeners", "failing", "interrupting"]


def previewing(seconds: float = 0.3, steps: int = 3) -> Any:
    graph = sleeping(seconds, steps)
    graph["2"]["inputs"]["preview"] = True
    return graph


@pytest.mark.parametrize("name", RECORDED)
async def test_a_recorded_session_is_told_again_frame_by_frame(client: Client, name: str) -> None:
    played = await Player(client, name).play()
    assert played
    for listener, heard in played.items():
        if listener.startswith("listener-b") and client.target.differs("own-frames"):
            assert {kind for kind, _ in heard.got} == {"status"}
        else:
            assert heard.got == heard.recorded


@pytest.mark.parametrize("path", ["/ws", "/api/ws"])
async def test_a_socket_is_told_the_count_and_its_own_name_first(client: Client, path: str) -> None:
    async with listening(client.http, client.target.url, client.client_id, path=path) as ear:
        assert ear.events[0] == {
            "type": "status",
            "data": {"status": {"exec_info": {"queue_remaining": 0}}, "sid": client.client_id},
        }
        prompt_id = await client.submit(picture())
        await ear.ended(prompt_id)
        assert [told for told in ear.of("status") if "sid" in told] == ear.of("status")[:1]


@pytest.mark.parametrize("client_id", [None, ""])
async def test_a_socket_without_a_name_is_given_one_and_can_use_it(client: Client, client_id: str | None) -> None:
    async with (
        listening(client.http, client.target.url, client_id) as ear,
        listening(client.http, client.target.url, client_id) as other,
    ):
        sid, another = (one.of("status")[0]["sid"] for one in (ear, other))
        assert re.fullmatch(r"[0-9a-f]{32}", sid)
        assert sid != another
        prompt_id = await client.submit(picture(), client_id=sid)
        await ear.ended(prompt_id)
        assert not other.of("execution_start")


async def test_a_socket_that_comes_in_the_middle_is_told_the_node_and_the_end(client: Client) -> None:
    url = client.target.url
    async with listening(client.http, url, client.client_id) as first:
        prompt_id = await client.submit(sleeping(2.0))
        await first.heard(lambda ear: ear.of("progress"), "it runs")
    async with listening(client.http, url, client.client_id) as second:
        await second.heard(lambda ear: len(ear.frames) > 1, "it is told the node")
        assert second.types[:2] == ["status", "executing"]
        assert second.of("status")[0]["status"]["exec_info"]["queue_remaining"] == 1
        assert second.of("executing")[0]["node"] == "2"
        await second.ended(prompt_id)
        assert second.of("execution_success", prompt_id=prompt_id)


async def test_a_socket_opened_after_the_post_is_told_the_end(client: Client) -> None:
    prompt_id = await client.submit(sleeping(1.0))
    async with listening(client.http, client.target.url, client.client_id) as ear:
        await ear.ended(prompt_id)
        assert ear.of("execution_success", prompt_id=prompt_id)


async def test_of_several_sockets_of_one_name_all_are_told_or_the_newest(client: Client) -> None:
    url = client.target.url
    async with listening(client.http, url, client.client_id) as old:
        async with listening(client.http, url, client.client_id) as new:
            prompt_id = await client.submit(picture())
            await new.ended(prompt_id)
            if not client.target.differs("all-sockets"):
                assert old.types == ["status"]
                return
            await old.ended(prompt_id)
            assert old.types == new.types
        prompt_id = await client.submit(picture())
        await old.ended(prompt_id)
        assert len(old.of("execution_success")) == 2


@pytest.mark.parametrize(
    ("sent", "answered"),
    [
        ([FLAGS], True),
        (["{", FLAGS], True),
        (["", FLAGS], True),
        ([[1, 2], FLAGS], True),
        ([{"type": "other"}, FLAGS], False),
        ([{}, FLAGS], False),
        ([{**FLAGS, "type": ["feature_flags"]}], False),
    ],
)
async def test_only_the_first_object_tells_flags(client: Client, sent: list[Any], answered: bool) -> None:
    async with listening(client.http, client.target.url, client.client_id) as ear:
        for message in sent:
            await (ear.socket.send_str(message) if isinstance(message, str) else ear.socket.send_json(message))
        await ear.socket.send_json(FLAGS)
        if answered:
            await ear.heard(lambda ear: ear.of("feature_flags"), "flags are answered")
        await ear.ended(await client.submit(previewing()))
        assert len(ear.of("feature_flags")) == answered
        assert {kind for kind in ear.types if isinstance(kind, int)} == {4 if answered else 1}


@pytest.mark.parametrize("value", ["true", 1, None])
async def test_only_true_itself_asks_for_metadata(client: Client, value: Any) -> None:
    async with listening(client.http, client.target.url, client.client_id) as ear:
        await ear.socket.send_json({"type": "feature_flags", "data": {"supports_preview_metadata": value}})
        await ear.heard(lambda ear: ear.of("feature_flags"), "flags are answered")
        await ear.ended(await client.submit(previewing()))
        assert 1 in ear.types
        assert 4 not in ear.types


async def test_the_flags_of_the_server_are_those_of_its_features(client: Client) -> None:
    async with listening(client.http, client.target.url, client.client_id, flags=True) as ear:
        assert ear.of("feature_flags") == [(await client.get("/features")).json]
        assert ear.of("feature_flags")[0]["supports_preview_metadata"] is True


@pytest.mark.parametrize("path", ["/ws", "/api/ws"])
async def test_without_an_upgrade_it_is_a_bad_request(client: Client, path: str) -> None:
    assert (await client.get(path)).status == 400


async def test_at_its_end_a_prompt_is_in_the_history_and_out_of_the_count(client: Client) -> None:
    async with listening(client.http, client.target.url, client.client_id) as ear:
        await ear.ended(await client.submit(picture()))  # from now on it is told its own count
        for _ in range(40):
            ear.frames.clear()
            prompt_id = await client.submit(picture())
            await ear.ended(prompt_id)
            record = await client.record(prompt_id)
            assert record is not None, "it has ended, and has no record"
            assert record["status"]["completed"]
            kinds = [kind for kind in ear.types if kind in ("status", "executing", "execution_success")]
            assert kinds[-3:] == ["execution_success", "status", "executing"]
            counts = [told["status"]["exec_info"]["queue_remaining"] for told in ear.of("status")]
            assert counts == [1, 1, 0]


async def test_a_count_of_nothing_means_that_all_is_in_the_history(client: Client) -> None:
    """What comfy_api_simplified and comfyui-sdk rely on."""
    async with listening(client.http, client.target.url, client.client_id) as ear:
        for _ in range(4):
            ear.frames.clear()
            prompt_ids = [await client.submit(graph) for graph in (sleeping(0.5), picture())]
            await ear.heard(lambda ear: _counts(ear)[-1:] == [0], "nothing is left")
            for prompt_id in prompt_ids:
                assert await client.record(prompt_id) is not None


def _counts(ear: Ear) -> list[int]:
    return [told["status"]["exec_info"]["queue_remaining"] for told in ear.of("status")]


async def test_the_count_of_one_who_posted_is_his_own(client: Client, other: Client) -> None:
    """At one ComfyUI it is everybody's."""
    if not client.target.differs("own-count"):
        return
    await client.run(picture())
    async with listening(client.http, client.target.url, client.client_id) as ear, other.busy(5.0):
        await ear.ended(await client.submit(picture()))
        assert _counts(ear)[-3:] == [1, 1, 0]
        assert max(_counts(ear)) == 1


async def test_a_prompt_of_nobody_is_nobodys_news(client: Client) -> None:
    async with listening(client.http, client.target.url, client.client_id) as ear:
        answer = await client.post("/prompt", {"prompt": failing()})
        await client.finished(answer.json["prompt_id"])
        await ear.ended(await client.submit(picture()))
        assert not ear.of("execution_error")
        assert len(ear.of("execution_start")) == 1


class AsTheExamples:
    """A script in the manner of ComfyUI's own examples: its id, its socket, POST, `executing` null, history, files."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def run(self, graph: Any) -> list[bytes]:
        prompt_id = str(uuid.uuid4())
        name = uuid.uuid4().hex
        async with self._client.http.ws_connect(f"{self._client.target.url}/ws?clientId={name}") as socket:
            await self._client.submit(graph, prompt_id=prompt_id, client_id=name)
            await self._over(socket, prompt_id)
        record = await self._client.record(prompt_id)
        assert record is not None
        return [(await self._client.get("/view", **file)).body for file in files(record)]

    async def _over(self, socket: aiohttp.ClientWebSocketResponse, prompt_id: str) -> None:
        async for message in socket:
            if message.type is not aiohttp.WSMsgType.TEXT:
                continue
            told = message.json()
            if told["type"] != "executing":
                continue
            if told["data"]["node"] is None and told["data"]["prompt_id"] == prompt_id:
                return


class AsSimplified:
    """A script that posts before it listens, and takes a count of 0 for its end as well."""

    def __init__(self, client: Client) -> None:
        self._client = client

    async def run(self, graph: Any) -> list[bytes]:
        name = uuid.uuid4().hex
        prompt_id = await self._client.submit(graph, client_id=name)
        async with self._client.http.ws_connect(f"{self._client.target.url}/ws?clientId={name}") as socket:
            async for message in socket:
                if message.type is not aiohttp.WSMsgType.TEXT:
                    continue
                told = message.json()
                if told["type"] == "status" and told["data"]["status"]["exec_info"]["queue_remaining"] == 0:
                    break
                if told["type"] == "executing" and told["data"] == {"node": None, "prompt_id": prompt_id}:
                    break
        history = (await self._client.get(f"/history/{prompt_id}")).json[prompt_id]
        return [(await self._client.get("/view", **file)).body for file in files(history)]


@pytest.mark.parametrize("kind", [AsTheExamples, AsSimplified])
async def test_scripts_that_wait_for_the_end_in_their_own_ways_get_their_pictures(
    client: Client, kind: type[AsTheExamples | AsSimplified]
) -> None:
    script = kind(client)
    for graph in (picture(), picture(), sleeping(0.5)):
        (body,) = await asyncio.wait_for(script.run(graph), 20)
        assert body.startswith(b"\x89PNG")
