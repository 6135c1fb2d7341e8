"""Everything of gunicorn that the gateway overrides or relies on beyond gunicorn's documented settings and hooks.

gunicorn promises none of these names. `check` compares this table with the installed version before the gateway
starts, and the tests compare it with the gateway's subclasses: an override that is not listed here fails them.
"""

import inspect
from dataclasses import dataclass
from types import FunctionType

import gunicorn
from gunicorn import sock, systemd
from gunicorn.app.base import BaseApplication
from gunicorn.arbiter import Arbiter
from gunicorn.glogging import Logger
from gunicorn.workers.base import Worker

VERSIONS = "gunicorn[gevent]>=27.0.1,<28"
"""The releases that this table was compared with, as setup.cfg has them."""


@dataclass(frozen=True, slots=True)
class Names:
    """Of one class: methods that a subclass overrides, and attributes and methods that are used."""

    overridden: tuple[str, ...]
    used: tuple[str, ...]


CONTRACT: dict[type, Names] = {
    Arbiter: Names(
        overridden=(
            "__init__",
            "handle_ttin",
            "handle_usr1",
            "handle_winch",
            "kill_worker",
            "maybe_promote_master",
            "murder_workers",
            "reexec",
            "reload",
            "run",
            "setup",
            "spawn_worker",
            "stop",
            "wait_for_signals",
        ),
        used=(
            "LISTENERS",
            "START_CTX",
            "WORKERS",
            "WORKER_BOOT_ERROR",
            "_stats",
            "app",
            "cfg",
            "kill_workers",
            "log",
            "manage_workers",
            "master_pid",
            "num_workers",
            "pid",
            "reexec_pid",
            "systemd",
        ),
    ),
    BaseApplication: Names(
        overridden=("__init__", "load", "load_config"),
        used=("cfg", "do_load_config"),
    ),
    Worker: Names(
        overridden=("handle_quit", "handle_usr1", "init_signals", "run"),
        used=("alive", "cfg", "log", "notify", "ppid", "sockets"),
    ),
    sock.BaseSocket: Names(
        overridden=("__init__", "bind", "set_options"),
        used=("FAMILY", "__getattr__", "cfg_addr", "close", "fileno", "sock"),  # __getattr__: the socket's own methods
    ),
    Logger: Names(
        overridden=("__init__", "_set_handler", "info", "reopen_files"),
        used=("error", "exception", "setup", "warning"),
    ),
}
"""By class of gunicorn."""

DESCRIPTORS_VARIABLE = "GUNICORN_FD"
"""Environment variable by which the master of a binary upgrade inherits its listeners."""


def check() -> None:
    """Compare the table with the installed version. Raises RuntimeError that names what is missing."""
    missing = [
        f"{one.__module__}.{one.__qualname__}.{name}"
        for one, names in CONTRACT.items()
        for name in (*names.overridden, *names.used)
        if not has(one, name)
    ]
    if DESCRIPTORS_VARIABLE not in Arbiter.reexec.__code__.co_consts:
        missing.append(f"variable {DESCRIPTORS_VARIABLE}")
    if not hasattr(systemd, "SD_LISTEN_FDS_START"):
        missing.append("gunicorn.systemd.SD_LISTEN_FDS_START")
    if missing:
        raise RuntimeError(
            f"gunicorn {gunicorn.__version__} does not fit: it has no {', '.join(missing)}; install {VERSIONS}"
        )


def has(one: type, name: str) -> bool:
    """Whether a class has an attribute, be it one that its methods set on an instance."""
    return hasattr(one, name) or any(
        name in function.__code__.co_names
        for _, function in inspect.getmembers(one, lambda member: isinstance(member, FunctionType))
    )
