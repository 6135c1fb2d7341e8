"""Reading settings: flags over the TOML file over the defaults. All mistakes are reported together."""

import re
import tomllib
from collections.abc import Container, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.settings.check import problems
from proxy.settings.errors import SettingsError
from proxy.settings.spelling import nearest, plain
from proxy.settings.syntax import syntax_mistake
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
        routes = file.routes(settings)
        if mistakes:
            raise SettingsError(mistakes)
        settings = replace(settings, routes=routes)
        file.check_routes(settings)
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
    text = ""
    try:
        # Editors of Windows begin a file with a byte order mark.
        text = read_file(path, MAX_FILE).decode("utf-8-sig")
        return _File(path, text, tomllib.loads(text), mistakes)
    except UnicodeDecodeError as problem:
        line = problem.object.count(b"\n", 0, problem.start) + 1
        mistakes.append(f"{path}:{line}: not UTF-8 at byte {problem.start}; save the file as UTF-8")
    except tomllib.TOMLDecodeError as problem:
        number, mistake = syntax_mistake(text, problem)
        mistakes.append(f"{path}:{number}: {mistake}")
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
        self._heads: dict[str, int] = {}

    def values(self) -> dict[str, Any]:
        """The top level's settings, checked one by one."""
        own = {key: value for key, value in self._document.items() if key not in _TABLES}
        return self._settings(own, f"{self._path}", 0)

    def routes(self, top: Settings) -> tuple[RouteSettings, ...]:
        """The file's routes, over the settings of the top level."""
        base = replace(top, certificates=())
        tables = list(self._tables("route"))
        found = tuple(self._route(base, *table) for table in tables)
        self._heads = {
            route.name: self._text.count("\n", 0, start) + 1
            for route, (_, start, _) in zip(found, tables, strict=True)
            if start
        }
        return found

    def check_routes(self, settings: Settings) -> None:
        """Mistakes of routes beside one another."""
        given = [str(table["name"]) for table in self._document.get("route", []) if "name" in table]
        for name in sorted({name for name in given if given.count(name) > 1}):
            self._mistakes.append(f"{self._path}{self._head(name)}: route {name}: duplicate name; rename one")
        if replace(settings, routes=()).all_routes and "default" in given:
            self._mistakes.append(
                f"{self._path}{self._head('default')}: route default: the name is reserved for what the top level "
                "serves; rename it"
            )
        self._check_reached(settings.routes)

    def _check_reached(self, routes: tuple[RouteSettings, ...]) -> None:
        first: dict[tuple[str, str, bool], int] = {}
        for number, route in enumerate(routes):
            for host in route.hosts or ("",):
                other = first.setdefault((host, route.path, route.exact), number)
                if other != number:
                    names = (route.name, routes[other].name)
                    own, earlier = names if names[0] != names[1] else (str(number + 1), str(other + 1))
                    self._mistakes.append(
                        f"{self._path}{self._head(route.name)}: route {own}: matches the same requests as route"
                        f" {earlier}: {host or 'any host'}, {route.path}; change one or remove it"
                    )
                    break

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
        """A mistake that involves several settings, in terms of the file: its keys, and the line of the first."""
        if problem.startswith("route "):
            return f"{self._path}{self._head(problem[6:].partition(': ')[0])}: {problem}"
        if problem.startswith("certificate "):
            return f"{self._path}: {problem}"
        first = re.match(r"-*([a-z0-9_-]+)", problem)
        key = plain(first[1]) if first else ""
        if key in flags:
            return problem
        problem = re.sub(r"^--([a-z0-9-]+) (\S+): ", lambda found: f"{plain(found[1])} = {found[2]}: ", problem)
        problem = re.sub(
            r"--([a-z0-9-]+)", lambda found: found[0] if plain(found[1]) in flags else plain(found[1]), problem
        )
        return f"{self._path}{self._line(key, 0)}: {problem}"

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
            self._mistakes.append(f"{self._at(place, start, 'exact')}: path is there too; remove one of them")
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
                fix = nearest(key, _SPELLINGS)
                if isinstance(value, dict) and fix.removeprefix("did you mean ").rstrip("?") not in _TABLES:
                    fix = f"settings are written at the top of the file, without [{key}]"
                self._mistakes.append(f"{at}: unknown setting; {fix}")
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

    def _head(self, route: str) -> str:
        """The line of a route's `[[route]]`; of several of one name, the last one's."""
        return f":{self._heads[route]}" if route in self._heads else ""

    def _line(self, key: str, start: int) -> str:
        pattern = re.compile(rf"""^[ \t]*\[*[ \t]*["']?{re.escape(key)}["']?[ \t]*[=.\]]""", re.MULTILINE)
        found = pattern.search(self._text, start)
        return f":{self._text.count(chr(10), 0, found.start()) + 1}" if found else ""
