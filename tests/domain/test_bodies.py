from __future__ import annotations

import gzip
import json

from gateway.domain.bodies import body, json_body


def test_json_is_written_as_comfyui_writes_it() -> None:
    assert json_body({"a": [1, 2.0, None], "ü": float("nan")}).plain == b'{"a": [1, 2.0, null], "\\u00fc": NaN}'


def test_only_large_answers_are_packed() -> None:
    small, large = json_body("x"), json_body(["x" * 20] * 2000)
    assert small.packed is None
    assert large.packed is not None
    assert len(large.packed) < len(large.plain) / 10
    assert json.loads(gzip.decompress(large.packed)) == ["x" * 20] * 2000


def test_an_etag_belongs_to_the_content() -> None:
    assert body(b"a").etag == body(b"a").etag != body(b"b").etag
    assert body(b"a").etag.startswith('W/"')
