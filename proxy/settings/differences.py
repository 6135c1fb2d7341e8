"""Which settings in force differ from their defaults, as the page of a running gateway shows them."""

from collections.abc import Iterator
from typing import NamedTuple

from proxy.settings.table import Settings, table

_HIDDEN = frozenset({"set_request_fields"})
"""Settings whose values may be secrets of the application."""


class Difference(NamedTuple):
    """A setting at the top level (`route` empty) or of a route; `value` and `default` as the file has them.

    Of a route: what differs from the top level, whose value `default` has.
    """

    route: str
    name: str
    value: str
    default: str


def differences(settings: Settings) -> Iterator[Difference]:
    """The top level's, then each route's, in the order of the table. Values that may be secrets are left out."""
    defaults = Settings()
    for row in table():
        if row.name != "config" and getattr(settings, row.name) != getattr(defaults, row.name):
            yield Difference("", row.name, _shown(settings, row.name), row.default_text)
    for route in settings.routes:
        for row in table():
            if row.routed and getattr(route.settings, row.name) != getattr(settings, row.name):
                yield Difference(route.name, row.name, _shown(route.settings, row.name), _shown(settings, row.name))


def _shown(settings: Settings, name: str) -> str:
    return "(not shown)" if name in _HIDDEN else settings.shown(name)
