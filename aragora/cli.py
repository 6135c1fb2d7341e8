"""``aragora``: ask, watch, list, export, and look after the service."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence

from aragora.commands import debates, doctor, keeping, serve
from aragora.commands.exits import FAILED, INTERRUPTED, USAGE, Parser, UsageError
from aragora.errors import AragoraError, SettingsError
from aragora.settings import Settings, load, unknown

Run = Callable[[argparse.Namespace, Settings], int]

EPILOG = """exit codes: 0 fine; 1 failed; 2 wrong argument or setting; 3 the debate ended undecided; 130 interrupted
settings: environment variables, see docs/reference/settings.md; ARAGORA_URL and ARAGORA_API_TOKEN name the server"""


def parser() -> Parser:
    """The whole command line."""
    top = Parser(
        prog="aragora",
        description="Let several language models argue a question to a decision.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    debates.add(commands)
    serve.add(commands)
    doctor.add(commands)
    keeping.add(commands)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    given = parser().parse_args(argv)
    try:
        if given.command == "doctor":
            return doctor.run(given, os.environ)
        settings = load()
        for warning in unknown(os.environ):
            print(f"aragora: {warning}", file=sys.stderr)
        run: Run = given.run
        return run(given, settings)
    except (SettingsError, UsageError) as error:
        print(f"aragora: {error}", file=sys.stderr)
        return USAGE
    except AragoraError as error:
        print(f"aragora: {error}", file=sys.stderr)
        return FAILED
    except KeyboardInterrupt:
        return INTERRUPTED
    except BrokenPipeError:
        # The reader (head, less) has seen enough; without this the interpreter complains at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return FAILED
