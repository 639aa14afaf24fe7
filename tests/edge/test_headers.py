from __future__ import annotations

import pytest

from gateway.edge.headers import accepts_gzip, content_length, has_body, header, matches, values


def test_the_first_of_a_name_counts() -> None:
    headers = [(b"host", b"a"), (b"host", b"b")]
    assert header(headers, b"host") == "a"
    assert header(headers, b"origin") is None


def test_a_list_may_stand_on_several_lines() -> None:
    headers = [(b"x-forwarded-for", b"a, b,,"), (b"other", b"x"), (b"x-forwarded-for", b" c")]
    assert values(headers, b"x-forwarded-for") == ["a", "b", "c"]


@pytest.mark.parametrize(
    ("text", "length"), [(b"0", 0), (b"12", 12), (b"-1", None), (b"+1", None), ("٣".encode(), None), (b"", None)]
)
def test_a_length_is_digits(text: bytes, length: int | None) -> None:
    assert content_length([(b"content-length", text)]) == length


@pytest.mark.parametrize(
    ("headers", "expected"),
    [
        ([], False),
        ([(b"content-length", b"0")], False),
        ([(b"content-length", b"1")], True),
        ([(b"transfer-encoding", b"chunked")], True),
    ],
)
def test_which_requests_have_a_body(headers: list[tuple[bytes, bytes]], expected: bool) -> None:
    assert has_body(headers) is expected


@pytest.mark.parametrize(
    ("accepted", "expected"),
    [
        (b"gzip, deflate, br", True),
        (b"br;q=1, GZIP;q=0.5", True),
        (b"*", True),
        (b"gzip;q=0, *", False),
        (b"gzip; q=0.0", False),
        (b"identity", False),
        (b"", False),
    ],
)
def test_who_takes_gzip(accepted: bytes, expected: bool) -> None:
    assert accepts_gzip([(b"accept-encoding", accepted)]) is expected


@pytest.mark.parametrize(
    ("given", "expected"),
    [(b'W/"a"', True), (b'"a"', True), (b'"x", "a"', True), (b"*", True), (b'"b"', False), (b"a", False)],
)
def test_tags_are_compared_weakly(given: bytes, expected: bool) -> None:
    assert matches([(b"if-none-match", given)], 'W/"a"') is expected
    assert matches([], 'W/"a"') is False
