"""The slowest and the failed recent requests, picked as they are logged: a usual request pays a comparison."""

import heapq
from collections import Counter, deque
from collections.abc import Iterable
from itertools import count
from time import time
from typing import Any

from proxy.observe.log_formats import ADMIN, Entry, EntryFields

WINDOW = 600.0  # seconds for which a slow request is kept
SLOWEST = 20
FAILED = 40
CAUSES = 24  # of which the newest failures are kept, however many others came since
OF_CAUSE = 3
_LONGEST = 200  # characters of a target
_SWITCHED = 101


class Recent:
    """What one worker remembers."""

    def __init__(self) -> None:
        self._slow: list[tuple[float, int, Entry]] = []  # a heap: the fastest of the slowest first
        self._failed: deque[Entry] = deque(maxlen=FAILED)
        self._by_cause: dict[str, deque[Entry]] = {}  # the cause that came last is the last
        self._order = count()
        self.floor = 0.0
        """Seconds; a request that took no longer is none of the slowest."""

    def take(self, fields: EntryFields) -> None:
        """Look at an exchange that took longer or failed; those of the admin address, which may wait, are left out."""
        entry = Entry(*fields)
        if entry.upstream == ADMIN:
            return
        if entry.total > self.floor and entry.status != _SWITCHED:
            self._keep(entry)
        if entry.reason or entry.status >= 500:
            self._failed.append(entry)
            self._keep_of_cause(entry)

    def _keep(self, entry: Entry) -> None:
        item = (entry.total, next(self._order), entry)
        if len(self._slow) < SLOWEST:
            heapq.heappush(self._slow, item)
        else:
            heapq.heapreplace(self._slow, item)
        self.floor = self._slow[0][0] if len(self._slow) == SLOWEST else 0.0

    def _keep_of_cause(self, entry: Entry) -> None:
        cause = entry.reason or str(entry.status)
        kept = self._by_cause.pop(cause, None) or deque(maxlen=OF_CAUSE)
        kept.append(entry)
        self._by_cause[cause] = kept
        if len(self._by_cause) > CAUSES:
            del self._by_cause[next(iter(self._by_cause))]

    def forget(self, now: float) -> None:
        """Drop slow requests that ended before the window; called about once a second."""
        recent = [item for item in self._slow if item[2].when + item[2].total > now - WINDOW]
        if len(recent) < len(self._slow):
            heapq.heapify(recent)
            self._slow = recent
            self.floor = 0.0

    def slowest(self) -> list[dict[str, Any]]:
        """Slowest first."""
        return [_document(entry) for _, _, entry in sorted(self._slow, reverse=True)]

    def failed(self) -> list[dict[str, Any]]:
        """The newest of all and the newest of each cause; newest first."""
        kept = {id(entry): entry for entries in (self._failed, *self._by_cause.values()) for entry in entries}
        return [_document(entry) for entry in sorted(kept.values(), key=_end, reverse=True)]


def newest(rows: Iterable[dict[str, Any]]) -> list[dict[str, Any]]:
    """Of the failures that several workers report, those that one would keep; newest first."""
    found: list[dict[str, Any]] = []
    of_cause: Counter[str] = Counter()
    for row in sorted(rows, key=lambda row: -row["when"]):
        cause = str(row.get("reason") or row.get("status"))
        of_cause[cause] += 1
        if len(found) < FAILED or (of_cause[cause] <= OF_CAUSE and len(of_cause) <= CAUSES):
            found.append(row)
    return found


def _end(entry: Entry) -> float:
    return entry.when + entry.total


def _document(entry: Entry) -> dict[str, Any]:
    target = entry.target.decode("ascii", "backslashreplace")
    return {
        "when": round(entry.when, 3),
        "ago": round(max(0.0, time() - entry.when - entry.total), 1),
        "client": entry.client,
        "method": entry.method.decode("ascii", "backslashreplace"),
        "target": target if len(target) <= _LONGEST else target[:_LONGEST] + "…",
        "status": entry.status,
        "seconds": round(entry.total, 4),
        "first_byte": round(entry.first_byte, 4),
        "route": entry.route,
        "upstream": entry.upstream,
        "termination": entry.termination,
        "reason": entry.reason,
        "request_id": entry.request_id.decode("ascii", "backslashreplace"),
        "state": "done",
    }
