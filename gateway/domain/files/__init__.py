"""Files of the farm: their names across workers, and where they stand in what workers tell."""

from __future__ import annotations

from gateway.domain.files.lives import TYPES, Lives, Marker
from gateway.domain.files.naming import Bare, bare, farm_name
from gateway.domain.files.references import WRITTEN, OutputFile, files_in, is_file
from gateway.domain.files.rewriting import Names, rename, rename_output, rename_record

__all__ = [
    "TYPES",
    "WRITTEN",
    "Bare",
    "Lives",
    "Marker",
    "Names",
    "OutputFile",
    "bare",
    "farm_name",
    "files_in",
    "is_file",
    "rename",
    "rename_output",
    "rename_record",
]
