"""Which path goes where, and how a wrong method is answered."""

from __future__ import annotations

import pytest

from tests.farm import Client
from tests.scripted import Scripted

pytestmark = pytest.mark.anyio

OURS = ["/prompt", "/queue", "/history", "/history/x", "/interrupt", "/free"]
READS = ["/system_stats", "/object_info", "/object_info/PreviewImage", "/embeddings", "/extensions", "/features"]


async def test_a_wrong_method_is_answered_as_comfyuis_server_does(caller: Client, behind: Scripted) -> None:
    for path, allow in (
        ("/prompt", "GET,HEAD,POST"),
        ("/free", "GET,HEAD,POST"),
        ("/history/x", "GET,HEAD"),
        ("/gateway/workers", "GET,HEAD,POST"),
    ):
        for prefix in ("", "/api") if not path.startswith("/gateway") else ("",):
            answer = await caller.ask("PUT", prefix + path)
            assert (answer.status, answer.body) == (405, b"405: Method Not Allowed")
            assert answer.headers["Allow"] == allow
    assert not [asked for asked in behind.requests if asked.startswith("PUT")]


@pytest.mark.parametrize("path", ["/free", "/upload/image", "/api/upload/mask"])
async def test_getting_what_is_only_posted_is_left_to_the_static_files(
    caller: Client, behind: Scripted, path: str
) -> None:
    await caller.ask("GET", path)
    assert behind.requests[f"GET {path}"] == 1


async def test_the_gateway_answers_its_routes_itself_with_and_without_api(caller: Client, behind: Scripted) -> None:
    await behind.down()
    for path in OURS[:4]:
        for prefix in ("", "/api"):
            assert (await caller.ask("GET", prefix + path)).status == 200, path


async def test_head_is_get_without_a_body(caller: Client) -> None:
    answer = await caller.ask("HEAD", "/queue")
    assert (answer.status, answer.body) == (200, b"")
    assert int(answer.headers["Content-Length"]) > 10


@pytest.mark.parametrize("path", ["/nobody/knows", "/queue/", "/history/", "/promp", "/gateway", "/api/history/x/"])
async def test_the_rest_goes_to_the_home_worker_as_it_is(caller: Client, behind: Scripted, path: str) -> None:
    answer = await caller.ask("GET", path, allow_redirects=False)
    if path in ("/history/", "/api/history/x/"):  # the id may be anything
        assert (answer.status, answer.body) == (200, b"{}")
    else:
        assert answer.status == 404
        assert behind.requests[f"GET {path}"] == 1


async def test_a_preflight_is_answered_on_any_path(caller: Client) -> None:
    for path in ("/prompt", "/nobody/knows", "/gateway/workers"):
        answer = await caller.ask("OPTIONS", path)
        assert (answer.status, answer.body) == (200, b"")


async def test_a_page_of_another_site_is_refused_everywhere(caller: Client, behind: Scripted) -> None:
    for path in ("/prompt", "/interrupt", "/gateway/workers", "/nobody/knows"):
        answer = await caller.ask("GET", path, headers={"Sec-Fetch-Site": "cross-site", "Origin": "http://evil"})
        assert answer.status == 403, path
    assert behind.requests["GET /nobody/knows"] == 0
