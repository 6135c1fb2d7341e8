"""Reading settings: flags over the environment over the TOML files over the defaults. All mistakes are reported
together."""

import os
import re
from collections.abc import Callable, Collection, Container, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from proxy.settings.acme import read_acme_server, read_eab_key, read_tsig_key
from proxy.settings.check import problems
from proxy.settings.defaults import dependent_defaults
from proxy.settings.document import INCLUDE, MOST_TABLES, TABLES, Document, Table, read_documents
from proxy.settings.environment import PREFIX, Environment
from proxy.settings.errors import SettingsError
from proxy.settings.matching import KEYS, read_matching, route_named, same_requests
from proxy.settings.shared_limits import shared_limits_problems
from proxy.settings.spelling import nearest, plain
from proxy.settings.table import (
    NAMES,
    RESPONSE_KEYS,
    TABLE,
    WAYS,
    AcmeServer,
    Certificate,
    RouteSettings,
    Setting,
    Settings,
)
from proxy.settings.token import read_password, read_token
from proxy.settings.upstream_tls import UpstreamTls, read_authorities, read_pair
from proxy.settings.values import kinds, template

_MATCHING = ("name", *KEYS)
_SPELLINGS = {name: row.name for name, row in NAMES.items()} | {name: name for name in (*_MATCHING, *TABLES, INCLUDE)}
_NAME = re.compile(r"[0-9A-Za-z._/*-]{1,100}")
_PASSWORD = re.compile(r"(://[^\s/:@]*:)(?!\$\{)[^\s/@]+@")  # one of the environment is not shown in any case
"""In a URL: messages do not repeat it."""

Flags = Mapping[str, str | list[str]]


def load(
    flags: Flags,
    path: Path | None = None,
    served: Container[Path] = (),
    variables: Mapping[str, str] | None = None,
) -> Settings:
    """Read flags (by setting name, as typed) over `variables` over the file at `path` over the defaults.

    The variables are those of the environment, if none are given. Certificate files that are `served` already need not
    exist any more. Raises `SettingsError` with every mistake found, not only the first.
    """
    environment = Environment(os.environ if variables is None else variables)
    try:
        return _load(flags, path, served, environment)
    except SettingsError as problem:
        raise SettingsError([environment.concealed(mistake) for mistake in problem.mistakes]) from None


def config_file(flags: Flags, variables: Mapping[str, str]) -> Path | None:
    """The file that the settings are in, if there is one. Raises SettingsError."""
    row, variable = NAMES["config"], f"{PREFIX}CONFIG"
    source, raw = (row.flag, flags["config"]) if "config" in flags else (variable, variables.get(variable, ""))
    try:
        path = row.kind.read(raw) if raw else None
    except ValueError as problem:
        raise SettingsError([f"{source} {raw}: {problem}"]) from None
    assert path is None or isinstance(path, Path)
    return path


def load_some(names: Collection[str], path: Path | None, variables: Mapping[str, str]) -> dict[str, Any]:
    """Some settings from the environment and the files, by name, if they are set there; nothing else is checked.

    Raises SettingsError.
    """
    mistakes: list[str] = []
    found: dict[str, Any] = {}
    environment = Environment(variables)
    for document in read_documents(path, environment, mistakes) if path is not None else ():
        mistakes += [document.top.mistakes[name] for name in names if name in document.top.mistakes]
        for name in names:
            if name in document.top.values:
                try:
                    found[name] = NAMES[name].kind.read(document.top.values[name])
                except ValueError as problem:
                    mistakes.append(f"{document.top.given(name)}: {problem}")
    for variable, row, raw in environment.settings([]):
        if row.name in names:
            try:
                found[row.name] = row.kind.read(raw)
            except ValueError as problem:
                mistakes.append(f"{variable} {variables[variable]}: {problem}")
    _stop_at([environment.concealed(mistake) for mistake in mistakes])
    return found


