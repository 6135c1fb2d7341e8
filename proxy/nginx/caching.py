"""nginx's cache: what is stored, for how long, where."""

from proxy.nginx.blocks import Directive, Scope
from proxy.nginx.directives import seconds, size
from proxy.nginx.report import Section

KNOWN = {
    "proxy_cache", "proxy_cache_valid", "proxy_cache_use_stale", "proxy_cache_key", "proxy_cache_path",
    "proxy_cache_bypass", "proxy_no_cache", "proxy_ignore_headers",
}  # fmt: skip

_DEFAULT_STATUSES = {"200", "301", "302"}
"""Those of a `proxy_cache_valid` that names none."""
_BY_APPLICATION = "the application decides which responses are stored, by Cache-Control and Vary"


def cache(scope: Scope, section: Section) -> None:
    """The cache of a location."""
    directive = scope.last("proxy_cache")
    if directive is None or directive.value == "off":
        return
    section.values["cache"] = True
    for one in scope.every("proxy_cache_valid"):
        _lifetime(one, section)
    stale = scope.last("proxy_cache_use_stale")
    if stale is not None and stale.value != "off":
        if {*stale.args} - {"updating"}:
            section.values["cache_stale_if_error"] = "1d"
            section.different(stale, "a stale response replaces errors for a day at most, and all of them")
        else:
            section.different(stale, "stale-while-revalidate of the application allows it")
    key = scope.last("proxy_cache_key")
    if key is not None:
        section.different(key, "the key is not written: it is all that the application is sent")
    for name in ("proxy_cache_bypass", "proxy_no_cache", "proxy_ignore_headers"):
        for one in scope.every(name):
            section.lost(one, _BY_APPLICATION)


def _lifetime(directive: Directive, section: Section) -> None:
    statuses = {*directive.args[:-1]} or _DEFAULT_STATUSES
    if statuses & {"200", "any"}:
        section.values["cache_ttl"] = seconds(directive.args[-1])
    if statuses - {"200", "203", "301", "308"}:
        section.different(
            directive, "cache_ttl is for 200, 203, 301 and 308; others are stored if the application says so"
        )


def cache_path(directive: Directive, top: Section) -> None:
    """Where the cache is: the first of several places."""
    if "cache_dir" in top.values:
        top.different(directive, "there is one directory for all that is stored")
        return
    top.values["cache_dir"] = directive.args[0]
    for parameter in directive.args[1:]:
        name, _, value = parameter.partition("=")
        if name == "max_size":
            top.values["cache_size"] = size(value)
