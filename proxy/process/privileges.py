"""The account that workers run with."""

import grp
import os
import pwd
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from proxy.settings import Settings


def owner(settings: Settings) -> tuple[int, int]:
    """User and group ids the workers run with."""
    uid, gid = os.geteuid(), os.getegid()
    if settings.user:
        account = pwd.getpwnam(settings.user)
        uid, gid = account.pw_uid, account.pw_gid
    if settings.group:
        gid = grp.getgrnam(settings.group).gr_gid
    return uid, gid


def become_worker(settings: Settings) -> None:
    """Give up this process' rights for those of the account that workers run with, its groups included, for good.

    Without root, or where no account is named, it keeps its own. gunicorn does not do all of it: asked for the groups
    of an account it adds them, and leaves the process in root's own.
    """
    if os.geteuid() != 0 or not (settings.user or settings.group):
        return
    uid, gid = owner(settings)
    os.setgid(gid)
    if settings.user:
        os.initgroups(settings.user, gid)
    else:
        os.setgroups([gid])
    os.setuid(uid)


def unreadable_modules(settings: Settings) -> list[Path]:
    """Directories of modules that the workers' account may not read, and could not load anything from later."""
    present = [folder for folder in map(Path, sys.path) if folder.is_dir()]
    with acting_as(*owner(settings)):
        return [folder for folder in present if not os.access(folder, os.R_OK | os.X_OK, effective_ids=True)]


@contextmanager
def acting_as(uid: int, gid: int) -> Iterator[None]:
    """Take on another account's rights to files for the block; without root this process keeps its own."""
    if os.geteuid() != 0 or (uid, gid) == (0, os.getegid()):
        yield
        return
    groups, own_gid = os.getgroups(), os.getegid()
    os.setgroups([gid])
    os.setegid(gid)
    os.seteuid(uid)
    try:
        yield
    finally:
        os.seteuid(0)
        os.setegid(own_gid)
        os.setgroups(groups)
