"""Which clients have access: address lists, passwords, a service that is asked, rates."""

import re

from proxy.nginx.blocks import Directive, Scope
from proxy.nginx.report import Section

_PASSED = re.compile(r"https?://[^$]+")


def access(scope: Scope, section: Section, server: tuple[Directive, ...]) -> None:
    """Everything that decides about a request before it is served."""
    _addresses(scope, section)
    _passwords(scope, section)
    _service(scope, section, server)
    satisfy = scope.last("satisfy")
    if satisfy is not None and satisfy.value == "any":
        section.lost(satisfy, "address lists, passwords and the service all have to agree")


def rates(scope: Scope, section: Section) -> None:
    """`limit_req` with its zone."""
    for directive in scope.every("limit_req"):
        options = dict(one.partition("=")[::2] for one in directive.args)
        zone = _zone(scope, "limit_req_zone", options.get("zone", ""))
        found = re.search(r"\brate=(\d+)r/([sm])", zone.value) if zone else None
        if zone is None or found is None or "rate" in section.values:
            section.lost(
                directive, "a route has one rate, of a zone with rate=Nr/s" if found else "its zone is not known"
            )
            continue
        section.values["rate"] = f"{found[1]}/{found[2]}"
        section.values["burst"] = int(options.get("burst", "0")) + 1
        by = re.fullmatch(r"\$http_(\w+)", zone.args[0])
        if by:
            section.values["rate_by"] = "header:" + by[1].replace("_", "-")
        elif zone.args[0] == "$server_name":
            section.values["rate_by"] = "route"
        elif zone.args[0] not in ("$binary_remote_addr", "$remote_addr"):
            section.lost(zone, "a rate is of clients' addresses, of a field or of a route")
        how = "refused requests get 429 with RateLimit fields, not 503"
        section.different(directive, how if "nodelay" in options else f"{how}; none is delayed")


def _zone(scope: Scope, kind: str, name: str) -> Directive | None:
    zones = [one for block in scope.blocks for one in block if one.name == kind]
    return next((one for one in zones if re.search(rf"\bzone={re.escape(name)}:", one.value)), None) if name else None


def _addresses(scope: Scope, section: Section) -> None:
    """nginx takes the first line that matches; here a client has to be in `allow`, if there is one, not in `deny`."""
    lines = next(
        (found for block in scope.blocks if (found := [one for one in block if one.name in ("allow", "deny")])), []
    )
    if not lines:
        return
    last = lines[-1]
    whole = last.value == "all"
    rules = lines[:-1] if whole else lines
    kinds = [one.name for one in rules]
    ordered = kinds == sorted(kinds, reverse=True)  # every deny before the first allow
    if any(one.value in ("all", "unix:") for one in rules) or not ordered:
        for one in rules:
            section.lost(one, "lists have no order: denied addresses first, then allowed ones, then deny all")
        if whole and last.name == "deny":
            section.values["deny"] = ["0.0.0.0/0", "::/0"]
        return
    allowed = [one.value for one in rules if one.name == "allow"]
    denied = [one.value for one in rules if one.name == "deny"]
    if whole and last.name == "deny":
        if allowed:
            section.values["allow"] = allowed
        else:
            denied = ["0.0.0.0/0", "::/0"]
    if denied:
        section.values["deny"] = denied


def _passwords(scope: Scope, section: Section) -> None:
    realm, users = scope.last("auth_basic"), scope.last("auth_basic_user_file")
    if realm is None or users is None:
        return
    if realm.value == "off":
        section.values["basic_auth"] = "off"
        return
    section.values["basic_auth"] = users.value
    section.different(users, "hashes have to be bcrypt: htpasswd -B; the realm is the route's name")


def _service(scope: Scope, section: Section, server: tuple[Directive, ...]) -> None:
    asked = scope.last("auth_request")
    if asked is None or asked.value == "off":
        return
    place = next((one for one in server if one.name == "location" and one.args[-1:] == asked.args), None)
    passed = next((one for one in (place.block or () if place else ()) if one.name == "proxy_pass"), None)
    if passed is None or not _PASSED.fullmatch(passed.value):
        section.lost(asked, "its location has no proxy_pass without variables")
        return
    section.values["forward_auth"] = passed.value
    section.different(
        asked,
        "the service gets X-Forwarded-Uri and the like; its 401, 403 and redirects are sent to clients as they are",
    )
    for one in scope.every("auth_request_set"):
        section.lost(one, "name the fields of its response that the application gets: forward_auth_fields")
