"""`gateway emulate`: one emulated ComfyUI worker."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from gateway.cli.parser import Commands, reason
from gateway.domain.errors import GatewayError
from gateway.emulator.serve import serve
from gateway.emulator.settings import EmulatorSettings
from gateway.settings import SettingsError

DEFAULTS = EmulatorSettings()
_FLAGS = ("--host", "--port", "--name", "--vram-gib", "--models", "--speed", "--comfyui", "--directory")


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("emulate", help="run an emulated ComfyUI worker, without a GPU")
    parser.add_argument("--host", default="127.0.0.1", help="the address to listen on")
    parser.add_argument("--port", type=int, default=8188, help="the port to listen on; 0 takes a free one")
    parser.add_argument("--name", default=DEFAULTS.name, help="what it calls itself in its output")
    parser.add_argument("--vram-gib", type=float, default=DEFAULTS.vram_gib, help="the GPU's memory")
    parser.add_argument("--models", default="", metavar="A,B", help="model files that it has")
    parser.add_argument("--speed", type=float, default=DEFAULTS.speed, help="2 takes half the time for everything")
    parser.add_argument("--comfyui", choices=("0.3.64", "0.38.1"), default=DEFAULTS.comfyui)
    parser.add_argument("--directory", type=Path, help="where its files are kept; else gone when it ends")
    parser.add_argument("--with-parent", action="store_true", help=argparse.SUPPRESS)
    parser.set_defaults(run=run, known_flags=_FLAGS)


def run(given: argparse.Namespace) -> int:
    try:
        settings = EmulatorSettings(
            name=given.name,
            vram_gib=given.vram_gib,
            models=tuple(model for model in given.models.split(",") if model),
            speed=given.speed,
            comfyui=given.comfyui,
            directory=given.directory,
        )
    except ValueError as exc:
        raise SettingsError(str(exc)) from None
    asyncio.run(_serve(settings, given))
    return 0


async def _serve(settings: EmulatorSettings, given: argparse.Namespace) -> None:
    def ready(url: str) -> None:
        print(f"{settings.name} at {url}", flush=True)

    try:
        async with _ending_with_parent(given.with_parent):
            await serve(settings, given.host, given.port, ready)
    except OSError as exc:
        raise GatewayError(f"cannot listen on {given.host}:{given.port}: {reason(exc)}") from None


@asynccontextmanager
async def _ending_with_parent(wanted: bool) -> AsyncIterator[None]:
    """End when standard input does: it is a pipe whose other end the kernel closes with the parent, killed or not."""
    if not wanted:
        yield
        return
    loop, stdin = asyncio.get_running_loop(), sys.stdin.fileno()

    def read() -> None:
        if not os.read(stdin, 4096):
            loop.remove_reader(stdin)
            os.kill(os.getpid(), signal.SIGTERM)

    loop.add_reader(stdin, read)
    try:
        yield
    finally:
        loop.remove_reader(stdin)
