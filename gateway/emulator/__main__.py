"""`python -m gateway.emulator --port N`: one emulated ComfyUI worker."""

from __future__ import annotations

import argparse
import asyncio
import sys
from collections.abc import Callable
from pathlib import Path

from gateway.emulator.serve import serve
from gateway.emulator.settings import EmulatorSettings


def main(arguments: list[str] | None = None) -> int:
    given = _parser().parse_args(arguments)
    models = tuple(name for name in given.models.split(",") if name)
    try:
        settings = EmulatorSettings(
            name=given.name,
            vram_gib=given.vram_gib,
            models=models,
            speed=given.speed,
            comfyui=given.comfyui,
            directory=given.directory,
            load_seconds=given.load_seconds,
            on_prompt_event=given.on_prompt_event,
        )
        asyncio.run(serve(settings, given.host, given.port, _ready(given.name)))
    except (OSError, ValueError) as error:
        print(f"emulator: {error}", file=sys.stderr)
        return 1
    return 0


def _parser() -> argparse.ArgumentParser:
    known = EmulatorSettings()
    parser = argparse.ArgumentParser(prog="python -m gateway.emulator", description=__doc__)
    parser.add_argument("--host", default="127.0.0.1")
    parser.add_argument("--port", type=int, default=8188, help="0 takes a free one")
    parser.add_argument("--name", default=known.name)
    parser.add_argument("--vram-gib", type=float, default=known.vram_gib)
    parser.add_argument("--models", default="", metavar="A,B", help="file names that the loaders list")
    parser.add_argument("--speed", type=float, default=known.speed, help="divides all emulated durations")
    parser.add_argument("--comfyui", choices=("0.3.64", "0.38.1"), default=known.comfyui)
    parser.add_argument("--directory", type=Path, help="keeps its files here; a temporary folder by default")
    parser.add_argument("--load-seconds", type=float, default=known.load_seconds, help="to load one model")
    parser.add_argument("--on-prompt-event", action="store_true", help="broadcast an event at each POST /prompt")
    return parser


def _ready(name: str) -> Callable[[str], None]:
    def told(url: str) -> None:
        print(f"{name}: an emulated ComfyUI at {url}", flush=True)

    return told


if __name__ == "__main__":
    sys.exit(main())
