"""The lives of a worker's disk, and the marker that tells one from the next.

A small file in each of its folders says which life this is. Where the marker is missing, the folder was emptied or is
another one: nothing that was there before can be counted on, and names may be used again.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from gateway.domain.files.references import OutputFile
from gateway.domain.ids import WorkerName

TYPES = ("output", "temp", "input")
_FOLDER = "comfy-gateway"
"""Not at the top, where ComfyUI lists files; and not hidden, so that who empties a folder empties this as well."""


@dataclass(frozen=True, slots=True)
class Lives:
    """Which life each folder of a worker is in, from 1."""

    output: int = 1
    temp: int = 1
    input: int = 1

    def of(self, type: str) -> int:
        return int(getattr(self, type))


@dataclass(frozen=True, slots=True)
class Marker:
    """The marker of one farm in one folder of one worker: workers may share a disk, and farms a worker."""

    farm: str
    worker: WorkerName
    type: str

    @property
    def file(self) -> OutputFile:
        whose = hashlib.sha256(f"{self.farm}/{self.worker}".encode()).hexdigest()
        return OutputFile(self.type, _FOLDER, f".{whose[:16]}")

    def content(self, life: int) -> bytes:
        return f"{self.farm} {self.worker} {self.type} {life}\n".encode()

    def life(self, content: bytes | None) -> int:
        """The life that a marker tells; 0 when there is none, or it is not ours."""
        number = (content or b"").rsplit(b" ", 1)[-1].strip()
        life = int(number) if number.isdigit() and len(number) < 10 else 0
        return life if content == self.content(life) else 0
