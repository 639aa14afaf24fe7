"""Files of the farm: their names across workers, and where they stand in what workers tell."""

from __future__ import annotations

from gateway.domain.files.lives import TYPES, Lives, Marker
from gateway.domain.files.naming import Bare, bare, farm_name
from gateway.domain.files.references import WRITTEN, OutputFile, files_in, is_file
from gateway.domain.files.rewriting import Names, rename, rename_output, rename_record
from gateway.domain.files.viewing import Asked, asked

__all__ = [
    "TYPES",
    "WRITTEN",
    "Asked",
    "Bare",
    "Lives",
    "Marker",
    "Names",
    "OutputFile",
    "asked",
    "bare",
    "farm_name",
    "files_in",
    "is_file",
    "rename",
    "rename_output",
    "rename_record",
]
