"""What an emulated worker is told when it starts."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from gateway.domain.validation import Generation


@dataclass(frozen=True, slots=True)
class EmulatorSettings:
    """One emulated worker. Durations are of the emulated machine, in seconds; `speed` divides them all."""

    name: str = "emulator"
    vram_gib: float = 24.0
    models: tuple[str, ...] = ()
    """File names that the loaders list; `loras/x.safetensors` is listed in that folder only, a plain name in all."""
    speed: float = 1.0
    comfyui: str = "0.3.64"
    """The server generation to imitate: 0.3.64 or 0.38.1."""
    directory: Path | None = None
    """Holds input, output, temp and user; a temporary one, removed at the end, when None."""
    load_seconds: float = 2.0
    """To bring one model into VRAM."""
    preview: bool = True
    """Whether KSampler sends previews (ComfyUI's --preview-method)."""
    on_prompt_event: bool = False
    """Whether an on-prompt handler broadcasts `probe-on-prompt` at each POST /prompt, as custom nodes do."""
    lacks: tuple[str, ...] = ()
    """Node classes that are not installed here."""
    max_upload_mib: float = 100.0
    die: Callable[[int], object] = os._exit
    """Ends the process where ComfyUI's would end, with its exit code; tests give another."""

    def __post_init__(self) -> None:
        Generation(self.comfyui)
        if self.speed <= 0:
            raise ValueError(f"speed must be above 0, not {self.speed}")

    @property
    def generation(self) -> Generation:
        return Generation(self.comfyui)

    @property
    def is_new(self) -> bool:
        return self.generation is Generation.NEW

    @property
    def max_upload_size(self) -> int:
        """In bytes."""
        return round(self.max_upload_mib * 1024 * 1024)
