"""The state directory: made by the master, owned by the workers.

A root master creates it and changes its owner while only root can write to it. After that the master accesses it only
with the workers' rights (`acting_as`), and changes the owner of nothing it finds there.
"""

import os
import pwd
import stat
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path

from proxy.process.privileges import acting_as, owner
from proxy.settings import Settings, SettingsError
from proxy.settings.values.places import Place, place_of

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_NOT_OURS = "lost+found"  # created by file systems for their own checks


def prepare_state(settings: Settings) -> None:
    """Create the state directory for the workers, and check that they can change everything in it. Raises
    SettingsError."""
    directory = settings.state_dir
    if directory is None:
        return
    account = owner(settings)
    try:
        _make(directory, account)
        with acting_as(*account):
            foreign = next(_out_of_reach(directory), None) if settings.acme or settings.tls != "off" else None
    except OSError as error:
        raise SettingsError([f"--state-dir {directory}: cannot be made: {error.strerror}"]) from None
    if foreign is not None:
        name = settings.user or _name(account[0])
        problem = f"{foreign} cannot be changed by {name}, the account that workers run as"
        raise SettingsError([f"--state-dir {directory}: {problem}; run: chown -R {name}: {directory}"])


def _make(directory: Path, account: tuple[int, int]) -> None:
    for path in (*reversed(directory.parents[:-1]), directory):
        with place_of(path) as place:
            if place.facts() is None:
                with nullcontext() if place.ours else acting_as(*account):
                    os.mkdir(place.name, 0o700 if path == directory else 0o755, dir_fd=place.directory)
            if path == directory and os.geteuid() == 0 and place.ours:
                _give(place, account)


def _give(place: Place, account: tuple[int, int]) -> None:
    """Give the workers a directory that only root can write to, with its content."""
    file = place.open(_DIRECTORY)
    try:
        facts = os.fstat(file)
        if facts.st_uid != 0 or facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH) or account[0] == 0:
            return
        for _, directories, files, here in os.fwalk(".", topdown=False, dir_fd=file):
            for name in (*directories, *files):
                if name != _NOT_OURS:
                    os.chown(name, *account, dir_fd=here, follow_symlinks=False)
        os.fchown(file, *account)
    finally:
        os.close(file)


def _out_of_reach(directory: Path) -> Iterator[Path]:
    """What in it this account cannot read or replace."""
    effective = os.access in os.supports_effective_ids
    if not os.access(directory, os.R_OK | os.W_OK | os.X_OK, effective_ids=effective):
        yield directory
    for place, directories, files in os.walk(directory):
        # Files are replaced, never changed in place.
        for names, needed in ((directories, os.R_OK | os.W_OK | os.X_OK), (files, os.R_OK)):
            for path in (Path(place, name) for name in names if name != _NOT_OURS):
                if not path.is_symlink() and not os.access(path, needed, effective_ids=effective):
                    yield path


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)
