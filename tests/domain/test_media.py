"""What a file is to a browser, by its name."""

from __future__ import annotations

import pytest

from gateway.domain.media import content_type, disposition, is_dangerous, media, stored_headers, view_headers


@pytest.mark.parametrize(
    ("name", "kind", "dangerous"),
    [
        ("a.png", "image/png", False),
        ("a.webp", "image/webp", False),
        ("a.mp4", "video/mp4", False),
        ("a", "application/octet-stream", False),
        ("a.html", "text/html", True),
        ("a.svg", "image/svg+xml", True),
        ("a.xml", None, True),
        ("a.js", "application/javascript; charset=utf-8", True),
        ("a.css", "text/css", True),
        ("a.xhtml", "application/xhtml+xml", True),
    ],
)
def test_what_a_name_says(name: str, kind: str | None, dangerous: bool) -> None:
    told = content_type(name)
    assert told == kind or kind is None
    assert is_dangerous(told) is dangerous
    headers = dict(view_headers(name, None))
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["content-disposition"].startswith("attachment") is dangerous
    assert (headers["content-type"] == "application/octet-stream") is (dangerous or name == "a")


def test_a_drawing_may_be_shown_where_it_runs_nothing() -> None:
    assert dict(view_headers("a.svg", "image"))["content-type"] == "image/svg+xml"
    assert dict(view_headers("a.svg", "document"))["content-type"] == "application/octet-stream"
    assert dict(view_headers("a.html", "image"))["content-type"] == "application/octet-stream"


def test_quotes_do_not_end_the_name() -> None:
    assert disposition('a"b\\c.png') == 'filename="a\\"b\\\\c.png"'
    assert disposition("x", attachment=True) == 'attachment; filename="x"'


def test_kinds_of_media() -> None:
    assert [media(name) for name in ("a.png", "a.mp4", "a.wav", "a.glb", "a")] == [
        "image",
        "video",
        "audio",
        media("a.glb"),
        "",
    ]


def test_what_a_store_says_of_a_file_is_safe_there_and_ascii() -> None:
    assert stored_headers("a.png") == {"Content-Type": "image/png", "Content-Disposition": 'filename="a.png"'}
    page = {"Content-Type": "application/octet-stream", "Content-Disposition": 'attachment; filename="a.html"'}
    assert stored_headers("a.html") == page
    assert stored_headers("é.png")["Content-Disposition"] == "inline; filename*=UTF-8''%C3%A9.png"
    assert stored_headers("é\r.svg")["Content-Disposition"] == "attachment; filename*=UTF-8''%C3%A9%0D.svg"
    assert stored_headers("a\n.png")["Content-Disposition"] == "inline; filename*=UTF-8''a%0A.png"
