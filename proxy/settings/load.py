"""Reading settings: flags over the TOML file over the defaults. All mistakes are reported together."""

import difflib
import re
import tomllib
from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.settings.check import problems
from proxy.settings.errors import SettingsError
from proxy.settings.table import NAMES, RESPONSE_KEYS, TABLE, Certificate, RouteSettings, Settings
from proxy.settings.token import read_token
from proxy.settings.values import kinds, web
from proxy.settings.values.files import read_file

MAX_FILE = 1 << 20
_MOST_TABLES = 256
_MATCHING = ("name", "host", "path", "exact")
_TABLES = ("route", "certificate")
_SPELLINGS = {name: row.name for name, row in NAMES.items()} | {name: name for name in (*_MATCHING, *_TABLES)}
_UNREAD = re.compile(r"%|//|/\.{1,2}(?:/|$)")  # absent from a decoded request path, which routes are compared with
_NAME = re.compile(r"[0-9A-Za-z._/*-]{1,100}")


def nearest(name: str, names: Mapping[str, str]) -> str:
    """The fix for a misspelt name: the nearest of `names` (the current name by spelling), or where all are listed."""
    close = difflib.get_close_matches(name, names, n=1, cutoff=0.6)
    return f"did you mean {names[close[0]]}?" if close else "python -m proxy --help lists all settings"


def load(flags: Mapping[str, str | list[str]], path: Path | None = None, served: Container[Path] = ()) -> Settings:
    """Read flags (by setting name, as typed) over the file at `path` over the defaults.

    Certificate files that are `served` already need not exist any more. Raises `SettingsError` with every mistake
    found, not only the first.
    """
    mistakes: list[str] = []
    chosen: dict[str, Any] = {}
    file = None
    if path is not None:
        file = _read(path, mistakes)
        chosen["config"] = path
        if file is not None:
            chosen.update(file.values())
    for name, raw in flags.items():
        row = NAMES[name]
        try:
            chosen[row.name] = row.kind.read(raw)
        except ValueError as problem:
            text = raw if isinstance(raw, str) else " ".join(raw)
            mistakes.append(f"{row.flag} {text}: {problem}")
    certificates = file.certificates() if file else ()
    if chosen.get("tls_cert") and chosen.get("tls_key"):
        certificates = (Certificate(chosen["tls_cert"], chosen["tls_key"]), *certificates)
    if mistakes:
        raise SettingsError(mistakes)
    settings = Settings(**chosen, certificates=certificates)
    if file is not None:
        settings = replace(settings, routes=file.routes(settings))
    mistakes += [file.placed(problem, flags) if file is not None else problem for problem in problems(settings, served)]
    token = b""
    if settings.admin_token_file:
        try:
            token = read_token(settings.admin_token_file)
        except ValueError as problem:
            mistakes.append(f"--admin-token-file {settings.admin_token_file}: {problem}")
    if mistakes:
        raise SettingsError(mistakes)
    return replace(settings, admin_token=token)


def _read(path: Path, mistakes: list[str]) -> "_File | None":
    try:
        text = read_file(path, MAX_FILE).decode()
        return _File(path, text, tomllib.loads(text), mistakes)
    except UnicodeDecodeError as problem:
        mistakes.append(f"{path}: not UTF-8 at byte {problem.start}; TOML files are UTF-8 text")
    except tomllib.TOMLDecodeError as problem:
        mistakes.append(f"{path}: not valid TOML: {problem}")
    except RecursionError:
        mistakes.append(f"{path}: not valid TOML: values are nested too deeply")
    except ValueError as problem:
        mistakes.append(f"{path}: {problem}")
    return None


