"""The names of certificates on demand, for /status.json: what the workers report of them, merged."""

import time
from collections import Counter
from collections.abc import Iterable
from typing import Any

MOST_CERTIFICATES = 20
MOST_REFUSED = 8
"""Names of each outcome, the newest."""
_DAY = 86400


def next_to_expire(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those whose certificates expire first. Where workers differ, one has not yet seen the later certificate."""
    newest: dict[str, dict[str, Any]] = {}
    for row in rows:
        before = newest.get(row["name"])
        if before is None or row["expires"] > before["expires"]:
            newest[row["name"]] = row
    first = sorted(newest.values(), key=lambda row: (row["expires"], row["name"]))[:MOST_CERTIFICATES]
    now = time.time()
    return [{**row, "days": int((row["expires"] - now) // _DAY)} for row in first]


def refused(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Those whose handshakes got no certificate, newest first; each name once, however many workers refused it."""
    newest: dict[str, dict[str, Any]] = {}
    for row in sorted(rows, key=lambda row: row["when"]):
        newest[row["name"]] = row
    found, counts = [], Counter[str]()
    for row in sorted(newest.values(), key=lambda row: -row["when"]):
        counts[row["outcome"]] += 1
        if counts[row["outcome"]] <= MOST_REFUSED:
            found.append(row)
    return found
