"""The encoded forms of a stored body, each stored as an entry of its own within the same bounds."""

from collections.abc import Iterable
from hashlib import blake2b
from time import monotonic, time
from typing import Final

from proxy.cache.index import Entry
from proxy.cache.index_memory import REMEMBERED
from proxy.cache.objects import Held
from proxy.cache.store import Store
from proxy.exchange.local_response import File
from proxy.net.event_loop import give_way


class Form:
    """One in memory, and until when it need not be looked up again (monotonic seconds)."""

    __slots__ = ("held", "until")

    def __init__(self, held: Held, until: float) -> None:
        self.held: Final = held
        self.until: Final = until


class Encoded:
    """Those of one entry's body (`proxy.exchange.local_response`). They go with the entry.

    Their keys are made of the body's own name, which no other body ever has: a form is never that of a newer one.
    """

    def __init__(self, store: Store, entry: Entry) -> None:
        self._store = store
        self._entry = entry
        self._forms: dict[bytes, Form] = {}

    def ready(self, coding: bytes) -> bytes | None:
        """The body in this coding, if it is in memory."""
        form = self._forms.get(coding)
        if form is not None and form.held.data is not None and monotonic() < form.until:
            return form.held.data
        entry = self._found(coding)
        held = None if entry is None else self._store.ready(entry)
        if entry is None or held is None:
            return None
        self._store.used(entry, time())
        self._forms[coding] = Form(held, monotonic() + REMEMBERED)
        return held.data

    def open(self, coding: bytes) -> bytes | File | None:
        """The body in this coding, if it is stored. May wait."""
        entry = self._found(coding)
        body = None if entry is None else self._store.body(entry)
        if entry is None or body is None:
            return None
        self._store.used(entry, time())
        return body if isinstance(body, bytes) else File(body, 0, entry.size)

    def keep(self, coding: bytes, pieces: Iterable[bytes]) -> None:
        """Store the body in this coding; where there is no room it is not stored."""
        key = self._key(coding)
        flight = self._store.flights.take(key)
        if flight is None:  # another request stores it
            return
        try:
            self._keep(key, pieces)
        finally:
            flight.release()

    def _keep(self, key: bytes, pieces: Iterable[bytes]) -> None:
        asked, now, incoming = monotonic(), time(), self._store.incoming()
        if incoming is None:
            return
        try:
            for piece in pieces:
                incoming.write(piece)
                give_way()
        except OSError:  # the disk is full, or cannot be read
            self._store.drop(incoming)
            return
        except BaseException:  # the client may leave meanwhile
            self._store.drop(incoming)
            raise
        incoming.close()
        form = self._entry._replace(
            key=key, lines=b"", object=incoming.name, size=incoming.size, checksum=incoming.checksum, used=now,
            whole=self._entry.object,
        )  # fmt: skip
        self._store.put(form, asked)

    def _found(self, coding: bytes) -> Entry | None:
        return self._store.index.entry(self._key(coding))

    def _key(self, coding: bytes) -> bytes:
        return blake2b(b"%s\0%s" % (self._entry.object.encode(), coding), digest_size=16).digest()
