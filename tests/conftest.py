"""Fixtures for all tests: the event loop's kind, and a state server for each test process."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from aiohttp import web_fileresponse
from hypothesis import settings

from tests.servers import StateServer, leaks

settings.register_profile("tests", derandomize=True, deadline=None)  # `scripts/fuzz` is where chance has its place
settings.load_profile("tests")


web_fileresponse.NOSENDFILE = True  # type: ignore[misc]
"""A connection that is aborted in the middle of a sendfile makes asyncio raise where nobody can catch it, and emulated
workers die in the middle of whatever they do."""


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def state_home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("state-home")


@pytest.fixture(autouse=True)
def clean_environment(monkeypatch: pytest.MonkeyPatch, state_home: Path) -> None:
    """No setting of the developer's shell reaches a test, and no test writes into the developer's own folders."""
    monkeypatch.setenv("XDG_STATE_HOME", str(state_home))
    for name in [name for name in os.environ if name.upper().startswith("GATEWAY_")]:
        monkeypatch.delenv(name)


@pytest.fixture
def short_path() -> Iterator[Path]:
    """A folder with room for a socket in it: `tmp_path` may be too long for that."""
    with tempfile.TemporaryDirectory(prefix="gw") as folder:
        yield Path(folder)


@pytest.fixture(scope="session")
def state_url() -> Iterator[str]:
    """One real server for each test process; `state` is what tests want."""
    with tempfile.TemporaryDirectory(prefix="gw") as folder:  # pytest's own are too long for a socket's path
        server = StateServer(Path(folder))
        server.start()
        yield server.url
        server.kill()


@pytest.fixture
def state(state_url: str) -> Iterator[str]:
    """The URL of an empty state; after the test no key in it may be there for ever by mistake."""
    with redis.Redis.from_url(state_url) as client:
        client.flushall()
        yield state_url
        assert leaks(client) == []
