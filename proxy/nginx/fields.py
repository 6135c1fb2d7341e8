"""Fields of requests and responses, and the lifetime of responses in browsers' caches."""

import re

from proxy.nginx import variables
from proxy.nginx.blocks import Directive, Scope
from proxy.nginx.directives import NEEDLESS_FIELDS, seconds
from proxy.nginx.report import Section
from proxy.settings.values import field_lines, web

_DAY = 86400
_NAME = re.compile(r"[\w.:\[\]-]+")
_UNITS = {"ms": 0, "s": 1, "m": 60, "h": 3600, "d": _DAY}
_FOREVER = 315360000  # what nginx takes `expires max` for


def request_fields(scope: Scope, section: Section, names: list[str], module: str) -> None:
    """`proxy_set_header`, or that of another module: those that the gateway does not set by itself."""
    chosen: dict[str, str] = {}
    removed: list[str] = []
    for directive in scope.every(f"{module}_set_header"):
        name, value = directive.args[0], " ".join(directive.args[1:])
        if name.lower() == "upgrade":
            _upgrade(directive, value, section)
            continue
        literal = name.lower() == "host" and not variables.has_variable(value)
        if name.lower() in NEEDLESS_FIELDS and not literal and value != "$proxy_host":
            section.needless(directive, NEEDLESS_FIELDS[name.lower()])
        elif not value:
            removed.append(name)
        else:
            try:
                chosen[name] = variables.as_field(value, names)
                field_lines.OF_REQUESTS.read({name: chosen[name]})
            except ValueError as problem:
                chosen.pop(name, None)
                section.lost(directive, str(problem))
    if chosen:
        section.values["set_request_fields"] = chosen
    if removed:
        section.values["remove_request_fields"] = removed


def host(passed: Directive, scope: Scope, section: Section, module: str) -> None:
    """Without a Host of its own nginx sends the name of the application that `passed` has."""
    if any(one.args[0].lower() == "host" for one in scope.every(f"{module}_set_header")):
        return
    name = re.sub(r"^\w+://", "", passed.value).partition("/")[0]
    same = f'upstream_host = "{name}"' if _NAME.fullmatch(name) else "upstream_host"
    section.different(passed, f"its Host is the client's, not that of this line: {same} changes that")


def _upgrade(directive: Directive, value: str, section: Section) -> None:
    """The protocols to which clients may upgrade, which are those of WebSockets here if none are named."""
    if value == "$http_upgrade":
        section.different(directive, "WebSockets alone; name other protocols in upgrade (docs/howto/upgrades.md)")
        return
    if value.lower() == "websocket":
        section.needless(directive, "WebSockets pass on every route")
        return
    try:
        found = web.PROTOCOLS.read(value or "off")
    except ValueError as problem:
        section.lost(directive, str(problem))
        return
    section.values["upgrade"] = list(found) or "off"
    if found:
        section.different(directive, "asked for only where the client asks for it")


def response_fields(scope: Scope, section: Section, names: list[str]) -> None:
    """`add_header`, `proxy_hide_header` and `expires`."""
    chosen: dict[str, str] = {}
    expires = scope.last("expires")
    if expires is not None:
        control = _cache_control(expires, section)
        chosen |= {"Cache-Control": control} if control else {}
    for directive in scope.every("add_header"):
        name = directive.args[0]
        value = " ".join(one for one in directive.args[1:] if one != "always")
        age = re.fullmatch(r"max-age=(\d+)", value.strip('"; '))
        if name.lower() == "strict-transport-security" and age:
            section.values["hsts"] = f"{age[1]}s" if int(age[1]) % _DAY else f"{int(age[1]) // _DAY}d"
            continue
        try:
            value = variables.as_field(value, names)
            field_lines.OF_RESPONSES.read({name: value})
        except ValueError as problem:
            section.lost(directive, str(problem))
            continue
        if name.lower() == "content-type":
            section.values["respond_type"] = value
            continue
        chosen[name] = f"{chosen[name]}, {value}" if name in chosen else value
        if "always" not in directive.args:
            section.different(directive, "the field is also sent with errors, and replaces the application's own")
    hidden = [directive.args[0] for directive in scope.every("proxy_hide_header")]
    if chosen:
        section.values["set_response_fields"] = chosen
    if hidden:
        section.values["remove_response_fields"] = hidden


def _cache_control(directive: Directive, section: Section) -> str:
    value = directive.value
    if value == "off":
        return ""
    if value in ("epoch", "-1"):
        return "no-cache"
    if value == "max":
        return f"max-age={_FOREVER}"
    try:
        found = re.fullmatch(r"(\d+)(\D+)", seconds(value.removeprefix("+")))
    except ValueError:
        found = None
    if found is None:
        section.lost(directive, "only times relative to the request are known")
        return ""
    section.different(directive, "Cache-Control is sent, without the older Expires")
    return f"max-age={int(found[1]) * _UNITS[found[2]]}"
