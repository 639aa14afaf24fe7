"""Names of output files that are unique in the whole farm, and the way back.

All workers write `ComfyUI_00001_.png`. In the farm the one that `gpu-0` wrote is `ComfyUI_00001_~gpu-0.png`; after
that worker's disk has begun anew, `ComfyUI_00001_~gpu-0.2.png`. What follows the last `~` is, read from its end: an
extension (after a dot, and no number), the life of the disk (a number), the worker. Where the worker's name alone
would be read as more than that, the life is written though it is the first: `notes` of the worker `10.0.0.5` is
`notes~10.0.0.5.1`. So no two files, workers and lives share a name.

A name gets longer by the worker's, at most by 76 bytes. It stands in URLs and JSON only, but for an output that is an
input of another prompt: that has it on a disk, where 255 bytes are the limit.
"""

from __future__ import annotations

import re
from collections.abc import Container
from typing import NamedTuple

from gateway.domain.ids import WorkerName

_LIFE = re.compile(r"[1-9][0-9]{0,8}")
_NUMBER = re.compile(r"[0-9]+")


class Bare(NamedTuple):
    """A file by the name that its worker knows, on the disk that the worker had in that life of it."""

    filename: str
    worker: WorkerName
    life: int


def farm_name(filename: str, worker: WorkerName, life: int) -> str:
    """`life` counts from 1. A path in front of the name stays in front."""
    stem, extension = _split(filename)
    short = f"{worker}{extension}"
    if life == 1 and _tail(short) == (worker, 1, extension):
        return f"{stem}~{short}"
    return f"{stem}~{worker}.{life}{extension}"


def bare(name: str, workers: Container[WorkerName]) -> Bare | None:
    """The file of one of `workers` that has this name in the farm, or None for a name of another kind."""
    stem, tilde, tail = name.rpartition("~")
    worker, life, extension = _tail(tail)
    if not tilde or not stem or worker not in workers:
        return None
    found = Bare(stem + extension, WorkerName(worker), life)
    return found if farm_name(*found) == name else None


def _split(filename: str) -> tuple[str, str]:
    """Stem and extension. A number is no extension, nor is anything with a `~` or after dots only."""
    stem, dot, extension = filename.rpartition(".")
    if not stem.rpartition("/")[2].strip(".") or not extension or _NUMBER.fullmatch(extension):
        return filename, ""
    return (filename, "") if {"~", "/"} & set(extension) else (stem, dot + extension)


def _tail(text: str) -> tuple[str, int, str]:
    """Worker, life and extension; each text is read in one way."""
    parts, extension, life = text.split("."), "", 1
    if len(parts) > 1 and not _NUMBER.fullmatch(parts[-1]):
        extension = "." + parts.pop()
    if len(parts) > 1 and _LIFE.fullmatch(parts[-1]):
        life = int(parts.pop())
    return ".".join(parts), life, extension
