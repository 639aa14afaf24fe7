"""What a file is to a browser, by its name."""

from __future__ import annotations

import pytest

from gateway.domain.media import content_type, disposition, is_dangerous, view_headers


@pytest.mark.parametrize("name", ["a.html", "a.HTM", "a.xhtml", "a.js", "a.mjs", "a.css", "a.svg", "a.xml", "a.mht"])
def test_what_a_browser_would_run(name: str) -> None:
    assert is_dangerous(content_type(name))
    told = dict(view_headers(name, None))
    assert told["content-type"] == "application/octet-stream"
    assert told["content-disposition"] == f'attachment; filename="{name}"'
    assert told["x-content-type-options"] == "nosniff"


@pytest.mark.parametrize("name", ["a.png", "a.webp", "a.mp4", "a.flac", "a.glb", "a.json", "a.txt", "a", "a.latent"])
def test_what_it_only_shows(name: str) -> None:
    assert not is_dangerous(content_type(name))
    assert dict(view_headers(name, None))["content-disposition"] == f'filename="{name}"'


def test_a_quote_does_not_end_the_name() -> None:
    assert disposition('a"b\\c') == 'filename="a\\"b\\\\c"'
