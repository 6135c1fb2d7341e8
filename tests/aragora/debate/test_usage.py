"""Tokens of answers, summed and stored."""

import pytest

from aragora.debate.usage import Usage


def test_usages_add_up() -> None:
    both = Usage(10, 5, 4, 3, 2) + Usage(1, 2, 0, 0, 1)
    assert both == Usage(11, 7, 4, 3, 3)
    assert both.total == 18, "parts of the input and the output are not counted twice"


def test_a_stored_usage_is_read_back() -> None:
    usage = Usage(10, 5, 4, 3, 2)
    assert Usage.from_json(usage.to_json()) == usage


@pytest.mark.parametrize("value", [None, -1, 1.5, "3", True, [1]])
def test_what_is_no_count_is_none(value: object) -> None:
    assert Usage.from_json({"input": value, "output": 2, "more": 9}) == Usage(output=2)
