"""The command line: `aragora-proxy` serves, `aragora-proxy check FILE` lists the mistakes in a file.

`python -m proxy` is the same. Commands for a running gateway are in `proxy.commands`.
"""

import argparse
import difflib
import errno
import os
import re
import shutil
import sys
import textwrap
import time
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from importlib import metadata
from pathlib import Path
from typing import Any, NoReturn

from proxy.commands.catalogue import CHECK, COMPLETION, IMPORT_NGINX, INSTALL_SERVICE, INTRODUCTION, LOCAL, MAN, RUNNING
from proxy.form import form
from proxy.process import gateway, supervisor
from proxy.process.certificate_store import CertificateStore, certificate_notes, warnings
from proxy.process.surroundings import certificate_lines, permission_lines, upstream_lines
from proxy.settings import Setting, Settings, SettingsError, config_file, load, nearest, notes, plain, risks, table

_PROG = "aragora-proxy"
_USAGE = """\
usage: aragora-proxy --upstream ADDRESS [setting ...]
       aragora-proxy [setting ...]        and services later: aragora-proxy deploy NAME --target ADDRESS
       aragora-proxy --config FILE [setting ...]
       aragora-proxy check FILE [--all] [setting ...]
       aragora-proxy import-nginx FILE [--output FILE]
       aragora-proxy install-service [FILE] [--now]
       aragora-proxy completion bash|zsh|fish
       aragora-proxy man [PAGE] [--directory DIRECTORY]
       aragora-proxy COMMAND ...
"""
_EXAMPLES = """\
examples:
  aragora-proxy --upstream 127.0.0.1:8080 --bind 0.0.0.0:8000
  aragora-proxy --upstream unix:/run/app.sock --access-log /var/log/proxy.log --log-format json
  aragora-proxy check /etc/proxy.toml && aragora-proxy reload --config /etc/proxy.toml
"""
Flags = Mapping[str, str | list[str]]


class _UsageError(Exception):
    """An invalid command line; the text is the line to show."""


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        found = re.fullmatch(r"argument (--[a-z-]+)\S*: expected one argument", message)
        raise _UsageError(f"{found[1]}: missing value; add one" if found else message)


def main(argv: Sequence[str] | None = None, serve: Callable[[Settings, Flags], int] = supervisor.run) -> int:
    """Carry out a command line. Returns the exit code: 2 when it or the file is invalid."""
    arguments = list(sys.argv[1:] if argv is None else argv)
    try:
        try:
            return _run(arguments, serve)
        finally:
            if sys.stdout is not None:
                sys.stdout.flush()
    except OSError as problem:
        return _not_written(problem)
    except _UsageError as problem:
        print(f"{_PROG}: {problem}", file=sys.stderr)
    except SettingsError as problem:
        for mistake in problem.mistakes:
            print(f"{_PROG}: {mistake}", file=sys.stderr)
    return 2


def _not_written(problem: OSError) -> int:
    """End quietly where the reader of the output (head, less) has seen enough. Raises what is no fault of output."""
    if problem.errno not in (errno.EPIPE, errno.ENOSPC):
        raise problem
    if problem.errno == errno.ENOSPC:
        print(f"{_PROG}: output cannot be written: {problem.strerror}", file=sys.stderr)
    # Without this the interpreter tries again at its end, and complains.
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 1


def _run(arguments: list[str], serve: Callable[[Settings, Flags], int]) -> int:
    if arguments and arguments[0] in RUNNING:
        from proxy.commands import commands

        return commands.run(arguments[0], arguments[1:])
    if arguments[:1] == [IMPORT_NGINX]:
        from proxy.commands import import_nginx

        return import_nginx.run(arguments[1:])
    if arguments[:1] == [INSTALL_SERVICE]:
        from proxy.commands import install_service

        return install_service.run(arguments[1:])
    if arguments and arguments[0] in (COMPLETION, MAN):
        from proxy.commands import command_line

        return command_line.run(arguments[0], arguments[1:])
    if "-h" in arguments or "--help" in arguments:
        print(help_text(shutil.get_terminal_size().columns), end="")
        return 0
    if "--version" in arguments:
        print(f"aragora-proxy {gateway.version()} ({form()})")
        return 0
    if arguments[:1] == [CHECK]:
        return _check(arguments[1:])
    flags, rest = _parse(arguments)
    if rest:
        raise _UsageError(f"{rest[0]}: unexpected argument; {_fix(rest[0])}")
    settings = load(flags, config_file(flags, os.environ))
    _refuse_namesake()
    return serve(settings, flags)


