"""What carries news of debates to the processes of other machines.

A message is a JSON object; the relays of all other processes pass it on to theirs:

    {"id": ID, "seq": N}  {"id": ID, "deleted": true}   a debate ends at N now, or is gone
    {"id": ID, "words": {...}}                          a `Piece` of what an agent says; by Redis only
    {"watch": ID}                                       tell what is being said in it so far; by Redis only
    {"work": true}                                      a debate waits to be claimed

Losing one loses no event: a poller finds them in the store, more often while no relay is connected.
"""

from collections.abc import Callable
from typing import Any, Protocol

from aragora.settings import Settings
from aragora.storage.engine import Database
from aragora.storage.relays.notifications import Notifications
from aragora.storage.relays.redis_channel import RedisChannel

__all__ = ["Relay", "open_relay"]


class Relay(Protocol):
    """One way to the other machines. `mode` and `title` are its names for programs and for people."""

    mode: str
    title: str
    failure: str

    @property
    def connected(self) -> bool:
        """Whether other processes' messages arrive now."""

    def start(self) -> None:
        """Connect in the background."""

    def close(self) -> None:
        """Disconnect."""

    def send(self, message: dict[str, Any]) -> None:
        """Announce to the others, soon; never blocks. Dropped while disconnected, or if it cannot be carried."""


def open_relay(
    settings: Settings, database: Database, name: str, received: Callable[[dict[str, Any]], None]
) -> Relay | None:
    """The relay that `settings` ask for: Redis, else PostgreSQL's notifications, else none. `name` is this process'.

    `received` is called from another thread with each message of others. Raises `SettingsError`.
    """
    if settings.redis_url:
        return RedisChannel(settings.redis_url, name, received)
    return Notifications(database, name, received) if database.kind == "postgresql" else None
