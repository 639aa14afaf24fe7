"""What a query of GET /view asks for, judged as ComfyUI judges it, and how that is asked of a worker."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, urlencode

from gateway.domain.errors import NotShown
from gateway.domain.files.lives import TYPES
from gateway.domain.files.references import OutputFile

_HOW = ("preview", "channel")


@dataclass(frozen=True, slots=True)
class Asked:
    """`how` is `preview` and `channel`, as far as they were given. `rand` and the like only defeat caches."""

    file: OutputFile
    how: tuple[tuple[str, str], ...] = ()

    @property
    def converted(self) -> bool:
        """Whether a picture made from the file is asked for, and not its bytes."""
        return "preview" in dict(self.how) or dict(self.how).get("channel") in ("rgb", "a")

    def target(self, file: OutputFile) -> bytes:
        """Path and query that ask a worker for the same of this file."""
        query = {"filename": file.filename, "type": file.type, "subfolder": file.subfolder, **dict(self.how)}
        return b"/view?" + urlencode(query, errors="surrogateescape", quote_via=quote).encode()


def asked(query: bytes) -> Asked:
    """Raises NotShown: 404 without a filename, 400 for one that is no name, 403 for a folder outside (contract 1.3).

    Of a path in `filename` only the last part counts; folders belong into `subfolder`.
    """
    pairs = parse_qsl(query.decode("latin-1"), keep_blank_values=True, errors="surrogateescape")
    given = dict(reversed(pairs))  # of several of one name the first
    if "filename" not in given:
        raise NotShown(404)
    name, type = _annotated(given["filename"])
    if not name or name.startswith("/") or ".." in name:
        raise NotShown(400)
    type = type or given.get("type", "output")
    if type not in TYPES:
        raise NotShown(400)
    subfolder = posixpath.normpath(given.get("subfolder") or ".")
    if subfolder.startswith("/") or subfolder.split("/", 1)[0] == "..":
        raise NotShown(403)
    file = OutputFile(type, "" if subfolder == "." else subfolder, posixpath.basename(name))
    return Asked(file, tuple((key, given[key]) for key in _HOW if key in given))


def _annotated(name: str) -> tuple[str, str | None]:
    """`x.png [output]` is ("x.png", "output")."""
    for type in TYPES:
        if name.endswith(mark := f"[{type}]"):
            return name.removesuffix(mark).removesuffix(" "), type
    return name, None
