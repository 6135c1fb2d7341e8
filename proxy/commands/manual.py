"""Manual pages in the man macros, from the parser of the whole command line and the settings table."""

import argparse
import re
from collections.abc import Callable, Iterator
from typing import Final

from proxy.commands.catalogue import INTRODUCTION, LOCAL, RUNNING
from proxy.process.gateway import version
from proxy.settings import Setting, table

_EXIT_CODES: Final = {
    "0": "done",
    "1": "refused, or no gateway responds: standard error says why",
    "2": "invalid argument or setting; nothing was tried",
    "3": "accepted, but not finished in time, or not whole: the message says what is left",
    "130": "ended by Ctrl-C",
}
_FILE: Final = """\
A file of settings in TOML, named by the flag --config. Keys belong to its top level; those marked "route" are also
allowed in a [[route]], which then overrides the top level. Values are as for the flags of aragora-proxy(1): numbers may
have units, a repeatable setting is a list, a switch is true or false, and false or "off" switches off what can be off.

In a value ${NAME} stands for that variable of the environment, ${NAME:-default} for the default where it is unset or
empty. include = ["conf.d/*.toml"] at the top level reads more files. A running gateway reads the file again on HUP and
for aragora-proxy reload; aragora-proxy check FILE lists every mistake in it."""
_EXAMPLE: Final = """\
bind = ["0.0.0.0:80", "0.0.0.0:443"]
acme = "you@example.com"
domain = "example.com"
upstream = "127.0.0.1:8080"

[[route]]
name = "api"
host = "api.example.com"
path = "/v1/"
upstream = ["unix:/run/api-1.sock weight=3", "unix:/run/api-2.sock"]
rate = "20/s\""""


def program_page(command_line: argparse.ArgumentParser) -> str:
    """aragora-proxy(1)."""
    return "\n".join(_program(command_line)) + "\n"


def file_page(_: argparse.ArgumentParser) -> str:
    """aragora-proxy.toml(5)."""
    return "\n".join(_file()) + "\n"


PAGES: Final[dict[str, Callable[[argparse.ArgumentParser], str]]] = {
    "aragora-proxy": program_page,
    "aragora-proxy.toml": file_page,
}
SECTIONS: Final = {"aragora-proxy": 1, "aragora-proxy.toml": 5}


def _program(command_line: argparse.ArgumentParser) -> Iterator[str]:
    yield from _heading("aragora-proxy", "a reverse proxy for web applications")
    yield ".SH SYNOPSIS"
    for arguments in ("--upstream ADDRESS [setting ...]", "--config FILE [setting ...]", "COMMAND [argument ...]"):
        yield from (".B aragora\\-proxy", _text(arguments), ".br")
    yield ".SH DESCRIPTION"
    yield from _paragraphs(INTRODUCTION)
    groups = {
        action.metavar: action.choices
        for action in command_line._actions
        if isinstance(action, argparse._SubParsersAction)
    }
    parsers = groups["COMMAND"] or {}
    for title, names in (("COMMANDS FOR A RUNNING GATEWAY", RUNNING), ("OTHER COMMANDS", LOCAL)):
        yield f".SH {title}"
        for name in names:
            yield f".SS {_text(name)}"
            doc = str(parsers[name].description)
            yield from _paragraphs(f"{doc[0].upper()}{doc[1:]}.")
            yield from _arguments(parsers[name]._actions)
    yield ".SH SETTINGS"
    yield from _paragraphs("Each is also a key of the file: aragora-proxy.toml(5).")
    for group in command_line._action_groups:
        flags = [action for action in group._group_actions if action.help != argparse.SUPPRESS]
        if flags and not isinstance(flags[0], argparse._HelpAction | argparse._SubParsersAction):
            yield f".SS {_text(str(group.title))}"
            yield from _arguments(flags)
    yield ".SH EXIT STATUS"
    for code, meaning in _EXIT_CODES.items():
        yield from _item(code, "", meaning)
    yield from (".SH SEE ALSO", ".BR aragora\\-proxy.toml (5)")


def _file() -> Iterator[str]:
    yield from _heading("aragora-proxy.toml", "settings of aragora-proxy")
    yield ".SH DESCRIPTION"
    yield from _paragraphs(_FILE)
    yield from (".SH EXAMPLE", ".EX", *map(_text, _EXAMPLE.splitlines()), ".EE", ".SH KEYS")
    group = ""
    for row in table():
        if row.name == "config":
            continue
        if row.group != group:
            group = row.group
            yield f".SS {_text(group)}"
        yield from _item(row.name, " or ".join(row.aliases), _key(row))
    yield from (".SH SEE ALSO", ".BR aragora\\-proxy (1)")


def _key(row: Setting) -> str:
    kind = " or ".join(row.kind.choices) or row.kind.name
    facts = [kind, *(["repeatable"] if row.kind.repeatable else []), *(["route"] if row.routed else [])]
    return f"{row.doc}{row.reload.value} ({', '.join(facts)}) [{row.default_text}]"


def _heading(name: str, summary: str) -> Iterator[str]:
    section = SECTIONS[name]
    kind = "User Commands" if section == 1 else "File Formats"
    yield f'.TH {_text(name).upper()} {section} "" "aragora\\-proxy {version()}" "{kind}"'
    yield from (".SH NAME", f"{_text(name)} \\- {_text(summary)}")


def _arguments(actions: list[argparse.Action]) -> Iterator[str]:
    for action in actions:
        if isinstance(action, argparse._HelpAction):
            continue
        names = ", ".join(action.option_strings)
        value = "" if action.nargs == 0 else str(action.metavar or "")
        yield from _item(names, value, str(action.help or "").replace("%%", "%"))


def _item(name: str, value: str, meaning: str) -> Iterator[str]:
    yield ".TP"
    parts = [f"\\fB{_text(name)}\\fR" if name else "", f"\\fI{_text(value)}\\fR" if value else ""]
    yield " ".join(filter(None, parts))
    yield _text(meaning)


def _paragraphs(text: str) -> Iterator[str]:
    for paragraph in text.strip().split("\n\n"):
        yield ".PP"
        yield _text(" ".join(paragraph.split()))


def _text(text: str) -> str:
    """Text that roff takes for nothing else (groff_char(7), groff_man(7)): control characters begin a line."""
    escaped = re.sub(r"[\\\-'^`~]", lambda found: _ESCAPES[found[0]], text)
    return "\\&" + escaped if escaped[:1] in (".", "'") else escaped


_ESCAPES: Final = {"\\": "\\e", "-": "\\-", "'": "\\(aq", "^": "\\(ha", "`": "\\(ga", "~": "\\(ti"}
