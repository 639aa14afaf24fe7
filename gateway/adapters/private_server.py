"""The server process of one data folder: started, found again, watched and ended.

Whether one is there is told by `server.lock` in the folder: the server inherits that lock, and the kernel drops it
with the server, however it died. So no pid is asked that may be another's by now.
"""

from __future__ import annotations

import asyncio
import fcntl
import hashlib
import logging
import os
import signal
import subprocess
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import Literal

from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import BusyLoadingError, RedisError

from gateway.domain.errors import GatewayError

log = logging.getLogger(__name__)

_SUN_PATH = 103  # bytes that a socket's path may have: 107 on Linux, 103 on macOS
_STARTUP = 30.0  # without the time it takes to load its data
_SHUTDOWN = 10.0
_ANSWER = 5.0
_LOOK = 0.02
_WATCH = 0.5


class PrivateStateError(GatewayError):
    """The private server cannot be had; the message is one line that says what to do."""


class PrivateServer:
    """The server of one folder, whether this gateway started it or an earlier one."""

    def __init__(self, data_dir: Path, programs: list[str]) -> None:
        self._dir = data_dir.resolve()
        self._programs = programs
        self._lock_file = self._dir / "server.lock"  # first line: its socket; second: its pid
        self._child: subprocess.Popen[bytes] | None = None
        self.socket = _socket_path(self._dir)

    async def serve(self) -> None:
        """Return when a server answers on `socket`: one that is there already, else a new one."""
        self._child = None
        deadline = asyncio.get_running_loop().time() + _STARTUP
        while True:
            if self._child is None:
                self._start_if_none()
            answer = await self._ask()
            if answer == "ready":
                return
            now = asyncio.get_running_loop().time()
            if self._child is not None and self._child.poll() is not None:
                raise PrivateStateError(f"the private server ended as it began: {self._last_line()}")
            if now > deadline:
                raise PrivateStateError(f"the private server in {self._dir} does not answer: {self._last_line()}")
            if answer == "loading":
                deadline = now + _STARTUP
            await asyncio.sleep(_LOOK)

    async def watch(self) -> None:
        """Start the server again whenever it is gone: without it the gateway can do nothing."""
        while True:
            await asyncio.sleep(_WATCH)
            if self._gone():
                log.error("the private server is gone and is started again: %s", self._last_line())
                try:
                    await self.serve()
                    log.warning("the private server is back")
                except (GatewayError, OSError) as exc:
                    log.error("%s", exc)  # noqa: TRY400 - the line says it all

    async def stop(self) -> None:
        """Ask it to end, then tell it, then make it: nothing that it acknowledged is lost by any of these."""
        if await self._asked_to_end() and await self._ended():
            return
        for sig in (signal.SIGTERM, signal.SIGKILL):
            if self._gone():
                return
            log.warning("the private server gets %s", sig.name)
            with suppress(ProcessLookupError):
                os.kill(self._pid(), sig)
            if await self._ended():
                return

    async def _asked_to_end(self) -> bool:
        try:
            async with _client(self.socket) as redis:
                await redis.shutdown(nosave=True)
        except (RedisError, OSError):
            return False
        return True

    def _start_if_none(self) -> None:
        lock = locked(self._lock_file)
        if lock is None:
            self.socket = Path(self._lock_file.read_text().partition("\n")[0])
            return
        try:
            self.socket = _socket_path(self._dir)
            note(lock, f"{self.socket}\n")
            self._child = self._spawn(lock)
            note(lock, f"{self.socket}\n{self._child.pid}\n")
        finally:
            os.close(lock)  # from here on it is the server's alone

    def _spawn(self, lock: int) -> subprocess.Popen[bytes]:
        """Start the first program that runs at all; what it says goes to `server.log`, of which one older is kept."""
        log_file = self._dir / "server.log"
        if log_file.exists():
            log_file.replace(log_file.with_suffix(".log.1"))
        failure = OSError("no program")
        for program in self._programs:
            try:
                with log_file.open("wb") as out:
                    return subprocess.Popen(
                        [program, *_options(self._dir, self.socket)],
                        stdin=subprocess.DEVNULL,
                        stdout=out,
                        stderr=subprocess.STDOUT,
                        pass_fds=(lock,),
                        start_new_session=True,  # a Ctrl-C in the terminal is not for it
                        umask=0o077,
                    )
            except OSError as exc:
                failure = exc
        raise PrivateStateError(f"{self._programs[-1]} does not run: {failure.strerror}")

    async def _ask(self) -> Literal["ready", "loading", "silent"]:
        try:
            async with _client(self.socket) as redis:
                await redis.ping()
        except BusyLoadingError:
            return "loading"
        except (RedisError, OSError):
            return "silent"
        return "ready"

    async def _ended(self) -> bool:
        """Wait for its end, within limits."""
        for _ in range(int(_SHUTDOWN / _LOOK)):
            if self._gone():
                return True
            await asyncio.sleep(_LOOK)
        return False

    def _gone(self) -> bool:
        if self._child is not None and self._child.poll() is not None:
            return True
        lock = locked(self._lock_file)
        if lock is None:
            return False
        os.close(lock)
        if self._child is not None:
            self._child.wait()  # the lock went as it ended, so this is but a moment
        return True

    def _pid(self) -> int:
        """Of the server that holds the lock; 0 is never returned, for a signal to it would be one to ourselves."""
        pid = self._lock_file.read_text().split("\n")[1]
        if not pid:
            raise ProcessLookupError
        return int(pid)

    def _last_line(self) -> str:
        with suppress(OSError):
            lines = (self._dir / "server.log").read_text(errors="replace").split("\n")
            return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        return "it left no server.log"


def _options(folder: Path, socket: Path) -> list[str]:
    options = {
        "port": "0",
        "unixsocket": str(socket),
        "unixsocketperm": "700",
        "dir": str(folder),
        "databases": "1",
        "save": "",
        "appendonly": "yes",
        "appendfsync": "always",
        "maxmemory-policy": "noeviction",
        "daemonize": "no",
    }
    return [part for name, value in options.items() for part in (f"--{name}", value)]


def _client(socket: Path) -> Redis:
    return Redis(unix_socket_path=str(socket), retry=Retry(NoBackoff(), 0), socket_timeout=_ANSWER)


def _socket_path(folder: Path) -> Path:
    """In the folder, else, for the kernel limits its length, in a folder of our own where paths are short."""
    path = folder / "state.sock"
    if len(os.fsencode(path)) <= _SUN_PATH:
        return path
    name = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16] + ".sock"
    for base in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):
        place = Path(base or "/tmp") / f"comfy-gateway-{os.getuid()}"
        if len(os.fsencode(place / name)) <= _SUN_PATH:
            break
    place.mkdir(mode=0o700, parents=True, exist_ok=True)
    if place.is_symlink() or place.stat().st_uid != os.getuid() or place.stat().st_mode & 0o077:
        raise PrivateStateError(f"{place} is open to others: remove it, or set data_dir to a shorter path")
    return place / name


def locked(path: Path) -> int | None:
    """A descriptor that holds the lock of that file, or None when somebody else does."""
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        if isinstance(exc, BlockingIOError):
            return None
        raise
    return descriptor


def note(descriptor: int, text: str) -> None:
    os.ftruncate(descriptor, 0)
    os.pwrite(descriptor, text.encode(), 0)
