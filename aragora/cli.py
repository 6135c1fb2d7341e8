"""``aragora``: ask, watch, list, export, and look after the service."""

from __future__ import annotations

import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code (0 fine, 1 failed, 2 wrong arguments)."""
    print("aragora: no command yet", sys.argv[1:] if argv is None else argv, file=sys.stderr)
    return 2
