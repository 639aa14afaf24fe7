from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.ranges import Unsatisfiable, http_date, is_since, wanted


@pytest.mark.parametrize(
    ("header", "part"),
    [
        (None, None),
        ("bytes=0-0", (0, 1)),
        ("bytes=2-", (2, 10)),
        ("bytes=2-99", (2, 10)),
        ("bytes=-3", (7, 10)),
        ("bytes=-99", (0, 10)),
        (" bytes=9-9 ", (9, 10)),
    ],
)
def test_a_part_of_ten_bytes(header: str | None, part: tuple[int, int] | None) -> None:
    assert wanted(header, 10) == part


@pytest.mark.parametrize("header", ["bytes=10-", "bytes=5-4", "bytes=-0", "bytes=-", "bytes=0-1,3-4", "lines=1-2", ""])
def test_what_cannot_be_had(header: str) -> None:
    with pytest.raises(Unsatisfiable):
        wanted(header, 10)


@given(st.text(max_size=20), st.integers(0, 100))
def test_a_part_is_never_outside(header: str, size: int) -> None:
    try:
        part = wanted(header, size)
    except Unsatisfiable:
        return
    assert part is not None
    assert 0 <= part[0] < part[1] <= size


def test_ages() -> None:
    at = 1_700_000_000.7
    assert http_date(at) == "Tue, 14 Nov 2023 22:13:20 GMT"
    assert is_since(http_date(at), at)
    assert is_since(http_date(at + 5), at)
    assert not is_since(http_date(at - 1), at)
    assert not is_since("no date", at)
    assert not is_since(None, at)
