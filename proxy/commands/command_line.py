"""The whole command line, of the settings table and the commands' parsers: for shells to complete, and as a manual."""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Final

from proxy.commands import commands, import_nginx, install_service, manual
from proxy.commands.catalogue import CHECK, COMPLETION, IMPORT_NGINX, INSTALL_SERVICE, LOCAL, MAN, RUNNING
from proxy.commands.client import FAILED, SUCCESS, CommandError
from proxy.commands.parser import Parser
from proxy.settings import Setting, table
from proxy.settings.values import kinds, logged

PROGRAM: Final = "aragora-proxy"
SHELLS: Final = ("bash", "zsh", "fish")
_FILES: Final = (kinds.PATH, kinds.OPTIONAL_PATH, logged.PLACE, kinds.ERROR_LOG)


def run(name: str, arguments: Sequence[str]) -> int:
    """Print a completion or a manual page. Returns the exit code."""
    parser = Parser(name)
    _add_local(name, parser)
    try:
        given = parser.parse_args(arguments)
        if name == COMPLETION:
            print(completion(given.shell))
        elif given.directory is None:
            print(_page(given.page), end="")
        else:
            for path in _write_pages(given.directory):
                print(path)
    except CommandError as problem:
        print(f"aragora-proxy: {problem}", file=sys.stderr)
        return problem.code
    except SystemExit as ended:  # --help
        return int(ended.code or 0)
    return SUCCESS


def completion(shell: str) -> str:
    """What completes the command line in one of `SHELLS`."""
    import shtab

    return str(shtab.complete(command_line(), shell))


def command_line() -> argparse.ArgumentParser:
    """All flags and commands. It is never given a command line: servers and commands read their own arguments."""
    whole = argparse.ArgumentParser(prog=PROGRAM, allow_abbrev=False)
    whole.add_argument("--version", action="version", help="print the version")
    groups: dict[str, argparse._ArgumentGroup] = {}
    for row in table():
        if row.has_flag:
            if row.group not in groups:
                groups[row.group] = whole.add_argument_group(row.group)
            _add_flag(groups[row.group], row)
    chosen = whole.add_subparsers(metavar="COMMAND")
    for name, doc in {**LOCAL, **RUNNING}.items():
        command = chosen.add_parser(name, help=doc, description=doc, allow_abbrev=False)
        if name in RUNNING:
            commands.add_arguments(name, command)
        else:
            _add_local(name, command)
        _mark_files(command)
    return whole


def _add_flag(group: argparse._ArgumentGroup, row: Setting) -> None:
    spellings = [row.flag, *("--" + alias.replace("_", "-") for alias in row.aliases)]
    choices = ("on", "off") if row.kind is kinds.SWITCH else row.kind.choices or None
    flag = group.add_argument(
        *spellings,
        metavar=row.kind.metavar,
        choices=choices,
        action="append" if row.kind.repeatable else "store",
        help=f"{row.doc} [{row.default_text}]".replace("%", "%%"),
    )
    if row.kind in _FILES:
        flag.complete = "file"  # type: ignore[attr-defined] # shtab's


def _mark_files(command: argparse.ArgumentParser) -> None:
    for action in command._actions:
        if action.metavar in ("FILE", "DIRECTORY"):
            action.complete = action.metavar.lower()  # type: ignore[attr-defined]


def _add_local(name: str, command: argparse.ArgumentParser) -> None:
    if name == IMPORT_NGINX:
        import_nginx.add_arguments(command)
    elif name == INSTALL_SERVICE:
        install_service.add_arguments(command)
    elif name == CHECK:
        command.add_argument("file", metavar="FILE", nargs="?", help="the file [that of --config]")
        command.add_argument("--all", action="store_true", help="show settings that have their defaults too")
        command.add_argument("--config", metavar="FILE", help="the file; other settings may be given as well")
    elif name == COMPLETION:
        command.add_argument("shell", metavar="SHELL", choices=SHELLS, help=", ".join(SHELLS))
    elif name == MAN:
        pages = tuple(manual.PAGES)
        command.add_argument(
            "page", metavar="PAGE", nargs="?", choices=pages, default=PROGRAM, help=f"{' or '.join(pages)} [{PROGRAM}]"
        )
        command.add_argument(
            "--directory",
            metavar="DIRECTORY",
            type=Path,
            help="write all pages below this directory, such as ~/.local/share/man",
        )


def _page(name: str) -> str:
    return manual.PAGES[name](command_line())


def _write_pages(directory: Path) -> list[Path]:
    """Raises CommandError."""
    written = []
    for name in manual.PAGES:
        section = manual.SECTIONS[name]
        path = directory / f"man{section}" / f"{name}.{section}"
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(_page(name), encoding="utf-8")
        except OSError as problem:
            raise CommandError(
                f"{MAN}: --directory {directory}: {path} cannot be written: {problem.strerror}; name another directory",
                FAILED,
            ) from None
        written.append(path)
    return written
