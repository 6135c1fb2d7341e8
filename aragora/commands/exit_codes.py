"""What the exit code of a command says, and the parser that says what is wrong with its arguments."""

import argparse
import difflib
import re
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
        unknown = re.fullmatch(r"argument COMMAND: invalid choice: '(.*)' \(choose from (.*)\)", message)
        if unknown:
            known = unknown[2].replace("'", "").split(", ")
            close = difflib.get_close_matches(unknown[1], known, n=1)
            meant = f"; did you mean {self.prog} {close[0]}?" if close else ""
            message = f"{unknown[1]}: no such command{meant}"
        self.exit(USAGE, f"{self.prog}: {message}; see {self.prog} --help\n")
