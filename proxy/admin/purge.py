"""Removing stored responses at a command."""

import re
from collections.abc import Callable
from typing import Any

from proxy.admin.command_body import Refused
from proxy.cache.index import Purge

_ORIGIN = re.compile(r"https?://[^/]*", re.IGNORECASE)

Clear = Callable[[Purge, str], int | None]
"""Removes stored responses: how many, None if there is no cache or one cannot be written to."""


def purge(given: dict[str, Any], clear: Clear) -> dict[str, Any]:
    """Remove the stored responses that are meant, for all workers. Raises Refused."""
    wanted = [(which, given[which.name.lower()]) for which in Purge if given.get(which.name.lower())]
    if len(wanted) != 1:
        raise Refused(400, "expected one of url, prefix, tag and all")
    which, value = wanted[0]
    count = clear(which, _address(str(value)) if which in (Purge.URL, Purge.PREFIX) else str(value))
    if count is None:
        raise Refused(409, "not all is removed: no route has cache = true, or a cache's directory is not writable")
    return {"done": f"stored responses removed: {count}", "purged": count, "behind": []}


def _address(text: str) -> str:
    """An address as it is stored: a scheme and host in lower case, or a path of all hosts. Raises Refused."""
    if text.startswith("/"):
        return text
    found = _ORIGIN.match(text)
    if found is None:
        raise Refused(400, f"{text[:80]!r}: expected an address that begins with http://, https:// or /")
    return found[0].lower() + text[found.end() :]