def _refuse_namesake() -> None:
    """Whichever was installed last of two distributions with a package `proxy` has overwritten files of the other."""
    with suppress(metadata.PackageNotFoundError):
        found = metadata.distribution("proxy.py")
        raise _UsageError(
            f"proxy.py {found.version} is installed in {sys.prefix} too, and its package is called proxy as well: "
            "give one of them an environment of its own, then install this one again"
        )


def _fix(word: str) -> str:
    """A suggestion for a word that is not a flag."""
    close = difflib.get_close_matches(word, [*RUNNING, *LOCAL], n=1)
    return f"did you mean aragora-proxy {close[0]}?" if close else f"settings are flags, such as --upstream {word}"


def _check(arguments: list[str]) -> int:
    whole = "--all" in arguments
    flags, rest = _parse([argument for argument in arguments if argument != "--all"])
    if len(rest) > 1 or (rest and "config" in flags):
        raise _UsageError("check: only one file allowed")
    path = Path(rest[0]).absolute() if rest else config_file(flags, os.environ)
    if path is None:
        raise _UsageError("check: file name missing, such as: aragora-proxy check /etc/proxy.toml")
    settings = load(flags, path)
    certificate_set = CertificateStore().read(settings)
    print(f"{path}: good")
    for risk in risks(settings):
        print(f"risk: {risk}")
    for note in [*notes(settings), *certificate_notes(certificate_set, settings), *warnings(certificate_set, settings)]:
        print(f"note: {note}")
    for line in upstream_lines(settings):
        print(f"now: {line}")
    for line in permission_lines(settings):
        print(line)
    for line in certificate_lines(certificate_set, time.time()):
        print(f"certificate: {line}")
    print("This would run:" if whole else "This would run, with defaults for everything else (--all shows them):")
    print("\n".join(_rendered(settings, whole=whole)))
    return 0


def _parse(arguments: list[str]) -> tuple[Flags, list[str]]:
    """Flags by setting name, as typed, and other words."""
    parser = _Parser(prog=_PROG, add_help=False, allow_abbrev=False)
    known = {"--help": "--help", "--version": "--version"}
    in_file_only = {name for row in table() if not row.has_flag for name in (row.name, *row.aliases)}
    for row in table():
        if not row.has_flag:
            continue
        spellings = [row.flag, *("--" + alias.replace("_", "-") for alias in row.aliases)]
        known |= dict.fromkeys(spellings, row.flag)
        parser.add_argument(
            *spellings, dest=row.name, default=argparse.SUPPRESS, action="append" if row.kind.repeatable else "store"
        )
    parser.add_argument("rest", nargs="*")
    found, unknown = parser.parse_known_args(arguments)
    for argument in unknown:
        name = argument.partition("=")[0]
        if not name.startswith("-"):
            raise _UsageError(f"{name}: unexpected argument; {_fix(name)}")
        if plain(name) in in_file_only:
            raise _UsageError(
                f"{name}: only a key of the file; write {plain(name)} there, and name it with --config FILE"
            )
        if name in known:
            raise _UsageError(f"{argument}: {name} takes no value; write {name} alone")
        raise _UsageError(f"{name}: unknown flag; {nearest(name, known)}")
    flags: dict[str, Any] = vars(found)
    return flags, flags.pop("rest")


def help_text(columns: int) -> str:
    """All settings by group, wrapped to the terminal."""
    width = max(60, min(columns, 120))
    parts = [_USAGE, "\n", INTRODUCTION, "\ncommands for a running gateway (COMMAND --help has details):\n"]
    parts += [f"  {name:17}{doc}\n" for name, doc in RUNNING.items()]
    parts.append("\nother commands:\n")
    parts += [f"  {name:17}{doc}\n" for name, doc in LOCAL.items()]
    group = ""
    for row in table():
        if row.group != group:
            group = row.group
            parts.append(f"\n{group.lower()}:\n")
        if row.has_flag:
            parts.append(_help_row(row, width))
    parts.append("\nother:\n  -h, --help\n  --version\n\n")
    parts.append(_EXAMPLES)
    return "".join(parts)


def _help_row(row: Setting, width: int) -> str:
    left = f"  {row.flag} {row.kind.metavar}"
    text = f"{row.doc} [{row.default_text}]"
    indent = " " * 34
    lines = textwrap.wrap(text, width - len(indent), break_on_hyphens=False)
    if len(left) > len(indent) - 2:
        return "\n".join([left, *(indent + line for line in lines)]) + "\n"
    return "\n".join([left.ljust(len(indent)) + lines[0], *(indent + line for line in lines[1:])]) + "\n"


