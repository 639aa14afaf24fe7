"""The servers that the conformance tests run against.

By default two emulated workers, one of each generation, and the gateway in front of several; with `--url URL`, or
CONFORMANCE_URL in the environment, only the server there. That one must have the probe nodes, and is used by nobody
else meanwhile: the tests clear its queue and its history.
"""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from gateway.app import build
from gateway.domain.addresses import WorkerAddress
from gateway.domain.ids import WorkerName
from gateway.emulator.serve import running
from gateway.emulator.settings import EmulatorSettings
from gateway.settings import Settings
from tests.conformance.client import Client, Target
from tests.servers import serve, until

MODELS = ("base.safetensors", "other.safetensors")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--url", help="run the conformance tests against the server there")


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    if "target" in metafunc.fixturenames:
        given = metafunc.config.getoption("--url", None) or os.environ.get("CONFORMANCE_URL")
        kinds = [given.rstrip("/")] if given else ["0.3.64", "0.38.1", "farm"]
        metafunc.parametrize("target", kinds, indirect=True, ids=["url"] if given else kinds)


@pytest.fixture
async def farm_url(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[str]:
    """A gateway in front of two emulated workers; empty for a test that runs against something else."""
    if request.node.callspec.params["target"] != "farm":
        yield ""
        return
    state: str = request.getfixturevalue("state")
    workers = [EmulatorSettings(models=MODELS, directory=tmp_path / name, load_seconds=0.2) for name in ("a", "b")]
    async with running(workers[0]) as a, running(workers[1]) as b:
        addresses = (WorkerAddress(WorkerName("a"), a.url), WorkerAddress(WorkerName("b"), b.url))
        settings = Settings(workers=addresses, poll_every=1, catalogue_every=5, shutdown_grace=1)
        async with serve(build(settings, state, lambda: False)) as url:
            await until(lambda: _all_up(url), "both workers are up")
            yield url


async def _all_up(url: str) -> bool:
    async with aiohttp.ClientSession() as http, http.get(f"{url}/gateway/workers") as response:
        workers = (await response.json())["workers"]
    return all(worker["state"] == "up" and worker["node_classes"] for worker in workers)


@pytest.fixture
async def target(
    request: pytest.FixtureRequest, farm_url: str, tmp_path: Path, http: aiohttp.ClientSession
) -> AsyncIterator[Target]:
    kind: str = request.param
    if farm_url or kind.startswith("http"):
        yield await examine(farm_url or kind, http)
        return
    settings = EmulatorSettings(comfyui=kind, models=MODELS, directory=tmp_path, load_seconds=0.2)
    async with running(settings) as worker:
        yield await examine(worker.url, http)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """Decodes no cookies and keeps %2F as it is."""
    async with aiohttp.ClientSession(requote_redirect_url=False, cookie_jar=aiohttp.DummyCookieJar()) as session:
        yield session


@pytest.fixture
async def client(target: Target, http: aiohttp.ClientSession) -> Client:
    return Client(target, http)


@pytest.fixture
async def other(target: Target, http: aiohttp.ClientSession) -> Client:
    """Somebody else at the same server."""
    return Client(target, http)


async def examine(url: str, http: aiohttp.ClientSession) -> Target:
    """Tells the generation by a flag that came with it, and a gateway by its own routes."""
    async with http.get(f"{url}/gateway/workers") as response:
        is_gateway = response.status == 200
    async with http.get(f"{url}/features") as response:
        flags: dict[str, Any] = await response.json()
    async with http.get(f"{url}/object_info/CheckpointLoaderSimple") as response:
        loader = (await response.json())["CheckpointLoaderSimple"]
    models = tuple(loader["input"]["required"]["ckpt_name"][0])
    return Target(url, is_new="supports_model_type_tags" in flags, is_gateway=is_gateway, models=models)
