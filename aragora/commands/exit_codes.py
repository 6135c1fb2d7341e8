"""What the exit code of a command says, and the parser that says what is wrong with its arguments."""

import argparse
from typing import NoReturn

from aragora.errors import AragoraError

FINE = 0
FAILED = 1  # it was tried, and failed: no server, refused, a check of doctor that failed
USAGE = 2  # an argument or a setting is wrong; nothing was tried
UNDECIDED = 3  # the watched debate ended failed, cancelled or out of time
INTERRUPTED = 130  # Ctrl-C, as a shell writes it


class UsageError(AragoraError):
    """An argument is wrong."""


class Parser(argparse.ArgumentParser):
    """Says what is wrong in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2."""
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")
