"""The part of the composition root that has to do with the blob store."""

from __future__ import annotations

from gateway.adapters.blobs import ObjectBlobs, open_store
from gateway.settings import Settings


def blobs(settings: Settings, folder: str) -> ObjectBlobs:
    """One folder of this farm's in the blob store: its prefix keeps farms apart that share a bucket."""
    url = settings.blobs or str(settings.data_dir / "blobs")
    return ObjectBlobs(open_store(url), f"{settings.prefix}/{folder}")
