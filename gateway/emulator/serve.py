"""Runs emulated workers: one on a port until it is told to end, or any number inside a test."""

from __future__ import annotations

import asyncio
import dataclasses
import signal
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

from aiohttp import web

from gateway.emulator.app import WORKER, build
from gateway.emulator.settings import EmulatorSettings
from gateway.emulator.worker import Worker


@dataclass(slots=True)
class Running:
    """A worker inside this process. When it dies it closes its port and connections; `dead` holds the exit code."""

    url: str
    worker: Worker
    dead: asyncio.Future[int] = field(repr=False)

    async def died(self, timeout: float = 10.0) -> int:
        """Waits for its end; returns the exit code that its process would have had."""
        return await asyncio.wait_for(asyncio.shield(self.dead), timeout)


@asynccontextmanager
async def running(settings: EmulatorSettings, host: str = "127.0.0.1", port: int = 0) -> AsyncIterator[Running]:
    """Several may run in one loop. `settings.die` is replaced: here a worker's end never ends the process."""
    loop = asyncio.get_running_loop()
    dead: asyncio.Future[int] = loop.create_future()

    def die(code: int) -> None:
        loop.call_soon_threadsafe(fall, code)

    def fall(code: int) -> None:
        deafen(runner)
        loop.call_soon(loop.call_soon, close, code)

    def close(code: int) -> None:
        if dead.done():
            return
        dead.set_result(code)
        for site in runner.sites:
            if (listening := getattr(site, "_server", None)) is not None:
                listening.close()
        for handler in list(runner.server.connections if runner.server else ()):
            if handler.transport is not None:
                handler.transport.abort()

    app = build(dataclasses.replace(settings, die=die))
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        yield Running(f"http://{host}:{runner.addresses[0][1]}", app[WORKER], dead)
    finally:
        await runner.cleanup()


def deafen(runner: web.AppRunner) -> None:
    """Accept no connection any more, two steps of the loop before its ports are closed: one that asyncio is still
    accepting then is neither served nor closed."""
    loop = asyncio.get_running_loop()
    for site in runner.sites:
        for listener in getattr(getattr(site, "_server", None), "sockets", ()):
            loop.remove_reader(listener.fileno())


async def serve(
    settings: EmulatorSettings, host: str = "127.0.0.1", port: int = 8188, on_ready: Callable[[str], None] | None = None
) -> None:
    """Until SIGINT or SIGTERM. `on_ready` gets the address once it answers. Raises OSError when the port is taken."""
    end = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, end.set)
    runner = web.AppRunner(build(settings), access_log=None, shutdown_timeout=1.0)
    await runner.setup()
    try:
        await web.TCPSite(runner, host, port).start()
        if on_ready is not None:
            on_ready(f"http://{host}:{runner.addresses[0][1]}")
        await end.wait()
    finally:
        await runner.cleanup()
