from __future__ import annotations

import os
import shutil
import signal
from pathlib import Path

import pytest
from redis.asyncio import Redis

from gateway.adapters.private_server import PrivateServer, PrivateStateError, locked
from gateway.adapters.private_state import server_programs
from tests.servers import until

pytestmark = pytest.mark.anyio


async def pid_of(server: PrivateServer) -> int:
    async with Redis(unix_socket_path=str(server.socket)) as redis:
        return int((await redis.info("server"))["process_id"])


async def test_two_on_one_folder_share_one_server(short_path: Path) -> None:
    first, second = (PrivateServer(short_path, server_programs()) for _ in range(2))
    await first.serve()
    await second.serve()
    assert await pid_of(first) == await pid_of(second)
    await second.stop()
    assert locked(short_path / "server.lock") is not None
    await first.stop()  # there is nothing to stop any more, and it is no error


async def test_the_socket_of_a_server_found_is_where_it_was_made(
    short_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = short_path / ("long" * 30)
    folder.mkdir()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path / "one"))
    first = PrivateServer(folder, server_programs())
    await first.serve()
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(short_path / "two"))  # as after a login of another kind
    second = PrivateServer(folder, server_programs())
    await second.serve()
    assert second.socket == first.socket
    await first.stop()


async def test_a_server_that_hangs_is_made_to_end(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.adapters.private_server._SHUTDOWN", 0.1)
    monkeypatch.setattr("gateway.adapters.private_server._ANSWER", 0.1)
    server = PrivateServer(short_path, server_programs())
    await server.serve()
    pid = await pid_of(server)
    os.kill(pid, signal.SIGSTOP)
    await server.stop()
    with pytest.raises(ProcessLookupError):
        os.kill(pid, 0)


async def test_a_server_found_that_hangs_is_told_of(short_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.adapters.private_server._STARTUP", 0.2)
    monkeypatch.setattr("gateway.adapters.private_server._ANSWER", 0.1)
    first, second = (PrivateServer(short_path, server_programs()) for _ in range(2))
    await first.serve()
    pid = await pid_of(first)
    os.kill(pid, signal.SIGSTOP)
    with pytest.raises(PrivateStateError, match=r"does not answer: .*Ready to accept connections"):
        await second.serve()
    os.kill(pid, signal.SIGCONT)
    await first.stop()


async def test_a_server_found_that_is_just_ending_is_replaced(short_path: Path) -> None:
    lock = locked(short_path / "server.lock")  # its process is still there, its socket no longer
    assert lock is not None
    (short_path / "server.lock").write_text(f"{short_path}/state.sock\n")
    server = PrivateServer(short_path, server_programs())
    asked = 0
    ask = server._ask

    async def counted() -> object:
        nonlocal asked
        asked += 1
        if asked == 3:
            os.close(lock)
        return await ask()

    server._ask = counted  # type: ignore[method-assign, assignment]
    await server.serve()
    assert asked > 3
    await server.stop()


async def test_programs_that_do_not_run_are_passed_over_and_one_older_log_is_kept(short_path: Path) -> None:
    for _ in range(3):
        server = PrivateServer(short_path, ["/nowhere/valkey-server", *server_programs()])
        await server.serve()
        await server.stop()
    assert sorted(path.name for path in short_path.glob("server.log*")) == ["server.log", "server.log.1"]


@pytest.mark.skipif(not shutil.which("redis-server"), reason="no redis-server on PATH")
async def test_redis_itself_takes_the_same_options(short_path: Path) -> None:
    server = PrivateServer(short_path, [shutil.which("redis-server") or ""])
    await server.serve()
    assert await pid_of(server) > 0
    await server.stop()
    await until(lambda: not server.socket.exists(), "it took its socket with it")
