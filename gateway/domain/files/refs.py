"""Which file a name means: in a prompt's input, in an upload, in a query of /view (contract 5.1, 5.3 and 1.3).

ComfyUI joins folders and names as paths; so do we, as text: what leaves its folder is refused, nothing is looked up.
"""

from __future__ import annotations

import posixpath
from collections.abc import Mapping
from typing import NamedTuple

TYPES = ("input", "output", "temp")
MAX_NAME = 240
"""Bytes of the last part of a name: file systems know 255, and ` (123)` may be added."""
MAX_PATH = 1000


class Outside(ValueError):
    """The name leads out of its folder, or to no file."""


class FileRef(NamedTuple):
    """A file in one of the farm's three folders; `path` is relative, with `/` between, and in its shortest form."""

    type: str
    path: str

    @property
    def name(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def subfolder(self) -> str:
        return self.path.rpartition("/")[0]

    def __str__(self) -> str:
        return f"{self.type}/{self.path}"


def of_text(text: str) -> FileRef:
    """The reverse of `str(ref)`."""
    type, _, path = text.partition("/")
    return FileRef(type, path)


def annotated(name: str) -> tuple[str, str | None]:
    """`x.png [output]` is ("x.png", "output"); without a mark the type is None."""
    for type in TYPES:
        mark = f"[{type}]"
        if name.endswith(mark):
            return name[: -len(mark)].removesuffix(" "), type
    return name, None


def of_value(value: str) -> FileRef | None:
    """What a node's input means; None for what can be no file of the farm's folders."""
    bare, type = annotated(value)
    try:
        return located(type or "input", "", bare)
    except Outside:
        return None


def of_view(query: Mapping[str, str]) -> FileRef | None:
    """What a query of /view names, only the last part of `filename` counting; None for what it would not look up."""
    name, type = annotated(query.get("filename", ""))
    type = type or query.get("type", "output")
    if not name or name.startswith("/") or ".." in name or type not in TYPES:
        return None
    try:
        return located(type, query.get("subfolder", ""), posixpath.basename(name))
    except Outside:
        return None


def located(type: str, subfolder: str, name: str) -> FileRef:
    """Raises Outside. `type` must be one of TYPES."""
    path = posixpath.normpath(posixpath.join(posixpath.normpath(subfolder), name)) if name else "."
    if path.startswith(("/", "../")) or path in (".", "..") or "\0" in path:
        raise Outside(path)
    try:
        size = len(path.encode())
    except UnicodeEncodeError:
        raise Outside("the name is no Unicode text") from None
    ref = FileRef(type, path)
    if size > MAX_PATH or len(ref.name.encode()) > MAX_NAME:
        raise Outside("the name is too long")
    return ref
