"""The parser of one command's arguments."""

import argparse
from typing import NoReturn

from proxy.commands.catalogue import LOCAL, RUNNING
from proxy.commands.client import USAGE, CommandError


class Parser(argparse.ArgumentParser):
    """argparse's, which raises CommandError in place of ending the process."""

    def __init__(self, name: str) -> None:
        super().__init__(prog=f"aragora-proxy {name}", description={**RUNNING, **LOCAL}[name], allow_abbrev=False)
        self._name = name

    def error(self, message: str) -> NoReturn:
        raise CommandError(f"{self._name}: {message}; see {self.prog} --help", USAGE)
