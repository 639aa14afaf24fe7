"""`gateway demo`: the gateway in front of three emulated workers, for a first look without a GPU."""

from __future__ import annotations

import argparse
import asyncio
import logging
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

from gateway.cli.logs import configure
from gateway.cli.parser import Commands, add_settings, loaded
from gateway.cli.serve import run_until_signal
from gateway.domain.addresses import WorkerAddress, worker_address, worker_addresses
from gateway.domain.errors import GatewayError
from gateway.settings import Settings, SettingsError

log = logging.getLogger(__name__)

_BACK_AFTER = 1.0
_END_WITHIN = 5.0


@dataclass(frozen=True, slots=True)
class Machine:
    """An emulated worker of the demo."""

    name: str
    vram_gib: int
    models: tuple[str, ...]


_SDXL = "checkpoints/sd_xl_base_1.0.safetensors"
_SD15 = "checkpoints/v1-5-pruned-emaonly.safetensors"
_EXTRAS = ("clip_vision/clip_vision_g.safetensors", "controlnet/control-lora-depth-rank256.safetensors")
MACHINES = (
    Machine("gpu-0", 24, (_SDXL, _SD15, *_EXTRAS)),
    Machine("gpu-1", 24, (_SDXL, *_EXTRAS)),
    Machine("gpu-2", 12, (_SD15,)),
)
"""Not all have every model, so that it shows where prompts go."""


def add_to(commands: Commands) -> None:
    parser = commands.add_parser("demo", help="run the gateway in front of three emulated workers")
    add_settings(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    found = loaded(given)
    settings = found.settings
    if "data_dir" not in found.origin:  # what is played with here must not be mixed into a real gateway's state
        settings = settings.model_copy(update={"data_dir": settings.data_dir / "demo"})
    configure(settings)
    return run_until_signal(settings, emulated(settings))


@asynccontextmanager
async def emulated(settings: Settings) -> AsyncIterator[Settings]:
    """Run the machines, each a process, around the body; yields the settings with them as further workers."""
    processes = [EmulatedWorker(machine, settings.data_dir / machine.name) for machine in MACHINES]
    try:
        addresses = await asyncio.gather(*(process.start() for process in processes), return_exceptions=True)
        for address in addresses:
            if isinstance(address, BaseException):
                raise address
        try:
            workers = worker_addresses([*addresses, *settings.workers])  # type: ignore[list-item]
        except ValueError as exc:
            raise SettingsError(f"--worker: {exc}") from None
        yield settings.model_copy(update={"workers": workers})
    finally:
        await asyncio.gather(*(process.end() for process in processes))


class EmulatedWorker:
    """A `gateway emulate` process that comes back on its port when it crashes, as a supervised worker would.

    It is in a session of its own, so that Ctrl-C reaches the gateway first, and ends when its standard input
    does, so that not even a killed gateway leaves it behind.
    """

    def __init__(self, machine: Machine, directory: Path) -> None:
        self._machine = machine
        self._directory = directory
        self._port = "0"
        self._process: asyncio.subprocess.Process | None = None
        self._keeper: asyncio.Task[None] | None = None

    async def start(self) -> WorkerAddress:
        address = await self._launch()
        self._port = address.url.rpartition(":")[2]
        self._keeper = asyncio.create_task(self._keep(), name=f"emulated {self._machine.name}")
        return address

    async def end(self) -> None:
        if self._keeper is not None:
            self._keeper.cancel()
            await asyncio.wait([self._keeper])
        process = self._process
        if process is None or process.returncode is not None:
            return
        with suppress(ProcessLookupError):
            process.terminate()
        try:
            await asyncio.wait_for(process.wait(), _END_WITHIN)
        except TimeoutError:
            with suppress(ProcessLookupError):  # it ended in that very moment
                process.kill()
            await process.wait()

    async def _keep(self) -> None:
        while self._process is not None:
            code = await self._process.wait()
            log.warning("%s ended with %s and is started again", self._machine.name, code)
            await asyncio.sleep(_BACK_AFTER)
            with suppress(GatewayError):
                await self._launch()

    async def _launch(self) -> WorkerAddress:
        machine = self._machine
        flags = {
            "--name": machine.name,
            "--port": self._port,
            "--vram-gib": str(machine.vram_gib),
            "--models": ",".join(machine.models),
            "--directory": str(self._directory),
        }
        self._process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-m", "gateway", "emulate", "--with-parent"),
            *(part for flag in flags.items() for part in flag),
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            start_new_session=True,
        )
        assert self._process.stdout is not None
        line = (await self._process.stdout.readline()).decode().split()
        if not line:
            raise GatewayError(f"the emulated worker {machine.name} did not start")
        return worker_address(f"{machine.name}={line[-1]}")
