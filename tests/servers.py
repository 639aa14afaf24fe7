"""Real servers for tests: Redis or Valkey on a unix socket, and ASGI apps on a free port of 127.0.0.1."""

from __future__ import annotations

import asyncio
import socket
import subprocess
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from inspect import isawaitable
from pathlib import Path
from typing import Any

import redis
import uvicorn

from gateway.adapters.private_state import server_programs
from gateway.edge.http import Http
from gateway.edge.protocol import PatientlyClosed


class StateServer:
    """A Redis or Valkey of a test's own; `durable` keeps its data over `kill` and `start`."""

    def __init__(self, folder: Path, *, durable: bool = False) -> None:
        self._folder = folder
        self._durable = durable
        self._process: subprocess.Popen[bytes] | None = None
        self.url = f"unix://{folder}/s"

    def start(self) -> None:
        """Return when it answers."""
        aof = ["--appendonly", "yes", "--appendfsync", "always"] if self._durable else []
        command = [server_programs()[0], "--port", "0", "--unixsocket", f"{self._folder}/s", "--save", "", *aof]
        self._process = subprocess.Popen([*command, "--dir", str(self._folder)], stdout=subprocess.DEVNULL)
        with redis.Redis.from_url(self.url) as client:
            for _ in range(1000):
                try:
                    client.ping()
                except redis.ConnectionError:
                    assert self._process.poll() is None, f"{command[0]} does not start"
                    time.sleep(0.01)
                else:
                    return
        raise TimeoutError("the state server does not answer")

    def kill(self) -> None:
        """End it at once, as a crash would."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None


@asynccontextmanager
async def serve(app: Any, *, sock: socket.socket | None = None, **config: Any) -> AsyncIterator[str]:
    """Serve an ASGI app around the body and yield its base URL; real sockets stream, in-process transports do not.

    `sock` is a listening socket to use instead of a free port, so that a server can come back where it was.
    """
    listener = sock or socket.create_server(("127.0.0.1", 0))
    listener.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)  # asyncio sets it only where the kind is spelt out
    options: dict[str, Any] = {
        "log_level": "warning",
        "timeout_graceful_shutdown": 1,
        "http": Http,
        "ws": PatientlyClosed,
    } | config
    server = uvicorn.Server(uvicorn.Config(app, interface="asgi3", **options))
    task = asyncio.create_task(server._serve([listener]), name="test server")  # as serve(), but leaves signals alone
    try:
        await until(lambda: server.started or task.done(), "the server starts")
        if task.done():
            await task
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        await task


async def until(predicate: Callable[[], object | Awaitable[object]], description: str, *, timeout: float = 10.0) -> Any:
    """Wait until the predicate (sync or async) gives something true, and return that."""
    deadline = asyncio.get_running_loop().time() + timeout
    while True:
        value = predicate()
        if isawaitable(value):
            value = await value
        if value:
            return value
        if asyncio.get_running_loop().time() > deadline:
            raise AssertionError(f"waited {timeout:g} s in vain until {description}")
        await asyncio.sleep(0.01)


def leaks(client: redis.Redis) -> list[str]:
    """Keys without a TTL that are not on the list of permanent ones."""
    from gateway.adapters.redis_keys import PERMANENT  # where no test uses state, it need not be there

    names = [name.decode(errors="surrogateescape") for name in client.scan_iter(count=1000)]
    live = {id.decode() for name in names if name.endswith(":live") for id, _ in client.zscan_iter(name)}
    return [
        name
        for name in names
        if client.ttl(name.encode(errors="surrogateescape")) == -1
        and not PERMANENT.match(name)
        and name.partition(":job:")[2] not in live
    ]
