from __future__ import annotations

import pytest

from gateway.domain.files.index import FileIndex, Kept, Naming
from gateway.domain.files.refs import FileRef


def kept(at: float, size: int = 1) -> Kept:
    return Kept(f"blob {at}", f"digest {at}", size, at)


X, Y, Z = FileRef("input", "x"), FileRef("input", "sub/y"), FileRef("temp", "z")


def test_the_newest_are_first_and_a_change_shows_at_once() -> None:
    index = FileIndex()
    index.replace({X: kept(1), FileRef("input", "b"): kept(3), Y: kept(2), Z: kept(4)})
    assert index.newest("input") == ("b", "x")
    assert index.newest("input", "sub") == ("y",)
    before = index.version
    index.put({X: kept(9), FileRef("input", "b"): None})
    assert index.version > before
    assert index.newest("input") == ("x",)
    assert (X in index, FileRef("input", "b") in index, len(index)) == (True, False, 3)


def test_sizes_of_what_is_kept() -> None:
    index = FileIndex()
    index.replace({X: kept(1, 10), Y: kept(2, 20)})
    assert index.size([X, Y, Z]) == 30
    assert index.get(Z) is None


@pytest.mark.parametrize(
    ("shown", "second"),
    [("x.png", "x (2).png"), ("x", "x (2)"), ("a.tar.gz", "a.tar (2).gz"), (".hidden", ".hidden (2)")],
)
def test_the_number_goes_before_the_extension(shown: str, second: str) -> None:
    naming = Naming(FileRef("input", f"sub.d/{shown}"), shown, overwrite=False)
    assert naming.spelled(2) == second
    assert naming.spelled(0) == shown
    before, after = naming.parts
    assert f"{before} (2){after}" == f"input/sub.d/{second}"
