"""The farm's /system_stats: one machine with the devices of all workers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

_ARGV = ["main.py"]
"""What a worker was started with tells its paths, so only the program is shown."""


@dataclass(frozen=True, slots=True)
class Reading:
    """One worker's GET /system_stats, parsed."""

    worker: str
    stats: Mapping[str, Any]
    up: bool


def merge(readings: Sequence[Reading]) -> dict[str, Any]:
    """One answer in ComfyUI's shape; `readings` in the farm's order, the home worker's first.

    The system is the first one's, also while that worker is away, so that versions do not flicker. Devices are those
    of the workers that are up; with more than one device each is renumbered and names its worker. Keys that are not
    known here are kept.
    """
    system: Mapping[str, Any] = {}
    for reading in readings:
        if isinstance(found := reading.stats.get("system"), Mapping):
            system = found
            break
    devices = [(r.worker, device) for r in readings if r.up for device in _devices(r.stats)]
    return {"system": _private(system), "devices": _told_apart(devices)}


def _devices(stats: Mapping[str, Any]) -> list[Mapping[str, Any]]:
    found = stats.get("devices")
    return [device for device in found if isinstance(device, Mapping)] if isinstance(found, list) else []


def _private(system: Mapping[str, Any]) -> dict[str, Any]:
    return {key: list(_ARGV) if key == "argv" else value for key, value in system.items()}


def _told_apart(devices: Sequence[tuple[str, Mapping[str, Any]]]) -> list[dict[str, Any]]:
    """The worker comes last in the name, for clients look at how it begins (`cuda:0 …`)."""
    if len(devices) == 1:
        return [dict(devices[0][1])]
    return [
        {**device, "name": f"{device.get('name', '')} ({worker})", "index": index}
        for index, (worker, device) in enumerate(devices)
    ]
