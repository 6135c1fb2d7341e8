"""The directory of what outlives the process: made by the master, and the workers' own."""

import os

from proxy.account import owner
from proxy.settings import Settings, SettingsError


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
