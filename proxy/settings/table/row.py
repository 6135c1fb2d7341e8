"""One row of the settings table."""

from dataclasses import MISSING, dataclass
from enum import Enum
from typing import Any

from proxy.settings.values import kinds
from proxy.settings.values.kinds import Kind


class Reload(Enum):
    """What HUP does about a setting that has changed; the values are what the reference page says of it."""

    IN_PLACE = ""
    """Running workers apply it to everything that begins from then on."""
    NEW_WORKERS = "; HUP starts new workers and drains the old ones"
    RESTART = "; not applied by HUP, which logs a warning: restart, or upgrade with USR2"


@dataclass(frozen=True, slots=True)
class Setting:
    """One setting. A topic's class annotates its fields with these; reading the table adds name, group and default.

    `routed` settings are also allowed in a route. Those without a flag can only be set in the file.
    """

    kind: Kind
    doc: str
    aliases: tuple[str, ...] = ()
    """Other spellings of the key and the flag."""
    routed: bool = False
    has_flag: bool = True
    templated: bool = False
    """Whether placeholders in it stand for parts of the request (`proxy.settings.values.template`)."""
    reload: Reload = Reload.IN_PLACE
    name: str = ""
    group: str = ""
    default: Any = None
    """MISSING for the number of workers, which is one per core."""

    @property
    def flag(self) -> str:
        return "--" + self.name.replace("_", "-")

    @property
    def default_text(self) -> str:
        if self.default is MISSING:
            return "cores"
        return self.kind.show(self.default)


def routed(kind: Kind, doc: str, *aliases: str, has_flag: bool = True) -> Setting:
    """A setting that is also allowed in a route."""
    return Setting(kind, doc, aliases, routed=True, has_flag=has_flag)


def template(kind: Kind, doc: str, *, has_flag: bool = True) -> Setting:
    """A setting with placeholders, also allowed in a route."""
    return Setting(kind, doc, routed=True, has_flag=has_flag, templated=True)


def fixed(kind: Kind, doc: str) -> Setting:
    """A setting that a running worker cannot change."""
    return Setting(kind, doc, reload=Reload.NEW_WORKERS)


def duration(doc: str, *aliases: str) -> Setting:
    """A time that may be 0."""
    return Setting(kinds.DURATION, doc, aliases)


def wait(doc: str) -> Setting:
    """A time limit: more than 0."""
    return Setting(kinds.WAIT, doc)