def _load(flags: Flags, path: Path | None, served: Container[Path], environment: Environment) -> Settings:
    mistakes: list[str] = []
    files = _Files(read_documents(path, environment, mistakes) if path is not None else [], mistakes)
    chosen = files.values()
    if path is not None:
        chosen["config"] = path
    sources = dict.fromkeys(chosen, "")
    for source, row, raw in [
        *environment.settings(mistakes),
        *((NAMES[name].flag, NAMES[name], raw) for name, raw in flags.items()),
    ]:
        try:
            chosen[row.name] = _value(row, raw)
            sources[row.name] = source
        except ValueError as problem:
            text = raw if isinstance(raw, str) else " ".join(raw)
            mistakes.append(f"{source} {text}: {problem}")
    certificates, acme_servers = files.certificates(), files.acme_servers()
    if chosen.get("tls_cert") and chosen.get("tls_key"):
        certificates = (Certificate(chosen["tls_cert"], chosen["tls_key"]), *certificates)
    chosen |= dependent_defaults(chosen, environment.variables)
    settings = Settings(
        **chosen, certificates=certificates, more_acme_servers=acme_servers, written=files.written(sources)
    )
    routes = files.routes(settings)
    if path is not None and sources.keys() == {"config"} and not (certificates or routes or mistakes):
        mistakes.append(f"{path}: is empty; add upstream, the application's address, or start without a file")
    _stop_at(mistakes)
    settings = replace(settings, routes=routes)
    files.check_routes(settings)
    found = problems(settings, served) + shared_limits_problems(settings)
    settings = _with_tls_files(settings, found)
    mistakes += [files.placed(problem, sources) for problem in found]
    secrets: dict[str, Any] = {}
    files_of_secrets: tuple[tuple[str, Path | None, str, Callable[[Path], Any]], ...] = (
        ("admin_token_file", settings.admin_token_file, "admin_token", read_token),
        ("acme_eab_key_file", settings.acme_eab_key_file, "acme_eab_key", read_eab_key),
        ("acme_dns_key_file", settings.acme_dns_key_file, "acme_dns_key", read_tsig_key),
        ("shared_limits_password_file", settings.shared_limits_password_file, "shared_limits_password", read_password),
        ("shared_limits_ca", settings.shared_limits_ca, "shared_limits_tls", _trusting),
    )
    for key, path, content, read in files_of_secrets:
        try:
            secrets |= {content: read(path)} if path else {}
        except ValueError as problem:
            mistakes.append(files.placed(f"{TABLE[key].flag} {path}: {problem}", sources))
    _stop_at(mistakes)
    return replace(settings, **secrets)


def _stop_at(mistakes: list[str]) -> None:
    if mistakes:
        raise SettingsError([_PASSWORD.sub(r"\1***@", mistake) for mistake in mistakes])


def _trusting(path: Path) -> UpstreamTls:
    return UpstreamTls(read_authorities(path))


def _with_tls_files(settings: Settings, mistakes: list[str]) -> Settings:
    """The same settings with the content of the files that TLS to upstreams takes, each read once."""
    known: dict[object, Any] = {}

    def read(what: Callable[..., Any], key: str, where: str, *paths: Path) -> Any:
        if paths not in known:
            try:
                known[paths] = what(*paths)
            except ValueError as problem:
                known[paths] = None
                mistakes.append(f"{where}{key if where else TABLE[key].flag} {paths[0]}: {problem}")
        return known[paths]

    def filled(one: Settings, where: str) -> Settings:
        authorities = read(read_authorities, "upstream_ca", where, one.upstream_ca) if one.upstream_ca else ""
        pair = None
        if one.upstream_cert and one.upstream_key:
            pair = read(read_pair, "upstream_cert", where, one.upstream_cert, one.upstream_key)
        asked = read(read_authorities, "forward_auth_ca", where, one.forward_auth_ca) if one.forward_auth_ca else ""
        if not (authorities or pair or asked):
            return one
        tls = UpstreamTls(authorities or "", *(pair or ()))
        return replace(one, upstream_tls=known.setdefault(tls, tls), forward_auth_tls=UpstreamTls(asked or ""))

    return replace(
        filled(settings, ""),
        routes=tuple(
            replace(route, settings=filled(route.settings, f"route {route.name}: ")) for route in settings.routes
        ),
    )


