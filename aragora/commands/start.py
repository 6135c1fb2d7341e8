"""`start` and `gunicorn-config`: the production server, and where its configuration lies."""

import argparse
import os
import sys
from importlib import metadata
from pathlib import Path

from aragora.commands.exit_codes import FINE, Parser
from aragora.errors import SettingsError
from aragora.settings import Settings

_NAME = "gunicorn.conf.py"


def add_start(start: Parser) -> None:
    """`start` has no arguments of its own: all that follows is gunicorn's."""
    start.usage = "aragora start [GUNICORN'S OPTIONS]"
    start.set_defaults(run=run_start)


def add_gunicorn_config(config: Parser) -> None:
    """The arguments of `gunicorn-config`: none."""
    config.set_defaults(run=run_gunicorn_config)


def run_start(given: argparse.Namespace, _settings: Settings) -> int:
    """Become gunicorn, which serves until it gets a signal to stop."""
    command = [sys.executable, "-m", "gunicorn", "-c", str(configuration()), *given.options]
    # gunicorn starts argv[0] again for a binary upgrade (USR2): its own program does that better than this one.
    program = Path(sys.executable).with_name("gunicorn")
    if program.exists():
        command = [str(program), *command[3:]]
    os.execv(command[0], command)  # noqa: S606 - no shell, and nothing of the caller's but options


def run_gunicorn_config(_given: argparse.Namespace, _settings: Settings) -> int:
    """Print the path, for `gunicorn -c "$(aragora gunicorn-config)"` or as a copy to edit."""
    print(configuration())
    return FINE


def configuration() -> Path:
    """The configuration for gunicorn that came with this installation. Raises `SettingsError`."""
    checkout = Path(__file__).resolve().parents[2] / "conf" / _NAME
    if checkout.is_file():
        return checkout
    for file in metadata.files("aragora-gateway") or ():
        if file.name == _NAME:
            return Path(str(file.locate())).resolve()
    raise SettingsError(f"{_NAME}: not part of this installation; install aragora-gateway again")
