"""The account that workers run with."""

import grp
import os
import pwd
from collections.abc import Iterator
from contextlib import contextmanager

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
