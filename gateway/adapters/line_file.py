"""A file of lines that is written off the event loop and never takes more than twice its size."""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from pathlib import Path

log = logging.getLogger(__name__)

WAITING = 10_000
"""Lines that may wait to be written; a disk that is slower than that loses the oldest."""


class RotatingLines:
    """ports.LineFile: at `size` bytes the file is renamed to `<name>.1`, in place of the one before."""

    def __init__(self, path: Path, size: int) -> None:
        self._path = path
        self._size = size
        self._waiting: deque[str] = deque(maxlen=WAITING)

    def add(self, line: str) -> None:
        self._waiting.append(line)

    async def flush(self) -> None:
        """Write what waits. What cannot be written is given up, with a warning."""
        if self._waiting:
            lines = list(self._waiting)
            self._waiting.clear()
            try:
                await asyncio.to_thread(self._write, lines)
            except OSError as error:
                log.warning("%s: %d lines are lost: %s", self._path, len(lines), error)

    def _write(self, lines: list[str]) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        with self._path.open("a") as file:
            file.writelines(f"{line}\n" for line in lines)
            full = file.tell() >= self._size
        if full:
            self._path.replace(self._path.with_name(self._path.name + ".1"))
