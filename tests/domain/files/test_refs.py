from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.files.refs import FileRef, Outside, located, of_text, of_value


@pytest.mark.parametrize(
    ("value", "ref"),
    [
        ("x.png", FileRef("input", "x.png")),
        ("x.png [input]", FileRef("input", "x.png")),
        ("sub/x.png [output]", FileRef("output", "sub/x.png")),
        ("sub//./x.png[temp]", FileRef("temp", "sub/x.png")),
        ("x.png [other]", FileRef("input", "x.png [other]")),
        ("a/../x.png", FileRef("input", "x.png")),
        ("../x.png", None),
        ("/etc/passwd", None),
        ("..", None),
        ("", None),
        (" [input]", None),
        ("a\0b", None),
        ("\ud800.png", None),
        ("x" * 250, None),
    ],
)
def test_what_a_value_means(value: str, ref: FileRef | None) -> None:
    assert of_value(value) == ref


@pytest.mark.parametrize(
    ("subfolder", "name"),
    [("..", "x"), ("/", "x"), ("a", "../../x"), ("", "/x"), ("a", "/b"), ("", "."), ("a", ".."), ("../input", "x")],
)
def test_what_leaves_its_folder(subfolder: str, name: str) -> None:
    with pytest.raises(Outside):
        located("input", subfolder, name)


def test_parts() -> None:
    ref = located("temp", "a/b/", "c/x.png")
    assert (ref.subfolder, ref.name, str(ref)) == ("a/b/c", "x.png", "temp/a/b/c/x.png")
    assert located("input", "", "x").subfolder == ""


@given(st.sampled_from(["input", "output", "temp"]), st.text(max_size=40), st.text(min_size=1, max_size=40))
def test_a_ref_is_read_back_from_its_text(type: str, subfolder: str, name: str) -> None:
    try:
        ref = located(type, subfolder, name)
    except Outside:
        return
    assert of_text(str(ref)) == ref
    assert located(ref.type, ref.subfolder, ref.name) == ref
    assert ".." not in ref.path.split("/")
