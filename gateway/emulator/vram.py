"""The emulated GPU's memory: models come in, the least recently used go out, and too large ones do not fit."""

from __future__ import annotations

import threading
from collections import OrderedDict

GIB = 1024**3

SIZES_GIB = {
    "checkpoints": 6.5,
    "diffusion_models": 11.0,
    "text_encoders": 4.5,
    "clip_vision": 1.5,
    "controlnet": 1.5,
    "vae": 0.3,
    "loras": 0.2,
    "upscale_models": 0.1,
    "probe": 4.0,
}


class OutOfMemory(Exception):
    """What torch raises when the device is full."""


class Vram:
    """Written by the execution thread, read by the routes."""

    def __init__(self, total_gib: float) -> None:
        self.total = int(total_gib * GIB)
        self._lock = threading.Lock()
        self._loaded: OrderedDict[str, int] = OrderedDict()

    @property
    def used(self) -> int:
        """In bytes."""
        with self._lock:
            return sum(self._loaded.values())

    @property
    def loaded(self) -> tuple[str, ...]:
        """The least recently used first."""
        with self._lock:
            return tuple(self._loaded)

    def use(self, model: str, folder: str) -> bool:
        """True when it had to be loaded; what is in the way is unloaded. Raises OutOfMemory when it cannot fit."""
        size = int(SIZES_GIB[folder] * GIB)
        if size > self.total:
            raise OutOfMemory("Allocation on device 0 would exceed allowed memory.")
        with self._lock:
            if model in self._loaded:
                self._loaded.move_to_end(model)
                return False
            while sum(self._loaded.values()) + size > self.total:
                self._loaded.popitem(last=False)
            self._loaded[model] = size
            return True

    def drop(self, model: str) -> None:
        with self._lock:
            self._loaded.pop(model, None)

    def clear(self) -> None:
        with self._lock:
            self._loaded.clear()
