from __future__ import annotations

from typing import Any

import pytest

from gateway.domain.errors import PromptRefused
from gateway.domain.labels import MOST, Wishes, by_worker, labels, wishes


@pytest.mark.parametrize(
    ("extra_data", "headers", "expected"),
    [
        ({}, {}, Wishes()),
        ({"requires": None, "priority": None}, {}, Wishes()),
        ({"requires": []}, {}, Wishes()),
        ({"requires": "big"}, {}, Wishes(frozenset({"big"}))),
        ({"requires": "big, nvidia/h100 "}, {}, Wishes(frozenset({"big", "nvidia/h100"}))),
        ({"requires": ["big", "big", "zone:a"]}, {}, Wishes(frozenset({"big", "zone:a"}))),
        ({"priority": -100}, {}, Wishes(priority=-100)),
        ({"priority": 100}, {}, Wishes(priority=100)),
        ({}, {"requires": "a,b", "priority": " +7 "}, Wishes(frozenset({"a", "b"}), 7)),
        ({"requires": ["a"], "priority": 5}, {"requires": "b", "priority": "-3"}, Wishes(frozenset({"b"}), -3)),
        ({"requires": 5, "priority": "high"}, {"requires": "", "priority": "0"}, Wishes()),
    ],
)
def test_what_a_client_may_ask_for(extra_data: dict[str, Any], headers: dict[str, str], expected: Wishes) -> None:
    assert wishes(extra_data, **headers) == expected


@pytest.mark.parametrize(
    ("extra_data", "headers", "field"),
    [
        ({"requires": 5}, {}, "extra_data.requires"),
        ({"requires": {"a": 1}}, {}, "extra_data.requires"),
        ({"requires": ["a", 5]}, {}, "extra_data.requires"),
        ({"requires": [""]}, {}, "extra_data.requires"),
        ({"requires": ["a b"]}, {}, "extra_data.requires"),
        ({"requires": "x" * 65}, {}, "extra_data.requires"),
        ({"requires": [str(number) for number in range(MOST + 1)]}, {}, "extra_data.requires"),
        ({}, {"requires": "ü"}, "X-Gateway-Requires"),
        ({"priority": 101}, {}, "extra_data.priority"),
        ({"priority": -101}, {}, "extra_data.priority"),
        ({"priority": True}, {}, "extra_data.priority"),
        ({"priority": "5"}, {}, "extra_data.priority"),
        ({"priority": 1.5}, {}, "extra_data.priority"),
        ({"priority": []}, {}, "extra_data.priority"),
        ({}, {"priority": "high"}, "X-Gateway-Priority"),
        ({}, {"priority": ""}, "X-Gateway-Priority"),
        ({}, {"priority": "1e1"}, "X-Gateway-Priority"),
        ({}, {"priority": "9" * 5000}, "X-Gateway-Priority"),
    ],
)
def test_what_is_refused_names_its_field(extra_data: dict[str, Any], headers: dict[str, str], field: str) -> None:
    with pytest.raises(PromptRefused) as caught:
        wishes(extra_data, **headers)
    assert caught.value.body()["error"]["extra_info"] == {"field": field}
    assert field in caught.value.message


def test_labels_of_workers_as_the_settings_have_them() -> None:
    assert by_worker(["a=big", "b=x", "a=video"]) == {"a": labels("big video"), "b": labels("x")}
    for wrong in ("a", "=big", "a=", "a=b c"):
        with pytest.raises(ValueError, match=r"LABEL|label"):
            by_worker([wrong])
