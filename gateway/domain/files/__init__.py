"""Files of the farm: their names across workers, and where they stand in what workers tell."""

from __future__ import annotations

from gateway.domain.files.naming import Bare, bare, farm_name
from gateway.domain.files.references import WRITTEN, OutputFile, files_in, is_file

__all__ = ["WRITTEN", "Bare", "OutputFile", "bare", "farm_name", "files_in", "is_file"]
