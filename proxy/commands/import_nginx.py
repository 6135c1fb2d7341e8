"""`aragora-proxy import-nginx`: nginx's configuration as one of the gateway's."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from proxy.commands.catalogue import IMPORT_NGINX as NAME
from proxy.commands.client import FAILED, PARTLY, SUCCESS, USAGE, CommandError
from proxy.commands.parser import Parser
from proxy.nginx.blocks import NginxFileError
from proxy.nginx.importer import import_nginx


def add_arguments(made: argparse.ArgumentParser) -> None:
    """The command's arguments."""
    made.add_argument(
        "file", metavar="FILE", type=Path, help="nginx.conf, or the file of a site; includes are followed"
    )
    made.add_argument(
        "--output", metavar="FILE", type=Path, help="write the settings to this new file [standard output]"
    )


def run(arguments: Sequence[str]) -> int:
    """Translate a file. Returns the exit code: PARTLY if anything was lost."""
    parser = Parser(NAME)
    add_arguments(parser)
    try:
        given = parser.parse_args(arguments)
        imported = import_nginx(given.file.absolute())
    except (CommandError, NginxFileError) as problem:
        print(f"aragora-proxy: {problem}", file=sys.stderr)
        return USAGE
    except SystemExit as ended:  # --help
        return int(ended.code or 0)
    if given.output is None:
        print(imported.text, end="")
    else:
        try:
            with given.output.open("x", encoding="utf-8") as file:
                file.write(imported.text)
        except OSError as problem:
            print(f"aragora-proxy: --output {given.output}: {problem.strerror}; name a new file", file=sys.stderr)
            return FAILED
    if imported.losses:
        lost = "1 line has" if imported.losses == 1 else f"{imported.losses} lines have"
        print(f"aragora-proxy: {lost} no equivalent: search for NOT TRANSLATED", file=sys.stderr)
        return PARTLY
    return SUCCESS
