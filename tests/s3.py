"""A server that speaks S3, for tests of what is kept in a bucket."""

from __future__ import annotations

import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import pytest
from moto.server import ThreadedMotoServer


@dataclass(frozen=True, slots=True)
class S3:
    url: str

    def let_in(self, monkeypatch: pytest.MonkeyPatch) -> None:
        """Sets credentials, without which nobody asks; this server does not look at them."""
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
        monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")

    def bucket(self, folder: str) -> str:
        """The setting `blobs` for a folder of a bucket there."""
        return f"s3://bucket/{folder}?endpoint={self.url}&allow_http=true&region=us-east-1"


@contextmanager
def s3_server() -> Iterator[S3]:
    with running() as server:
        url = f"http://127.0.0.1:{server.get_host_and_port()[1]}"
        urllib.request.urlopen(urllib.request.Request(f"{url}/bucket", method="PUT")).close()
        yield S3(url)


@contextmanager
def running(port: int = 0) -> Iterator[ThreadedMotoServer]:
    """Of one process all servers have the same buckets, also when one comes after another."""
    server = ThreadedMotoServer("127.0.0.1", port, verbose=False)
    server.start()
    try:
        yield server
    finally:
        server.stop()
