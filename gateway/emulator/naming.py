"""The names that ComfyUI's savers give: `prefix_00001_.png`, counted per folder by what is on the disk."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from pathlib import Path

from gateway.emulator.folders import Outside, within


@dataclass(frozen=True, slots=True)
class SavePlace:
    folder: Path
    subfolder: str
    stem: str
    counter: int

    def name(self, index: int, extension: str) -> str:
        """The index-th file of this save; `%batch_num%` is told here because it differs for each."""
        return f"{self.stem.replace('%batch_num%', str(index))}_{self.counter + index:05}_.{extension}"


def save_place(root: Path, prefix: str, width: int, height: int) -> SavePlace:
    """Where a saver with this prefix writes next; makes the folder. Raises Outside when it leads out of `root`."""
    prefix = os.path.normpath(_expanded(prefix, width, height))
    subfolder, stem = os.path.split(prefix)
    try:
        folder = within(root, subfolder)
    except Outside:
        raise Outside(f"Saving outside the output folder is not allowed: {prefix}") from None
    folder.mkdir(parents=True, exist_ok=True)
    return SavePlace(folder, subfolder, stem, _highest(folder, stem) + 1)


def _expanded(prefix: str, width: int, height: int) -> str:
    now = time.localtime()
    values = {
        "width": str(width),
        "height": str(height),
        "year": str(now.tm_year),
        "month": f"{now.tm_mon:02}",
        "day": f"{now.tm_mday:02}",
        "hour": f"{now.tm_hour:02}",
        "minute": f"{now.tm_min:02}",
        "second": f"{now.tm_sec:02}",
    }
    return re.sub(r"%(\w+)%", lambda found: values.get(found[1], found[0]), prefix)


def _highest(folder: Path, stem: str) -> int:
    counted = re.compile(re.escape(stem) + r"_(\d+)(?:_|$)")
    return max((int(found[1]) for name in os.listdir(folder) if (found := counted.match(name))), default=0)
