"""The servers that are measured, each a process of its own on a core of its own where there are two."""

from __future__ import annotations

import asyncio
import json
import os
import shutil
import socket
import sys
import tempfile
import urllib.error
import urllib.request
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

TESTED, REST = 0, 1
"""Which core what is measured runs on, one at a time, and which everything that feeds it and asks it."""


@dataclass(frozen=True, slots=True)
class Server:
    url: str
    pid: int

    @property
    def cpu(self) -> float:
        """Seconds of a core that it has used."""
        times = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(times[11]) + int(times[12])) / os.sysconf("SC_CLK_TCK")

    @property
    def memory(self) -> float:
        """MiB in use."""
        lines = Path(f"/proc/{self.pid}/status").read_text().splitlines()
        return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS")) / 1024


def pin(core: int, pid: int = 0) -> None:
    """Where there are several cores and the system has a way to say so."""
    if hasattr(os, "sched_setaffinity") and len(cores := sorted(os.sched_getaffinity(0) | _ALL)) > 1:
        os.sched_setaffinity(pid, {cores[core]})


_ALL = frozenset(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else frozenset[int]()


def program(name: str) -> str | None:
    """Where it is, the administrator's folders looked through too."""
    return shutil.which(name, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")


@asynccontextmanager
async def process(core: int, *command: str, quiet: bool = False) -> AsyncIterator[asyncio.subprocess.Process]:
    """A program on that core, ended with the body."""
    started = await asyncio.create_subprocess_exec(
        *command,
        stdout=asyncio.subprocess.DEVNULL if quiet else asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL if quiet else None,
        preexec_fn=lambda: pin(core),
        cwd=Path(__file__).parents[1],
    )
    try:
        yield started
    finally:
        if started.returncode is None:
            started.terminate()
            try:
                await asyncio.wait_for(started.wait(), 20)
            except TimeoutError:
                started.kill()
        await started.wait()


@asynccontextmanager
async def python(core: int, *command: str) -> AsyncIterator[tuple[Server, list[str]]]:
    """A module of ours that prints `… at URL [URL …]` once it serves; its first URL, and all of them."""
    async with process(core, sys.executable, "-m", *command) as started:
        assert started.stdout is not None
        line = ""
        while " at http" not in line:
            line = (await asyncio.wait_for(started.stdout.readline(), 60)).decode()
            if not line:
                raise RuntimeError(f"{' '.join(command)} does not start")
        urls = line.partition(" at ")[2].split()
        draining = asyncio.create_task(_drain(started.stdout))
        try:
            yield Server(urls[0], started.pid), urls
        finally:
            draining.cancel()


async def _drain(stream: asyncio.StreamReader) -> None:
    while await stream.read(65536):
        pass


@asynccontextmanager
async def gateway(state: str, workers: Sequence[str], *flags: str) -> AsyncIterator[Server]:
    """Ours, in front of these workers, once it knows them all."""
    with tempfile.TemporaryDirectory(prefix="gw") as folder:
        file = Path(folder) / "gateway.toml"
        named = [f"w{number}={url}" for number, url in enumerate(workers)]
        file.write_text(f"workers = {json.dumps(named)}\n")
        command = ["gateway", "serve", "--config", str(file), "--port", "0", "--state", state, *flags]
        async with python(TESTED, *command, "--log-level", "error") as (server, _):
            await _until_up(server.url, len(workers))
            yield server


async def _until_up(url: str, count: int) -> None:
    for _ in range(240):
        told = json.loads(await asyncio.to_thread(fetched, f"{url}/gateway/workers"))["workers"]
        if sum(worker["state"] == "up" and worker["node_classes"] is not None for worker in told) == count:
            return
        await asyncio.sleep(0.25)
    raise TimeoutError("the workers are not seen up")


def fetched(url: str) -> bytes:
    with urllib.request.urlopen(url, timeout=60) as reply:
        return bytes(reply.read())


@asynccontextmanager
async def redis() -> AsyncIterator[str]:
    """A real server that writes to disk once a second, as operators run it."""
    from gateway.adapters.private_state import server_programs

    with tempfile.TemporaryDirectory(prefix="rd") as folder:
        found = program("redis-server") or server_programs()[0]
        path = f"{folder}/s"
        flags = ["--port", "0", "--unixsocket", path, "--dir", folder, "--save", "", "--appendonly", "yes"]
        async with process(REST, found, *flags, quiet=True):
            await _until_there(Path(path))
            yield f"unix://{path}"


def nginx(upstream: str) -> AbstractAsyncContextManager[Server | None]:
    """As `nginx_with`: it proxies to the upstream over connections that it keeps."""
    return nginx_with(lambda port: _PROXY.format(port=port, upstream=upstream.removeprefix("http://")))


@asynccontextmanager
async def nginx_with(http: Callable[[int], str]) -> AsyncIterator[Server | None]:
    """One worker process, with this in the http block of its configuration for a port; None where there is no nginx."""
    if (found := program("nginx")) is None:
        print("no nginx here: its rows are left out", flush=True)
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ng") as folder:
        port = free_port()
        file = Path(folder) / "nginx.conf"
        file.write_text(_NGINX.format(folder=folder, http=http(port)))
        async with process(TESTED, found, "-c", str(file), "-p", folder, "-e", f"{folder}/error", quiet=True) as it:
            yield await _listening(port, it.pid)


@asynccontextmanager
async def haproxy(upstream: str) -> AsyncIterator[Server | None]:
    if (found := program("haproxy")) is None:
        print("no haproxy here: its rows are left out", flush=True)
        yield None
        return
    with tempfile.TemporaryDirectory(prefix="ha") as folder:
        port = free_port()
        file = Path(folder) / "haproxy.cfg"
        file.write_text(_HAPROXY.format(port=port, upstream=upstream.removeprefix("http://")))
        async with process(TESTED, found, "-db", "-f", str(file), quiet=True) as it:
            yield await _listening(port, it.pid)


_NGINX = """
worker_processes 1; daemon off; pid {folder}/pid; error_log {folder}/error crit;
events {{ worker_connections 4096; }}
http {{
  access_log off;
  client_body_temp_path {folder}/b; proxy_temp_path {folder}/p; fastcgi_temp_path {folder}/f;
  uwsgi_temp_path {folder}/u; scgi_temp_path {folder}/s;
{http}
}}
"""

_PROXY = """
  sendfile on; keepalive_requests 1000000000;
  proxy_buffers 16 64k; proxy_buffer_size 64k; proxy_busy_buffers_size 128k; proxy_max_temp_file_size 0;
  upstream it {{ server {upstream}; keepalive 256; keepalive_requests 1000000000; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://it; proxy_http_version 1.1; proxy_set_header Connection ""; }}
  }}
"""

_HAPROXY = """
global
  nbthread 1
defaults
  mode http
  timeout connect 5s
  timeout client 60s
  timeout server 60s
  http-reuse always
frontend front
  bind 127.0.0.1:{port}
  default_backend back
backend back
  server it {upstream}
"""


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        return int(taken.getsockname()[1])


async def _until_there(path: Path) -> None:
    for _ in range(500):
        if path.exists():
            return
        await asyncio.sleep(0.02)
    raise TimeoutError(f"{path} does not come")


async def _listening(port: int, pid: int) -> Server:
    """Once it answers anything at all. With nginx it is the worker process that counts."""
    url = f"http://127.0.0.1:{port}"
    for _ in range(500):
        try:
            await asyncio.to_thread(fetched, f"{url}/small")
        except urllib.error.HTTPError:
            break
        except OSError:
            await asyncio.sleep(0.02)
        else:
            break
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return Server(url, int(children[0]) if children else pid)
