"""Folders of tests that processes under another account may enter."""

import stat
from pathlib import Path

_ENTER = stat.S_IRGRP | stat.S_IXGRP | stat.S_IROTH | stat.S_IXOTH


def open_to_all(folder: Path) -> None:
    """Let every account read a folder and come to it; what it may enter already, such as /tmp, stays as it is."""
    for place in (folder, *folder.parents):
        mode = stat.S_IMODE(place.stat().st_mode)
        if not mode & stat.S_IXOTH:
            place.chmod(mode | _ENTER)
