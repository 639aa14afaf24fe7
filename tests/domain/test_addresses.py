from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.addresses import (
    WorkerAddress,
    masked,
    worker_address,
    worker_addresses,
    worker_name,
    worker_url,
)


@pytest.mark.parametrize(
    ("text", "name", "url"),
    [
        ("http://10.0.0.1:8188", "10.0.0.1-8188", "http://10.0.0.1:8188"),
        ("http://10.0.0.1:8188/", "10.0.0.1-8188", "http://10.0.0.1:8188"),
        ("http://gpu", "gpu-80", "http://gpu"),
        ("https://GPU.example/comfy/", "gpu.example-443", "https://GPU.example/comfy"),
        ("http://[::1]:8188", "1-8188", "http://[::1]:8188"),
        ("http://[fe80::1:2]:8188", "fe80-1-2-8188", "http://[fe80::1:2]:8188"),
        ("gpu-1=http://a:1", "gpu-1", "http://a:1"),
        (" gpu_1.x=https://u:p=w@a:1/x=y ", "gpu_1.x", "https://u:p=w@a:1/x=y"),
        ("http://u:p=w@a:1", "a-1", "http://u:p=w@a:1"),
    ],
)
def test_an_address_is_read(text: str, name: str, url: str) -> None:
    assert worker_address(text) == WorkerAddress(worker_name(name), url)


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("", "must begin with http:// or https://"),
        ("a:8188", "must begin with http:// or https://"),
        ("ftp://a:8188", "must begin with http:// or https://"),
        ("=http://a:8188", "a worker's name is"),
        ("a b=http://a:8188", "a worker's name is"),
        ("a~b=http://a:8188", "a worker's name is"),
        ("..=http://a:8188", "would be a folder"),
        (f"{'n' * 65}=http://a:8188", "a worker's name is"),
        ("http://", "no usable host"),
        ("http://:8188", "no usable host"),
        ("http://a:0", "no usable host"),
        ("http://a b:8188", "no usable host"),
        ("http://a\x00b:8188", "no usable host"),
        ("http://a:port", "is not a URL"),
        ("http://a:99999", "is not a URL"),
        ("http://[::1", "is not a URL"),
        ("http://a:1?token=x", "before any"),
        ("http://a:1#x", "before any"),
    ],
)
def test_what_is_no_address_says_why(text: str, reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        worker_address(text)


def test_names_and_urls_are_unique() -> None:
    assert [str(address) for address in worker_addresses(["http://a:1", "b=http://b:1"])] == [
        "a-1=http://a:1",
        "b=http://b:1",
    ]
    with pytest.raises(ValueError, match=r"two are named 'b': write NAME=URL"):
        worker_addresses(["b=http://a:1", "b=http://b:1"])
    with pytest.raises(ValueError, match="http://a:1 is there twice"):
        worker_addresses(["x=http://a:1", "y=http://a:1/"])
    address = worker_address("x=http://a:1")
    assert worker_addresses([address]) == (address,)


def test_passwords_are_never_shown() -> None:
    assert masked("a=http://u:p@h/ redis://:x@y@z:1/0") == "a=http://***@h/ redis://***@z:1/0"
    assert masked("http://h/@x") == "http://h/@x"
    assert "pw" not in str(worker_address("a=http://u:pw@h:1"))
    for bad in ("http://u:pw@h:x", "ftp://u:pw@h", "http://u:pw@h?x", "http://u:pw@"):
        with pytest.raises(ValueError, match=r"\*\*\*@") as caught:
            worker_url(bad)
        assert "pw" not in str(caught.value)


@given(st.text(st.characters(codec="utf-8"), max_size=80))
def test_any_host_gives_a_name_that_is_one(host: str) -> None:
    try:
        address = worker_address(f"http://{host}:8188")
    except ValueError:
        return
    assert worker_name(address.name) == address.name
