"""Reading foreign JSON: nothing about its shape is taken for granted."""

import json
from typing import Any


def parsed(text: str) -> Any:
    """The JSON in `text`, None if it is none."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return None


def dig(value: Any, *path: str | int) -> Any:
    """What lies at `path` in a JSON value; None where there is no such place."""
    for step in path:
        if isinstance(step, int):
            value = value[step] if isinstance(value, list) and -len(value) <= step < len(value) else None
        else:
            value = value.get(step) if isinstance(value, dict) else None
    return value


def word(value: Any) -> str | None:
    """`value` if it is a text that is not empty."""
    return value if isinstance(value, str) and value else None


def count(value: Any) -> int:
    """`value` if it is a whole number above 0; else 0."""
    return value if isinstance(value, int) and not isinstance(value, bool) and value > 0 else 0
