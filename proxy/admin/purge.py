"""Removing stored responses at a command."""

from collections.abc import Callable
from typing import Any

from proxy.admin.command_body import Refused
from proxy.cache.index import Purge

Clear = Callable[[Purge, str], int | None]
"""Removes stored responses: how many, None if there is no cache."""


def purge(given: dict[str, Any], clear: Clear) -> dict[str, Any]:
    """Remove the stored responses that are meant, for all workers. Raises Refused."""
    wanted = [(which, given[which.name.lower()]) for which in Purge if given.get(which.name.lower())]
    if len(wanted) != 1:
        raise Refused(400, "expected one of url, prefix, tag and all")
    which, value = wanted[0]
    count = clear(which, str(value))
    if count is None:
        raise Refused(409, "no response is stored here: no route has cache = true, or its directory is not writable")
    return {"done": f"stored responses removed: {count}", "purged": count, "behind": []}