class _File:
    """A parsed TOML file; its mistakes are added to `mistakes`."""

    def __init__(self, path: Path, text: str, document: dict[str, Any], mistakes: list[str]) -> None:
        self._path = path
        self._text = text
        self._document = document
        self._mistakes = mistakes

    def values(self) -> dict[str, Any]:
        """The top level's settings, checked one by one."""
        own = {key: value for key, value in self._document.items() if key not in _TABLES}
        return self._settings(own, f"{self._path}", 0)

    def routes(self, top: Settings) -> tuple[RouteSettings, ...]:
        """The file's routes, over the settings of the top level."""
        base = replace(top, certificates=())
        found = [self._route(base, *table) for table in self._tables("route")]
        names = [route.name for route in found]
        for name in {name for name in names if names.count(name) > 1}:
            self._mistakes.append(f"{self._path}: duplicate route name {name}; rename one")
        if replace(top, routes=()).all_routes and "default" in names:
            self._mistakes.append(
                f"{self._path}: route default: the name is reserved for what the top level serves; rename it"
            )
        self._check_reached(found)
        return tuple(found)

    def _check_reached(self, routes: list[RouteSettings]) -> None:
        first: dict[tuple[str, str, bool], str] = {}
        for route in routes:
            for host in route.hosts or ("",):
                other = first.setdefault((host, route.path, route.exact), route.name)
                if other != route.name:
                    self._mistakes.append(
                        f"{self._path}: route {route.name}: matches the same requests as route {other}:"
                        f" {host or 'any host'}, {route.path}; change one or remove it"
                    )

    def certificates(self) -> tuple[Certificate, ...]:
        """The file's certificates beside the one of the flags."""
        found = []
        for place, start, values in self._tables("certificate"):
            paths: dict[str, Path] = {}
            for key, raw in values.items():
                if key not in ("cert", "key"):
                    at = self._at(place, start, key)
                    self._mistakes.append(
                        f"{at}: unknown key of [[certificate]], which takes 'cert' and 'key'; remove it"
                    )
                    continue
                try:
                    paths[key] = kinds.PATH.read(raw)
                except ValueError as problem:
                    self._mistakes.append(f"{self._at(place, start, key)} = {kinds.toml(raw)}: {problem}")
            if len(paths) == 2:
                found.append(Certificate(paths["cert"], paths["key"]))
            elif not {"cert", "key"} <= values.keys():
                self._mistakes.append(f"{place}: needs both 'cert' and 'key', paths of PEM files")
        return tuple(found)

    def placed(self, problem: str, flags: Mapping[str, object]) -> str:
        """A mistake that involves several settings, with the line of the first, if that is in the file."""
        if problem.startswith(("route ", "certificate ")):
            return f"{self._path}: {problem}"
        first = re.match(r"-*([a-z0-9_-]+)", problem)
        key = first[1].replace("-", "_") if first else ""
        line = self._line(key, 0) if key and key not in flags else ""
        return f"{self._path}{line}: {problem}" if line else problem

    def _tables(self, name: str) -> Iterator[tuple[str, int, dict[str, Any]]]:
        """Each `[[name]]`: its place in words, its offset in the text, and its content."""
        tables = self._document.get(name, [])
        if not isinstance(tables, list) or not all(isinstance(table, dict) for table in tables):
            self._mistakes.append(f"{self._path}{self._line(name, 0)}: {name}: write [[{name}]], in double brackets")
            return
        if len(tables) > _MOST_TABLES:
            self._mistakes.append(f"{self._path}: {name}: at most {_MOST_TABLES}")
            return
        heads = [found.end() for found in re.finditer(rf"^[ \t]*\[\[[ \t]*{name}[ \t]*\]\]", self._text, re.MULTILINE)]
        for index, table in enumerate(tables):
            start = heads[index] if len(heads) == len(tables) else 0
            yield f"{self._path}: {name} {table.get('name') or index + 1}", start, table

    def _route(self, base: Settings, place: str, start: int, values: dict[str, Any]) -> RouteSettings:
        hosts, path, exact = self._matching(place, start, values)
        own = {key: value for key, value in values.items() if key not in _MATCHING}
        chosen = self._settings(own, place, start, routed_only=True)
        name = values.get("name")
        if name is None:
            name = ("= " if exact else "") + (hosts[0] if hosts else "") + path
        elif not isinstance(name, str) or not _NAME.fullmatch(name):
            at = self._at(place, start, "name")
            self._mistakes.append(f"{at} = {kinds.toml(name)}: expected letters, digits, . - _ /")
            name = ""
        if chosen.keys() & set(RESPONSE_KEYS):
            # A route with its own way to respond does not inherit that of the top level.
            base = replace(base, **{key: TABLE[key].default for key in RESPONSE_KEYS})
        return RouteSettings(name, hosts, path, exact, replace(base, **chosen))

    def _matching(self, place: str, start: int, values: dict[str, Any]) -> tuple[tuple[str, ...], str, bool]:
        hosts: tuple[str, ...] = ()
        if "host" in values:
            try:
                hosts = web.DOMAINS.read(values["host"])
                if not hosts:
                    raise ValueError("empty list; leave it out to match all hosts")
            except ValueError as problem:
                self._mistakes.append(f"{self._at(place, start, 'host')} = {kinds.toml(values['host'])}: {problem}")
        if "path" in values and "exact" in values:
            self._mistakes.append(f"{place}: has both path and exact; remove one")
        key = "exact" if "exact" in values else "path"
        path = values.get(key, "/")
        if not isinstance(path, str) or not re.fullmatch(r"/[!-\"$->@-~]*", path):
            at = self._at(place, start, key)
            self._mistakes.append(f"{at} = {kinds.toml(path)}: expected a path that begins with /, without ? or #")
            path = "/"
        elif _UNREAD.search(path):
            at = self._at(place, start, key)
            self._mistakes.append(
                f"{at} = {kinds.toml(path)}: never matches, since requests are compared after decoding; "
                "write it without %, // and dot segments"
            )
        return hosts, path, key == "exact"

    def _settings(self, values: dict[str, Any], place: str, start: int, *, routed_only: bool = False) -> dict[str, Any]:
        chosen: dict[str, Any] = {}
        for key, value in values.items():
            row = NAMES.get(key)
            at = self._at(place, start, key)
            if row is None:
                self._mistakes.append(f"{at}: unknown setting; {nearest(key, _SPELLINGS)}")
            elif row.name == "config":
                self._mistakes.append(f"{at}: not allowed in a file; remove it")
            elif routed_only and not row.routed:
                self._mistakes.append(f"{at}: not allowed inside [[route]]; move it to the top level")
            elif row.name in chosen:
                self._mistakes.append(f"{at}: given twice, as {row.name} and as an alias of it; remove one")
            else:
                try:
                    chosen[row.name] = row.kind.read(value)
                except ValueError as problem:
                    self._mistakes.append(f"{at} = {kinds.toml(value)}: {problem}")
        return chosen

    def _at(self, place: str, start: int, key: str) -> str:
        where, _, table = place.partition(": ") if start else (place, "", "")
        return f"{where}{self._line(key, start)}: " + (f"{table}: {key}" if table else key)

    def _line(self, key: str, start: int) -> str:
        pattern = re.compile(rf"""^[ \t]*\[*[ \t]*["']?{re.escape(key)}["']?[ \t]*[=.\]]""", re.MULTILINE)
        found = pattern.search(self._text, start)
        return f":{self._text.count(chr(10), 0, found.start()) + 1}" if found else ""