class _Files:
    """The files of the settings, the main one first; their mistakes are added to `mistakes`."""

    def __init__(self, documents: list[Document], mistakes: list[str]) -> None:
        self._documents = documents
        self._mistakes = mistakes
        self._heads: dict[str, str] = {}
        self._routes: list[Table] = []

    def values(self) -> dict[str, Any]:
        """The top levels' settings, checked one by one."""
        chosen: dict[str, Any] = {}
        first: dict[str, str] = {}
        for document in self._documents:
            self._mistakes += document.top.mistakes.values()
            for name, value in self._settings(document.top, hidden=(INCLUDE,)).items():
                spelling = next(key for key in document.top.values if key in NAMES and NAMES[key].name == name)
                at = document.top.at(spelling)
                if name in chosen:
                    self._mistakes.append(f"{at}: set already in {first[name]}; remove one of them")
                chosen[name], first[name] = value, at
        return chosen

    def written(self, sources: Mapping[str, str]) -> tuple[tuple[str, str], ...]:
        """The top levels' values with variables, as the files have them, unless they have another source."""
        found = {name: text for document in self._documents for name, text in _written(document.top).items()}
        return tuple((name, text) for name, text in found.items() if not sources.get(name))

    def routes(self, top: Settings) -> tuple[RouteSettings, ...]:
        """The files' routes, over the settings of the top level."""
        base = replace(top, certificates=())
        self._routes = self._tables("route")
        found = tuple(self._route(base, table) for table in self._routes)
        self._heads = {
            route.name: f"{table.document.path}{table.document.line_at(table.start) if table.start else ''}"
            for route, table in zip(found, self._routes, strict=True)
        }
        return found

    def check_routes(self, settings: Settings) -> None:
        """Mistakes of routes beside one another."""
        given = [str(table.values["name"]) for table in self._routes if "name" in table.values]
        alike = {number for number, _, _ in same_requests(settings.routes)}
        names = [route.name for number, route in enumerate(settings.routes) if number not in alike]
        for name in sorted({name for name in [*given, *names] if given.count(name) > 1 or names.count(name) > 1}):
            fix = "rename one" if name in given else "add a name to one"
            self._mistakes.append(f"{self._heads[name]}: route {name}: duplicate name; {fix}")
        if replace(settings, routes=()).all_routes and "default" in given:
            self._mistakes.append(
                f"{self._heads['default']}: route default: the name is reserved for what the top level serves; "
                "rename it"
            )
        self._check_reached(settings.routes)

    def _check_reached(self, routes: tuple[RouteSettings, ...]) -> None:
        for number, other, host in same_requests(routes):
            route, earlier_route = routes[number], routes[other]
            alike = route.name == earlier_route.name
            own, earlier = (str(number + 1), str(other + 1)) if alike else (route.name, earlier_route.name)
            self._mistakes.append(
                f"{self._heads[route.name]}: route {own}: matches the same requests as route"
                f" {earlier}: {host or 'any host'}, {route.path}; change one or remove it"
            )

    def certificates(self) -> tuple[Certificate, ...]:
        """The files' certificates beside the one of the flags."""
        found = []
        for table in self._tables("certificate"):
            paths: dict[str, Path] = {}
            for key, raw in table.values.items():
                if key not in ("cert", "key"):
                    self._mistakes.append(
                        f"{table.at(key)}: unknown key of [[certificate]], which takes 'cert' and 'key'; remove it"
                    )
                    continue
                try:
                    paths[key] = kinds.PATH.read(raw)
                except ValueError as problem:
                    self._mistakes.append(f"{table.given(key)}: {problem}")
            if len(paths) == 2:
                found.append(Certificate(paths["cert"], paths["key"]))
            elif not {"cert", "key"} <= table.values.keys() | table.written.keys():
                self._mistakes.append(f"{table.place}: needs both 'cert' and 'key', paths of PEM files")
        return tuple(found)

    def acme_servers(self) -> tuple[AcmeServer, ...]:
        """The files' authorities beside the one of the flags."""
        found = (read_acme_server(table, self._mistakes) for table in self._tables("acme_server"))
        return tuple(filter(None, found))

    def placed(self, problem: str, sources: Mapping[str, str]) -> str:
        """A mistake that involves several settings, in terms of where they are set: keys, and the line of the first."""
        if problem.startswith("route "):
            return f"{self._heads.get(problem[6:].partition(': ')[0], self._documents[0].path)}: {problem}"
        if problem.startswith("certificate "):
            return f"{self._documents[0].path}: {problem}"
        first = re.match(r"-*([a-z0-9_-]+)", problem)
        key = plain(first[1]) if first else ""
        if sources.get(key) or not self._documents:
            return re.sub(r"--([a-z0-9-]+)", lambda found: sources.get(plain(found[1])) or found[0], problem)
        problem = re.sub(r"^--([a-z0-9-]+) (\S+): ", lambda found: f"{plain(found[1])} = {found[2]}: ", problem)
        problem = re.sub(r"--([a-z0-9-]+)", lambda found: sources.get(plain(found[1])) or plain(found[1]), problem)
        setting = next((one for one in self._documents if key in one.top.values), self._documents[0])
        return f"{setting.path}{setting.line(key)}: {problem}"

    def _tables(self, name: str) -> list[Table]:
        found = [table for document in self._documents for table in document.tables(name)]
        if len(found) > MOST_TABLES:
            self._mistakes.append(f"{found[MOST_TABLES].place}: {name}: at most {MOST_TABLES} in all files")
        self._mistakes += [mistake for table in found for mistake in table.mistakes.values()]
        return found[:MOST_TABLES]

    def _route(self, base: Settings, table: Table) -> RouteSettings:
        where = read_matching(table, self._mistakes)
        chosen = self._settings(table, hidden=_MATCHING, variables=where[1].variables, routed_only=True)
        name = table.values.get("name")
        if name is not None and (not isinstance(name, str) or not _NAME.fullmatch(name)):
            self._mistakes.append(f"{table.given('name')}: expected letters, digits, . - _ /")
            name = ""
        if chosen.keys() & set(WAYS):
            # A route with its own way to respond does not inherit that of the top level.
            base = replace(base, **{key: TABLE[key].default for key in RESPONSE_KEYS})
        written = {name: text for name, text in base.written if name not in chosen} | _written(table)
        return route_named(name, *where, replace(base, **chosen, written=tuple(written.items())))

    def _settings(
        self, table: Table, hidden: Collection[str], variables: Sequence[str] = (), *, routed_only: bool = False
    ) -> dict[str, Any]:
        """The settings of a table, by name; `hidden` keys are none. `variables` are those of a route's path."""
        chosen: dict[str, Any] = {}
        for key, value in table.values.items():
            row = NAMES.get(key)
            if key in hidden:
                continue
            if row is None:
                fix = nearest(key, _SPELLINGS)
                if key == INCLUDE:
                    fix = "files are included at the top level"
                elif isinstance(value, dict) and fix.removeprefix("did you mean ").rstrip("?") not in TABLES:
                    fix = f"settings are written at the top of the file, without [{key}]"
                self._mistakes.append(f"{table.at(key)}: unknown setting; {fix}")
            elif row.name == "config":
                self._mistakes.append(f"{table.at(key)}: not allowed in a file; remove it")
            elif routed_only and not row.routed:
                self._mistakes.append(f"{table.at(key)}: not allowed inside [[route]]; move it to the top level")
            elif row.name in chosen:
                self._mistakes.append(f"{table.at(key)}: given twice, as {row.name} and as an alias of it; remove one")
            else:
                try:
                    chosen[row.name] = _value(row, value, variables)
                except ValueError as problem:
                    self._mistakes.append(f"{table.given(key)}: {problem}")
        return chosen


def _value(row: Setting, raw: Any, variables: Sequence[str] = ()) -> Any:
    value = row.kind.read(raw)
    if row.templated:
        template.check(value, variables)
    return value


def _written(table: Table) -> dict[str, str]:
    """The values of settings that have variables, as the file has them."""
    return {NAMES[key].name: text for key, text in table.written.items() if key in NAMES}
