"""Gateways and emulated workers as real processes, each ended by its pid however the test ends."""

from __future__ import annotations

import asyncio
import os
import re
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Mapping
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path

import aiohttp

from gateway.adapters.private_server import locked
from tests.servers import until

ROOT = Path(__file__).parents[2]
PATIENCE = 30.0
"""Seconds that a process may take to start or to end on a busy machine."""
SLOW = 180
"""Seconds that a whole test may take there; on a quiet one with two cores each takes 3 to 15."""


class Process:
    """A program in a session of its own that says where it is; `start` after its end brings it back there."""

    def __init__(self, name: str, folder: Path, command: list[str], *, env: Mapping[str, str] | None = None) -> None:
        self.name = name
        self.out = folder / f"{name}.out"
        self.log = folder / f"{name}.log"
        self.url = ""
        self._command = command
        self._env = os.environ | {"PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"} | dict(env or {})
        self._popen: subprocess.Popen[bytes] | None = None

    @property
    def alive(self) -> bool:
        return self._popen is not None and self._popen.poll() is None

    @property
    def pid(self) -> int:
        assert self._popen is not None, f"{self.name} was never started"
        return self._popen.pid

    async def start(self) -> None:
        """Return when it serves: on a free port the first time, on the same one after that."""
        port = self.url.rpartition(":")[2] or "0"
        command = [*self._command, "--port", port]
        with self.out.open("wb") as out, self.log.open("ab") as err:
            self._popen = subprocess.Popen(
                command, stdout=out, stderr=err, cwd=ROOT, env=self._env, start_new_session=True
            )

        def ready() -> re.Match[str] | None:
            found = re.search(r" at (http://127\.0\.0\.1:\d+)\n", self.out.read_text())
            assert found or self.alive, f"{self.name} does not start:\n{self.log.read_text()}"
            return found

        self.url = (await until(ready, f"{self.name} serves", timeout=PATIENCE))[1]

    def signal(self, number: signal.Signals) -> None:
        assert self._popen is not None
        self._popen.send_signal(number)

    def kill(self) -> None:
        """kill -9, and gone when this returns."""
        if self._popen is not None:
            self._popen.kill()
            self._popen.wait()

    async def ended(self, timeout: float = PATIENCE) -> int:
        """Its exit code, once it has one."""
        await until(lambda: not self.alive, f"{self.name} ends", timeout=timeout)
        assert self._popen is not None
        return int(self._popen.returncode)

    @asynccontextmanager
    async def paused(self) -> AsyncIterator[None]:
        """Stands still around the body: its port is open, and nothing answers."""
        self.signal(signal.SIGSTOP)
        try:
            yield
        finally:
            self.signal(signal.SIGCONT)


class Farm:
    """The processes of one test. Everything they write is in `folder`, whose path must be short."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._stack = AsyncExitStack()

    async def workers(self, **models: str) -> list[Process]:
        """Emulated workers, by name, each with its models: `gpu="a,b"`."""
        workers = [self.worker(name, "--models", having) for name, having in models.items()]
        await asyncio.gather(*(worker.start() for worker in workers))
        return workers

    def worker(self, name: str, *flags: str) -> Process:
        """An emulated worker, to be started; its disk outlives it."""
        disk = self.folder / f"disk-{name}"
        command = [sys.executable, "-m", "gateway.emulator", "--name", name, "--directory", str(disk), *flags]
        return self._owned(Process(name, self.folder, command))

    def gateway(self, name: str, workers: list[Process], *flags: str, state: str = "") -> Process:
        """A gateway, to be started; without a `state` it has a private server in a folder of its own."""
        data_dir = self.folder / f"state-{name}"
        command = [sys.executable, "-m", "gateway", "serve", "--log-format", "json", "--data-dir", str(data_dir)]
        command += [part for worker in workers for part in ("--worker", f"{worker.name}={worker.url}")]
        self._stack.callback(end_server, data_dir)
        return self._owned(Process(name, self.folder, [*command, *flags, *(["--state", state] if state else [])]))

    def _owned(self, process: Process) -> Process:
        self._stack.callback(process.kill)
        return process

    async def end(self) -> None:
        """Gateways first, then their servers, then the workers. What they said is shown when the test failed."""
        await self._stack.aclose()
        for log in sorted(self.folder.glob("*.log")):
            print(f"--- {log.stem}", *log.read_text(errors="replace").splitlines()[-60:], sep="\n")


def end_server(data_dir: Path) -> None:
    """The private server of a gateway that was killed."""
    lock_file = data_dir / "server.lock"
    if not lock_file.exists():
        return
    free = locked(lock_file)
    if free is not None:
        os.close(free)
        return
    with suppress(ProcessLookupError):
        os.kill(int(lock_file.read_text().split("\n")[1]), signal.SIGKILL)


def descendants(pid: int) -> set[int]:
    """The processes that this one has started, directly or not, and that still hang on it."""
    parents: dict[int, int] = {}
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
    found: set[int] = set()
    rest = {pid}
    while rest := {child for child, parent in parents.items() if parent in rest}:
        found |= rest
    return found


def of_session(session: int) -> set[int]:
    """The processes of that session that have not ended."""
    found: set[int] = set()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            state, _, _, of = (folder / "stat").read_text().rpartition(")")[2].split()[:4]
            if int(of) == session and state != "Z":
                found.add(int(folder.name))
    return found


def lives(pid: int) -> bool:
    with suppress(OSError):
        return (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


async def all_up(http: aiohttp.ClientSession, gateway: Process) -> None:
    """Wait until this gateway sees that all its workers take prompts and give their files."""

    async def seen() -> bool:
        async with http.get(f"{gateway.url}/gateway/workers") as reply:
            told = (await reply.json())["workers"]
        return all(worker["state"] == "up" and worker["node_classes"] and worker["lives"] for worker in told)

    await until(seen, "all workers are up", timeout=2 * PATIENCE)
