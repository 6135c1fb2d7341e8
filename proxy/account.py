"""The account that workers run with, and the files that it must be able to write."""

import grp
import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext

from proxy.observe.accesslog import open_for_append
from proxy.settings import Settings, SettingsError


def owner(settings: Settings) -> tuple[int, int]:
    """User and group ids the workers run with."""
    uid, gid = os.geteuid(), os.getegid()
    if settings.user:
        account = pwd.getpwnam(settings.user)
        uid, gid = account.pw_uid, account.pw_gid
    if settings.group:
        gid = grp.getgrnam(settings.group).gr_gid
    return uid, gid


def prepare_state(settings: Settings) -> None:
    """Make the state directory and give it to the workers, which keep what they obtain in it. Raises SettingsError."""
    directory = settings.state_dir
    if directory is None:
        return
    try:
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        if os.geteuid() == 0 and (settings.user or settings.group):
            os.chown(directory, *owner(settings))
    except OSError as problem:
        raise SettingsError([f"--state-dir {directory}: cannot be made: {problem.strerror}"]) from None


def prepare_access_log(settings: Settings) -> None:
    """Make the access log's file and see that the workers can write to it. Raises SettingsError."""
    if settings.access_log in ("-", "off"):
        return
    change_owner = os.geteuid() == 0 and bool(settings.user or settings.group)
    try:
        file = open_for_append(settings.access_log)
        try:
            if change_owner and stat.S_ISREG(os.fstat(file).st_mode):
                os.fchown(file, *owner(settings))
        finally:
            os.close(file)
        with _acting_as(*owner(settings)) if change_owner else nullcontext():
            os.close(open_for_append(settings.access_log))
    except OSError as problem:
        who = f" by {settings.user or settings.group}" if change_owner else ""
        raise SettingsError(
            [f"--access-log {settings.access_log}: cannot be written{who}: {problem.strerror}"]
        ) from None


@contextmanager
def _acting_as(uid: int, gid: int) -> Iterator[None]:
    """Have another account's rights to files for a moment."""
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
