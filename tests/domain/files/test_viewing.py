"""Queries of /view: what they name, what is refused, and how a worker is asked for the same."""

from __future__ import annotations

from urllib.parse import parse_qs, quote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.errors import NotShown
from gateway.domain.files import OutputFile, asked

FOUND: list[tuple[str, OutputFile]] = [
    ("filename=x.png", OutputFile("output", "", "x.png")),
    ("filename=x.png&type=temp&subfolder=", OutputFile("temp", "", "x.png")),
    ("filename=x.png&subfolder=a/b/", OutputFile("output", "a/b", "x.png")),
    ("filename=x.png&subfolder=a%2F..%2Fb", OutputFile("output", "b", "x.png")),
    ("filename=clipspace/x.png&type=input", OutputFile("input", "", "x.png")),
    ("filename=x.png%20%5Btemp%5D&type=input", OutputFile("temp", "", "x.png")),
    ("filename=x.png[output]", OutputFile("output", "", "x.png")),
    ("filename=%C3%BC+%22q%22~a.png", OutputFile("output", "", 'ü "q"~a.png')),
    ("filename=%FF.png", OutputFile("output", "", "\udcff.png")),
    ("filename=x.png&filename=y.png&rand=0.5", OutputFile("output", "", "x.png")),
]


@pytest.mark.parametrize(("query", "file"), FOUND)
def test_what_is_named(query: str, file: OutputFile) -> None:
    assert asked(query.encode()).file == file


@pytest.mark.parametrize(
    ("query", "status"),
    [
        ("", 404),
        ("type=output", 404),
        ("filename=", 400),
        ("filename=%20%5Boutput%5D", 400),
        ("filename=/etc/passwd", 400),
        ("filename=../x.png", 400),
        ("filename=a..b.png", 400),
        ("filename=x.png&type=models", 400),
        ("filename=x.png&type=", 400),
        ("filename=x.png&subfolder=..", 403),
        ("filename=x.png&subfolder=a/../../b", 403),
        ("filename=x.png&subfolder=/etc", 403),
    ],
)
def test_what_is_refused_as_comfyui_refuses_it(query: str, status: int) -> None:
    with pytest.raises(NotShown) as refused:
        asked(query.encode())
    assert refused.value.status == status


def test_a_conversion_is_asked_for_along_with_the_file() -> None:
    query = asked(b"filename=x~w.png&type=temp&rand=1&preview=webp;50&channel=rgb&client_id=me")
    assert query.target(OutputFile("temp", "s", "x.png")) == (
        b"/view?filename=x.png&type=temp&subfolder=s&preview=webp%3B50&channel=rgb"
    )
    assert query.converted
    assert asked(b"filename=x.png&channel=a").converted
    assert not asked(b"filename=x.png&channel=rgba").converted


names = st.text(st.characters(exclude_characters="/\0", exclude_categories=["Cs"]) | st.just("\udcff"), min_size=1)


@given(names.filter(lambda name: ".." not in name))
def test_a_worker_is_asked_for_any_name_as_it_was_given(name: str) -> None:
    query = asked(b"filename=" + quote(name + " [temp]", errors="surrogateescape").encode())
    told = parse_qs(query.target(query.file).partition(b"?")[2].decode(), errors="surrogateescape")
    assert told["filename"] == [name]
