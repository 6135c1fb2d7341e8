"""The command `containers`: services made of containers by their labels, for as long as it runs.

It is a process of its own, because the socket of Docker's daemon is as good as root: the gateway never sees it. The
daemon is only read. What comes of it are the gateway's commands `deploy` and `remove`, as people would give them.

    daemon ──containers──► instances ──with what serves──► plan ──probe──► deploy, remove
"""

import argparse
import os
import signal
import sys
from collections.abc import Callable
from importlib.util import find_spec
from types import FrameType

from proxy.commands.client import SUCCESS, USAGE, Admin, CommandError

DEFAULT = "unix:///var/run/docker.sock"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The command's own arguments."""
    parser.add_argument(
        "--daemon",
        metavar="URL",
        default=os.environ.get("DOCKER_HOST") or DEFAULT,
        help=f"Docker's API: unix:///PATH or tcp://HOST:PORT [the variable DOCKER_HOST, else {DEFAULT}]",
    )


def run(given: argparse.Namespace, find: Callable[[], Admin]) -> int:
    """Follow the containers until TERM or Ctrl-C. `find` finds the gateway, which may not be there yet."""
    if find_spec("docker") is None:
        raise CommandError("containers: needs the library docker: pip install 'aragora-gateway[containers]'", USAGE)
    from proxy.commands.containers.daemon import Daemon
    from proxy.commands.containers.watch import Watch

    def end(_number: int, _frame: FrameType | None) -> None:
        raise SystemExit(SUCCESS)

    signal.signal(signal.SIGTERM, end)
    Watch(Daemon(given.daemon), find, lambda text: print(text, file=sys.stderr, flush=True)).run()
    return SUCCESS
