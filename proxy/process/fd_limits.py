"""How many files and sockets this process may have open."""

import os
import resource
from typing import Any

from proxy.settings import Settings

_ENOUGH = 1 << 20  # more is never needed, and some programs walk the whole range
_OWN = 64  # log files, listeners, pipes, the event loop


def fill_standard() -> None:
    """Open /dev/null where standard input, output or error is closed, or a socket would get that number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def raise_limit(settings: Settings, log: Any) -> None:
    """Raise the soft limit to the hard one; warn when that is too low for `max_connections`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError) as problem:
            log.warning("the limit of open files stays at %d: %s", soft, problem)
    needed = 2 * settings.max_connections + _OWN  # a busy client connection has one to the upstream
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning(
            "the limit of open files, %d, is low: a worker serves about %d busy clients, not %d; raise it to "
            "%d (LimitNOFILE= in the unit, or ulimit -Hn), or lower --max-connections",
            soft,
            max(0, soft - _OWN) // 2,
            settings.max_connections,
            needed,
        )
