"""`python -m gateway.emulator`: it says where it is, and ends when it is told to."""

from __future__ import annotations

import asyncio
import gc
import json
import signal
import socket
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from gateway.emulator.serve import running
from gateway.emulator.settings import EmulatorSettings
from tests.conformance.client import failing
from tests.servers import until


@contextmanager
def process(*arguments: str) -> Iterator[tuple[subprocess.Popen[str], str]]:
    command = [sys.executable, "-m", "gateway.emulator", "--port", "0", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        try:
            assert child.stdout is not None
            yield child, child.stdout.readline()
        finally:
            child.kill()


def post(url: str, body: Any) -> Any:
    request = urllib.request.Request(url, json.dumps(body).encode())
    with urllib.request.urlopen(request, timeout=5) as response:
        return json.load(response)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_ends_cleanly(number: signal.Signals) -> None:
    with process("--name", "mine") as (child, told):
        assert told.startswith("mine: an emulated ComfyUI at http://127.0.0.1:")
        began = time.monotonic()
        child.send_signal(number)
        assert child.wait(5) == 0
        assert time.monotonic() - began < 2


def test_a_probe_really_ends_the_process() -> None:
    with process() as (child, told):
        with suppress(OSError):  # it may be gone before it has answered
            post(told.split()[-1] + "/prompt", {"prompt": failing("exit")})
        assert child.wait(5) == 137


@pytest.mark.parametrize("arguments", [("--speed", "0"), ("--host", "192.0.2.1")])
def test_what_cannot_be_is_one_line(arguments: tuple[str, ...]) -> None:
    command = [sys.executable, "-m", "gateway.emulator", "--port", "0", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, timeout=10, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert done.stderr.startswith("emulator: ")


@pytest.mark.anyio
async def test_one_that_connects_as_a_worker_dies_leaves_nothing_behind(tmp_path: Path) -> None:
    async with running(EmulatorSettings(directory=tmp_path)) as worker:
        with socket.create_connection(("127.0.0.1", int(worker.url.rpartition(":")[2]))) as client:
            asyncio.get_running_loop().call_soon(worker.worker.die, 9)  # just before the connection is accepted
            assert await worker.died() == 9
            client.settimeout(0)
            await until(lambda: is_cut(client), "the connection is cut")
        with pytest.raises(OSError, match="refused"):
            socket.create_connection(("127.0.0.1", int(worker.url.rpartition(":")[2])))
    gc.collect()


def is_cut(client: socket.socket) -> bool:
    try:
        return client.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionResetError:
        return True
