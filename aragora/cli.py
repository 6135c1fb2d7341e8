"""`aragora`: ask, watch, list, export, share, and look after the service."""

import argparse
import errno
import os
import sys
from collections.abc import Callable, Sequence
from importlib import import_module

from aragora.commands.exit_codes import FAILED, INTERRUPTED, USAGE, Parser, UsageError
from aragora.errors import AragoraError, SettingsError
from aragora.server.build import version
from aragora.settings import Settings, load, unknown

Run = Callable[[argparse.Namespace, Settings], int]

EPILOG = """exit codes: 0 fine; 1 failed; 2 wrong argument or setting; 3 the debate ended undecided; 130 interrupted
settings: environment variables, see docs/reference/settings.md; ARAGORA_URL and ARAGORA_API_TOKEN name the server"""


# A command's module is loaded when it is the one that runs.
COMMANDS = {
    "ask": ("asking", "begin a debate and watch it"),
    "follow-up": ("asking", "debate a further question, knowing what a debate came to"),
    "fork": ("asking", "hold a debate again with changes, knowing what it came to"),
    "ask-again": ("asking", "go on where a debate first failed, with what was said until then"),
    "watch": ("debates", "watch a debate, from its beginning"),
    "list": ("debates", "list debates, newest first"),
    "export": ("debates", "download a debate"),
    "cancel": ("debates", "end a debate for good"),
    "evaluate": ("evaluate", "compare a debate with one model alone, on questions with known answers"),
    "presets": ("presets", "keep councils under a name: agents with roles, models and rules"),
    "share": ("sharing", "give a debate a public address, or withdraw it"),
    "usage": ("sharing", "what was spent on each of the last days, or by a debate"),
    "models": ("models", "list the models that providers offer"),
    "tokens": ("tokens", "make, change, list, renew and remove API tokens, with scopes and limits"),
    "mcp": ("mcp", "serve the council to assistants, by the Model Context Protocol"),
    "serve": ("serve", "serve for development, reloading changed code"),
    "start": ("start", "serve for production: gunicorn with the configuration that came with this program"),
    "gunicorn-config": ("start", "print where that configuration lies"),
    "doctor": ("doctor", "check everything the service needs, and say what to do"),
    "migrate": ("maintenance", "bring the database's tables up to date"),
    "backup": ("maintenance", "copy the database while the service runs; verified"),
    "restore": ("maintenance", "make a copy the database; the service must be stopped"),
}


def parser(chosen: str | None) -> Parser:
    """The command line, with the arguments of the chosen command."""
    top = Parser(
        prog="aragora",
        description="Let several language models argue a question to a decision.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    top.add_argument("--version", action="version", version=f"aragora {version()}")
    commands = top.add_subparsers(dest="command", metavar="COMMAND", required=True)
    for name, (module, summary) in COMMANDS.items():
        command = commands.add_parser(name, help=summary, description=summary[0].upper() + summary[1:] + ".")
        if name == chosen:
            getattr(import_module(f"aragora.commands.{module}"), f"add_{name.replace('-', '_')}")(command)
    return top


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    try:
        try:
            return _run(argv)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as error:
        return _not_written(error)


def _not_written(error: OSError) -> int:
    """End quietly where the reader of the output (head, less) has seen enough. Raises what is no fault of output."""
    if error.errno not in (errno.EPIPE, errno.ENOSPC):
        raise error
    if error.errno == errno.ENOSPC:
        print(f"aragora: output cannot be written: {error.strerror}", file=sys.stderr)
    # Without this the interpreter tries again at its end, and complains.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return FAILED


def _run(argv: Sequence[str] | None) -> int:
    words = sys.argv[1:] if argv is None else list(argv)
    options: list[str] = []
    if words[:1] == ["start"] and words[1:] not in (["-h"], ["--help"]):
        words, options = words[:1], words[1:]  # gunicorn's, which argparse would take for its own
    given = parser(words[0] if words else None).parse_args(words)
    given.options = options
    try:
        if given.command == "doctor":
            # It looks at the settings itself, also at those that do not fit.
            from aragora.commands import doctor

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
