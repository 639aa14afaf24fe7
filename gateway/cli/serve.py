"""`gateway serve`: the gateway itself, and around it what must end after it."""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import gc
import logging
import math
import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager, nullcontext

import uvicorn
from uvicorn.loops.auto import auto_loop_factory

from gateway.adapters.keepalive import ask_after
from gateway.adapters.private_state import private_state
from gateway.app import build
from gateway.cli.banner import banner, reachable
from gateway.cli.logs import configure
from gateway.cli.parser import Commands, add_settings, loaded, reason
from gateway.domain.addresses import masked
from gateway.domain.errors import GatewayError
from gateway.edge.http import Http
from gateway.edge.protocol import PatientlyClosed
from gateway.settings import Settings

log = logging.getLogger(__name__)

_COLLECTED = 50_000, 2, 50
"""Waiting prompts and workers are some hundred thousand objects that stay: by the usual thresholds all of them are
looked through again and again, which takes as long as a second, and nothing else is done meanwhile. And hundreds of
requests at a time are some ten thousand objects, which go by themselves."""
_KEEP_ALIVE = 75  # seconds, as ComfyUI's server keeps idle connections
_PROBED = {"TCP_KEEPIDLE": 60, "TCP_KEEPINTVL": 20, "TCP_KEEPCNT": 3}
"""Seconds of silence, then so many questions, so many seconds apart, until a client's machine counts as gone: who only
waits, for an answer or for events, cannot be seen to stall."""


class Server(uvicorn.Server):
    """Leaves signals to `Leaving`.

    Uvicorn raises them once more after its end; the process would be gone before the private server and the
    demo's workers around this one have been ended.
    """

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        await super().startup(sockets)
        gc.collect()
        gc.freeze()


class Leaving:
    """Whether we were told to leave: true from the signal on, while the app's lifespan hears of it only at the end.

    SIGINT, SIGTERM and SIGHUP end the server once there is one, else whatever is being started; so does the second
    one while the app is still on its way up.
    """

    def __init__(self) -> None:
        self.begun = False
        self.server: Server | None = None
        self._main = asyncio.current_task()

    def leave(self, number: int) -> None:
        again, self.begun = self.begun, True
        if self.server is not None:
            self.server.handle_exit(number, None)
        if self._main is not None and (self.server is None or (again and not self.server.started)):
            self._main.cancel()

    @contextlib.contextmanager
    def on_signals(self) -> Iterator[None]:
        loop = asyncio.get_running_loop()
        numbers = [signal.SIGINT, signal.SIGTERM]
        if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # else this is nohup's wish
            numbers.append(signal.SIGHUP)
        for number in numbers:
            loop.add_signal_handler(number, self.leave, number)
        try:
            yield
        finally:
            for number in numbers:
                loop.remove_signal_handler(number)


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("serve", help="run the gateway in front of the workers")
    add_settings(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    settings = loaded(given).settings
    configure(settings)
    return run_until_signal(settings, nullcontext(settings))


def run_until_signal(settings: Settings, around: AbstractAsyncContextManager[Settings]) -> int:
    """Serve with the settings that `around` yields, and leave that when the server has ended."""
    gc.set_threshold(*_COLLECTED)
    with asyncio.Runner(loop_factory=auto_loop_factory()) as runner:
        return runner.run(_serve(settings, around))


async def _serve(settings: Settings, around: AbstractAsyncContextManager[Settings]) -> int:
    leaving = Leaving()
    with leaving.on_signals(), listening(settings.host, settings.port) as sock:
        try:
            async with around as final, state_for(final) as state_url:
                server = leaving.server = Server(_config(final, state_url, leaving))
                async with _telling(server, reachable(final.host, sock.getsockname()[1]), final):
                    await server.serve([sock])
        except asyncio.CancelledError:
            if not leaving.begun:
                raise
        except SystemExit:  # uvicorn's way to say that the app did not start; it has logged why
            return 1
    return 0 if leaving.begun else 1


def _config(settings: Settings, state_url: str, leaving: Leaving) -> uvicorn.Config:
    return uvicorn.Config(
        build(settings, state_url, lambda: leaving.begun),
        interface="asgi3",
        http=Http,
        ws=PatientlyClosed,
        ws_per_message_deflate=settings.socket_compression,
        lifespan="on",
        access_log=False,
        log_config=None,
        server_header=False,
        proxy_headers=False,  # `trusted_proxies` decides who may say so
        timeout_keep_alive=_KEEP_ALIVE,
        timeout_graceful_shutdown=math.ceil(settings.shutdown_grace),
    )


@contextlib.contextmanager
def listening(host: str, port: int) -> Iterator[socket.socket]:
    """Take the port before anything else is started; raises GatewayError when it cannot be had."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        sock = socket.create_server((host, port), family=family, dualstack_ipv6=host == "::")
    except OSError as exc:
        raise GatewayError(f"cannot listen on {host}:{port}: {reason(exc)}") from None
    with sock:
        # Taken over by each connection; uvloop sets it itself, asyncio only where the socket's protocol is spelt out.
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        ask_after(sock, _PROBED)
        yield sock


@asynccontextmanager
async def state_for(settings: Settings) -> AsyncIterator[str]:
    """The URL of the state: the one that is set, else of a private server that lives as long as the body."""
    if settings.state:
        yield settings.state
        return
    async with private_state(settings.data_dir) as url:
        yield url


@asynccontextmanager
async def _telling(server: Server, base: str, settings: Settings) -> AsyncIterator[None]:
    """Print the banner beside the body, once the server serves."""
    task = asyncio.create_task(_tell(server, base, settings), name="banner")
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


async def _tell(server: Server, base: str, settings: Settings) -> None:
    while not server.started:  # noqa: ASYNC110 - uvicorn has no event for it
        await asyncio.sleep(0.02)
    state = masked(settings.state) or f"a private server in {settings.data_dir}"
    try:
        print(await banner(base, state), flush=True)
    except Exception:
        log.exception("the banner failed")