def _rendered(settings: Settings, *, whole: bool) -> list[str]:
    """Settings that differ from their defaults, or all: a line each, then those of each route."""
    defaults = Settings()
    lines = []
    for row in table():
        value = getattr(settings, row.name)
        given = value != getattr(defaults, row.name)
        if whole or (given and row.name != "config"):
            lines.append(f"  {row.name} = {settings.shown(row.name)}" + ("" if given else "  (default)"))
    for route in settings.routes:
        path = f"{'exactly ' if route.exact else ''}{route.path}"
        lines.append(
            f"  route {route.name}: {', '.join([*(route.hosts or ['any host']), path, *route.matching.texts])}"
        )
        lines += [
            f"    {row.name} = {route.settings.shown(row.name)}"
            for row in table()
            if row.routed and getattr(route.settings, row.name) != getattr(settings, row.name)
        ]
    return lines


def reference() -> str:
    """The reference page, in Markdown: docs/reference/proxy-settings.md."""
    parts = [_REFERENCE]
    group = ""
    for row in table():
        if row.group != group:
            group = row.group
            parts.append(f"\n## {group}\n\n| flag | key | type | default | meaning |\n|---|---|---|---|---|\n")
        key = f"`{row.name}`" + "".join(f" or `{alias}`" for alias in row.aliases) + (" ·" if row.routed else "")
        if row.name == "config":
            key = "flag only"
        kind = " or ".join(f"`{choice}`" for choice in row.kind.choices) or row.kind.name
        kind += ", repeatable" if row.kind.repeatable else ""
        flag = f"`{row.flag}`" if row.has_flag else "file only"
        parts.append(f"| {flag} | {key} | {kind} | `{row.default_text}` | {row.doc}{row.reload.value} |\n")
    return "".join(parts)


_REFERENCE = """\
# Settings of the gateway

Generated from the table in `proxy/settings/table/`; a test fails when this page differs from it.

A value comes from the flag, else from the environment variable of its name (`ARAGORA_PROXY_BIND` for `--bind`, with
commas between several values), else from the TOML file of `--config`, else from the default. Keys belong to the top
level of the file; those marked · are also allowed in a route, which then overrides the top level:

```toml
upstream = ["127.0.0.1:8080"]
bind = ["0.0.0.0:8000", "[::1]:8000"]
access_log = "/var/log/proxy/access.log"
read_timeout = "5m"
max_body = "100m"
response_buffering = false

[[certificate]]                     # of several, the client's SNI selects one
cert = "/etc/ssl/certs/example.pem"
key = "/etc/ssl/private/example.pem"

[[route]]
name = "api"                        # for commands, metrics and logs; default: host and path
host = ["api.example.com", "*.api.example.com"]
path = "/v1/"                       # the longest path wins; 'exact' matches only that path
method = ["GET", "HEAD"]            # conditions: method, field, query, cookie (docs/howto/routes.md)
upstream = ["unix:/run/api-1.sock weight=3", "unix:/run/api-2.sock"]
rate = "20/s"
```

A request is matched to the routes with its host, else to those with the most specific wildcard, else to those without a
host; among them to the one with its exact path, else the longest path; of those with one path to the one with most
conditions. In a path `{name}` and `*` stand for one segment or part of one. If no route matches, the top level serves
it, if it has an upstream.

HUP, or `aragora-proxy reload`, reads the file again. Changes apply to everything that begins from then on, without
replacing a process, unless noted otherwise; switching TLS or ACME on or off also starts new workers.

`aragora-proxy check FILE` lists every mistake in a file, with its line and the fix.

In a value of the file `${NAME}` is replaced by that environment variable, `${NAME:-default}` by the default if the
variable is unset or empty; `$${` is a literal `${`. `include = ["conf.d/*.toml"]` at the top level reads more files;
their names are relative to the file that includes them: see [configuration](../howto/configuration.md).

- **address**: `HOST:PORT`, `[::1]:PORT`, `:PORT` (127.0.0.1) or `unix:PATH`; an upstream may also be `unix:@NAME`, in
  Linux's abstract namespace. Listeners are IP addresses; an upstream may be a host name. With port 0 the kernel
  chooses a listener's port. A repeatable setting is a list in the file.
- **duration**: seconds, or a number with `ms`, `s`, `m`, `h` or `d`; at most 30 days. 0 never means "without limit".
- **size**: bytes, or a whole number with `k`, `m` or `g` (powers of 1024).
- **0, or `off`** (`false` in the file) switches a setting off: no limit, no buffer or queue, no check or wait. Settings
  that cannot be off accept neither: a head needs a bound, and a timeout cannot be zero.
- **rate**: a number per `s`, `m` or `h`, such as `20/s`.
- **key**: `client` (its address), `route`, `header:NAME` or `cookie:NAME`.
- **network**: `10.0.0.0/8`, `2001:db8::/32` or a single address; several in a list.
- **switch**: `on` or `off` as a flag, `true` or `false` in the file.
"""
