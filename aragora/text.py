"""Text that agents and people wrote, made safe to show."""

import re

_CONTROLS = re.compile(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


def printable(text: str) -> str:
    """`text` without the control characters that steer terminals, turn lines around or confuse spreadsheets."""
    return _CONTROLS.sub("\N{REPLACEMENT CHARACTER}", text)
