"""A worker's disk: where its files are, what names in prompts and requests mean, and what may not be reached."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass, field
from pathlib import Path

KINDS = ("input", "output", "temp")


class Outside(Exception):
    """The name leads out of the folder it must stay in."""


@dataclass(frozen=True, slots=True)
class Folders:
    root: Path
    temporary: bool = False
    _paths: dict[str, Path] = field(default_factory=dict)

    @classmethod
    def make(cls, directory: Path | None) -> Folders:
        """Temp files of an earlier run are wiped, as ComfyUI wipes them; the rest stays."""
        root = Path(tempfile.mkdtemp(prefix="comfy-")) if directory is None else directory.resolve()
        paths = {kind: root / kind for kind in (*KINDS, "user")}
        shutil.rmtree(paths["temp"], ignore_errors=True)
        for path in paths.values():
            path.mkdir(parents=True, exist_ok=True)
        return cls(root.resolve(), directory is None, {k: p.resolve() for k, p in paths.items()})

    def close(self) -> None:
        shutil.rmtree(self.root if self.temporary else self._paths["temp"], ignore_errors=True)

    @property
    def user(self) -> Path:
        return self._paths["user"]

    def kind(self, kind: str | None) -> Path | None:
        return self._paths.get(kind) if kind in KINDS else None

    def annotated(self, name: str) -> tuple[str, Path | None]:
        """`x.png [output]` is ("x.png", the output folder); without a mark the folder is None."""
        for kind in KINDS:
            mark = f"[{kind}]"
            if name.endswith(mark):
                return name[: -len(mark)].removesuffix(" "), self._paths[kind]
        return name, None

    def of_value(self, name: str) -> Path:
        """The file that a node's input value means. 0.3.64 does not keep it inside its folder."""
        bare, folder = self.annotated(name)
        return (folder or self._paths["input"]) / bare

    def has(self, name: str) -> bool:
        return self.of_value(name).exists()

    def listing(self, kind: str = "input", subfolder: str = "") -> list[str]:
        """Names of the files at the top of a folder, sorted; empty when there is no such folder."""
        try:
            with os.scandir(self._paths[kind] / subfolder) as entries:
                return sorted(entry.name for entry in entries if entry.is_file())
        except FileNotFoundError:
            return []

    def newest(self, kind: str) -> list[str]:
        with os.scandir(self._paths[kind]) as entries:
            files = [entry for entry in entries if entry.is_file()]
            files.sort(key=lambda entry: -entry.stat().st_mtime)
            return [entry.name for entry in files]


def within(root: Path, path: str | Path) -> Path:
    """The absolute path, symlinks not followed, as ComfyUI compares it; raises Outside."""
    absolute = os.path.abspath(root / path)
    if os.path.commonpath((str(root), absolute)) != str(root):
        raise Outside(str(path))
    return Path(absolute)
