from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.inputs import read_input
from gateway.domain.validation.custom import Validator, missing_files

KNOWN = {name: read_input("N", name, "required", ["X", {"rawLink": name == "raw"}]) for name in ("a", "b", "raw")}


def judge(validator: Validator, **inputs: Any) -> list[tuple[str, str]]:
    return [(one["details"], one["extra_info"]["input_name"]) for one in validator.judge(inputs, KNOWN, lambda _: True)]


def test_a_refusal_is_told_for_each_input_that_was_taken() -> None:
    validator = Validator("N.V", ("a",), ("b",), check=lambda given, _: "no")
    assert judge(validator, b=1, a=2, raw=3, unknown=4) == [("b - no", "b"), ("a - no", "a")]
    assert judge(Validator("N.V", ("a",), check=lambda given, _: False), a=1) == [("a", "a")]


def test_links_come_as_none_unless_they_are_wanted_raw() -> None:
    seen: dict[str, Any] = {}
    validator = Validator("N.V", everything=True, check=lambda given, _: bool(seen.update(given)) or True)
    assert judge(validator, a=["1", 0], b=["1", "0"], raw=["1", 0]) == []
    assert seen == {"a": None, "b": ["1", "0"], "raw": ["1", 0]}


@pytest.mark.parametrize(
    ("required", "text"),
    [
        (("a",), "missing 1 required positional argument: 'a'"),
        (("a", "b"), "missing 2 required positional arguments: 'a' and 'b'"),
        (("a", "b", "raw"), "missing 3 required positional arguments: 'a', 'b', and 'raw'"),
    ],
)
def test_missing_arguments_read_as_python_words_them(required: tuple[str, ...], text: str) -> None:
    namespace: dict[str, Any] = {}
    exec(f"def call({', '.join(required)}): pass", namespace)
    with pytest.raises(TypeError) as real:
        namespace["call"]()
    assert str(real.value) == f"call() {text}"
    with pytest.raises(TypeError) as ours:
        judge(Validator("N.V", required))
    assert str(ours.value) == f"N.V() {text}"


def test_missing_files_looks_only_at_literal_names() -> None:
    known = {"f": read_input("N", "f", "required", [["listed"], {"image_upload": True}])}
    for value in (None, 3, ["1", 0], "listed", "there"):
        assert list(missing_files({"f": value}, known, lambda name: name == "there")) == []
    assert len(list(missing_files({"f": "gone"}, known, lambda _: False))) == 1
