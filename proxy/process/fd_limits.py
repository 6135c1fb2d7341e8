"""The limit of open files and sockets."""

import os
import resource
from typing import Any

from proxy.settings import Settings

_ENOUGH = 1 << 20  # enough for any use; some programs iterate over the whole range
_OWN = 64  # log files, listeners, pipes, the event loop


def fill_standard() -> None:
    """Open /dev/null where standard input, output or error is closed, or a socket would get that number."""
    for number in range(3):
        try:
            os.fstat(number)
        except OSError:
            os.open(os.devnull, os.O_RDWR)


def raise_limit(settings: Settings, log: Any) -> None:
    """Raise the soft limit to the hard one; warn if that is too low for `max_connections`."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = _ENOUGH if hard == resource.RLIM_INFINITY else min(hard, _ENOUGH)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
            soft = wanted
        except (OSError, ValueError) as problem:
            log.warning("limit of open files not raised from %d: %s", soft, problem)
    needed = 2 * settings.max_connections + _OWN  # a busy client connection also has one to the upstream
    if soft != resource.RLIM_INFINITY and soft < needed:
        log.warning(
            "limit of open files too low: %d suffices for about %d busy clients per worker, not %d; raise it to "
            "%d (LimitNOFILE= in the unit, or ulimit -Hn), or lower --max-connections",
            soft,
            max(0, soft - _OWN) // 2,
            settings.max_connections,
            needed,
        )
