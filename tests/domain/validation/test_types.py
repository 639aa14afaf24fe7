from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.validation import Generation
from gateway.domain.validation.types import fits


@pytest.mark.parametrize(
    ("received", "wanted", "old", "new"),
    [
        ("IMAGE", "IMAGE", True, True),
        ("IMAGE", "MASK", False, False),
        ("IMAGE", "MASK,IMAGE", True, True),
        ("STRING,BOOLEAN", "INT, STRING", True, True),
        ("IMAGE", "*", True, True),
        ("*", "IMAGE", True, True),
        ("IMAGE,*", "MASK", True, True),
        (["a", "b"], ["a", "b"], True, True),
        (["a", "b"], ["a"], False, False),
        (["a"], "STRING", False, False),
        (["a"], "*", True, True),
        ("STRING", ["a"], False, False),
        (["a"], "COMBO", False, True),
        ("COMFY_MATCHTYPE_V3", "IMAGE", False, True),
        ("IMAGE", "COMFY_MATCHTYPE_V3", False, True),
    ],
)
def test_types(received: Any, wanted: Any, old: bool, new: bool) -> None:
    assert fits(received, wanted, Generation.OLD) is old
    assert fits(received, wanted, Generation.NEW) is new
