"""Counters of all workers in one piece of shared memory.

The master makes a `Board` before it forks: an anonymous mapping with a slot of plain 64-bit integers for each worker.
Only its worker writes to a slot, with one aligned store for each number, so nothing is locked and a worker that dies
loses nothing. A slot outlives its worker: the next one takes it over and continues its counters; only the gauges start
at zero. So any worker can serve a scrape with exact totals for all.

    slot:  fixed counters | gauges | named cells
    named cell:  name, NUL-padded | its numbers (reasons of failures; certificates; fields)

Peers, and exchanges of a route with a peer, come and go: their names are in directories after the slots.
"""

import mmap
import os
import time
from array import array
from collections.abc import Iterable, Iterator, Mapping
from functools import partial
from typing import Final

from proxy.net.certificate_set import Lifetime
from proxy.observe.cells import NAME, PAIR, Cells, cell_name, note, pair_name
from proxy.observe.directory import FOLDED, Directory, Holdings, Size, reset
from proxy.observe.exchange_counters import WIDTH, ExchangeCounters, RouteCounters, Traffic
from proxy.observe.marks import Mark, MarkKind
from proxy.observe.numbers import Gauge, PeerSnapshot, PeerState, PeerView, Total
from proxy.observe.past import Past
from proxy.observe.peer_counters import PEER_COUNTERS, PeerCounters

SLOTS = 320  # workers alive at once: twice the most that settings allow, and those that still drain
PEERS = 64
REASONS = 96
CERTIFICATES = 64
FIELDS = 32
GONE: Final = "", ""
"""Stands for all routes and peers that are gone."""
EXCHANGES = 256  # routes, each with each of its peers

_GAUGES: Final = len(Total)
_SNAPSHOT = len(PeerSnapshot._fields)
_REASONS = _GAUGES + len(Gauge)
_REASON_NUMBERS = _CERTIFICATE_NUMBERS = _FIELD_NUMBERS = 2
_CERTIFICATES = _REASONS + REASONS * (NAME + _REASON_NUMBERS)
_FIELDS = _CERTIFICATES + CERTIFICATES * (NAME + _CERTIFICATE_NUMBERS)
_END = _FIELDS + FIELDS * (NAME + _FIELD_NUMBERS)
_SLOT = -(-_END // 512) * 512  # whole pages: no two workers share a cache line
_OPEN = _GAUGES + Gauge.OPEN
_SPOOLED = _GAUGES + Gauge.SPOOLED
_EXCHANGE_SIZE = Size(SLOTS, EXCHANGES, PAIR, WIDTH)
_PEER_SIZE = Size(SLOTS, PEERS, NAME, PEER_COUNTERS + _SNAPSHOT)
_UNSEEN: Final = memoryview(bytes(8 * _SNAPSHOT)).cast("q")


def _fix(words: memoryview) -> None:
    """Reset numbers of a slot that cannot have been counted."""
    sections = (
        (_REASONS, REASONS, _REASON_NUMBERS),
        (_CERTIFICATES, CERTIFICATES, _CERTIFICATE_NUMBERS),
        (_FIELDS, FIELDS, _FIELD_NUMBERS),
    )
    reset(words[:_REASONS])
    for start, count, width in sections:
        for at in Cells(words, start, count, width).places():
            reset(words[at : at + width])


class Counters:
    """One worker's slot. Every method is a handful of integer operations.

    Only its worker writes to a slot: it keeps the counters at hand, and writes each without reading it first.
    """

    __slots__ = (
        "_by_exchange",
        "_by_peer",
        "_certificates",
        "_counted",
        "_exchanges",
        "_fields",
        "_peers",
        "_reasons",
        "_sampled",
        "_words",
    )

    def __init__(self, words: memoryview, exchanges: Holdings, peers: Holdings) -> None:
        self._words: Final = words
        self._counted: Final[list[int]] = words[:_GAUGES].tolist()
        self._peers = peers
        self._by_peer: dict[int, PeerCounters] = {}  # by their entry, which several peers may share
        self._reasons = Cells(words, _REASONS, REASONS, _REASON_NUMBERS)
        self._certificates = Cells(words, _CERTIFICATES, CERTIFICATES, _CERTIFICATE_NUMBERS)
        self._fields = Cells(words, _FIELDS, FIELDS, _FIELD_NUMBERS)
        self._exchanges = exchanges
        self._by_exchange: dict[int, ExchangeCounters] = {}
        self._sampled = (time.monotonic(), time.process_time())

    def _count(self, at: int, number: int) -> None:
        """Add to a counter, not to a gauge."""
        self._words[at] = self._counted[at] = self._counted[at] + number

    def route(self, name: str) -> RouteCounters:
        """The counters of a route's exchanges, for the route to keep."""
        return RouteCounters(partial(self._exchange, name))

    def _exchange(self, route: str, peer: str) -> ExchangeCounters:
        return self._exchanges_in(self._exchanges.find(pair_name(route, peer)))

    def _exchanges_in(self, entry: int) -> ExchangeCounters:
        counters = self._by_exchange.get(entry)
        if counters is None:
            counters = self._by_exchange[entry] = ExchangeCounters(self._exchanges.row(entry))
        return counters

    def keep(self, routes: Iterable[str], peers: Iterable[str]) -> None:
        """Give up the rows of other routes, and of other peers: names that come later may have them.

        An exchange that still ends on such a route is counted among those for which there is no row.
        """
        kept_routes = set(map(cell_name, routes))
        kept_peers = set(map(cell_name, peers))
        gone_peers = {name for name in self._peers.names if cell_name(name) not in kept_peers}
        cut = set(map(cell_name, gone_peers))
        gone = [
            pair
            for pair in self._exchanges.names
            for route, _, peer in (pair.partition("\n"),)
            if route not in kept_routes or peer in cut
        ]
        for entry in self._exchanges.release(gone):
            self._by_exchange.pop(entry).join(self._exchanges_in(self._exchanges.find("")))
        for entry in self._peers.release(gone_peers):
            self._peers.row(entry)[PEER_COUNTERS:] = _UNSEEN
            if entry in self._by_peer:
                self._by_peer.pop(entry).retire()

    def rejected(self, reason: str) -> None:
        """Count a request head that was refused."""
        self._words[self._reasons.find(reason)] += 1

    def failed(self, reason: str) -> None:
        """Count an exchange that failed after its head was accepted."""
        self._words[self._reasons.find(reason) + 1] += 1

    def peer(self, name: str) -> PeerCounters:
        """The counters of a peer, for the pool of its connections to keep."""
        entry = self._peers.find(name)
        if entry not in self._by_peer:
            self._by_peer[entry] = PeerCounters(self._peers.row(entry))
        return self._by_peer[entry]

    def see_peers(self, seen: Mapping[str, PeerSnapshot]) -> None:
        """Record the snapshots of all peers of this worker; those missing become unknown."""
        wanted: dict[int, PeerSnapshot] = {}
        for name, snapshot in seen.items():
            wanted.setdefault(self._peers.find(name), snapshot)
        for entry in self._peers.entries:
            view = wanted.get(entry)
            self._peers.row(entry)[PEER_COUNTERS:] = _UNSEEN if view is None else memoryview(array("q", view))

    def see_certificates(self, lifetimes: Mapping[str, Lifetime]) -> None:
        """Record the certificates this worker serves, by name. None hides one that expires earlier."""
        if any(not self._certificates.knows(name) for name in lifetimes):
            self._certificates.clear()  # or the names of certificates that are gone would take the place of new ones
        first = dict(sorted(lifetimes.items(), key=lambda item: item[1]))
        note(self._words, self._certificates, 0, _CERTIFICATE_NUMBERS, first)

    def accepted(self) -> None:
        """Count a new client connection, open until `ended`."""
        self._count(Total.ACCEPTED, 1)
        self._words[_OPEN] += 1

    def handshake(self, *, resumed: bool) -> None:
        """Count a completed TLS handshake."""
        self._count(Total.HANDSHAKES, 1)
        self._count(Total.RESUMED, resumed)

    def open_connections(self) -> int:
        return int(self._words[_OPEN])

    def ended(self) -> None:
        self._words[_OPEN] -= 1

    def request_field_dropped(self, name: str) -> None:
        self._count(Total.FIELDS_DROPPED, 1)
        self._words[self._fields.find(name)] += 1

    def response_field_dropped(self, name: str) -> None:
        self._words[self._fields.find(name) + 1] += 1

    def retry_waited(self) -> None:
        self._count(Total.RETRY_WAITS, 1)

    def spans_sent(self, count: int) -> None:
        self._count(Total.SPANS_SENT, count)

    def spans_lost(self, count: int) -> None:
        self._count(Total.SPANS_LOST, count)

    def log_lost(self, lines: int) -> None:
        self._count(Total.LOG_LOST, lines)

    def cached(self, how: Total) -> None:
        """A request was answered with something stored, or was not."""
        self._count(how, 1)

    def spool_refused(self) -> None:
        self._count(Total.SPOOLS_REFUSED, 1)

    def spooled(self, size: int) -> None:
        self._words[_SPOOLED] = size

    def tunnel(self) -> None:
        self._count(Total.TUNNELS, 1)

    def tunnel_bytes(self, received: int, sent: int) -> None:
        """Count bytes of a tunnel, from and to its client."""
        self._count(Total.TUNNEL_RECEIVED, received)
        self._count(Total.TUNNEL_SENT, sent)

    def reloaded(self) -> None:
        self._count(Total.RELOADS, 1)

    def limited_alone(self) -> None:
        self._count(Total.LIMITED_ALONE, 1)

    def on_demand(self, which: Total) -> None:
        self._count(which, 1)

    def gauge(self, which: Gauge, value: int) -> None:
        self._words[_GAUGES + which] = value

    def begin(self) -> None:
        """A worker has started in this slot; called in its process."""
        self._sampled = (time.monotonic(), time.process_time())
        self._count(Total.STARTS, 1)
        self.gauge(Gauge.PID, os.getpid())
        self.gauge(Gauge.STARTED, int(time.time()))

    def sample(self) -> None:
        """Record the processor time used since the last call; called about once a second."""
        then, used_then = self._sampled
        self._sampled = now, used = time.monotonic(), time.process_time()
        self._count(Total.CPU, int((used - used_then) * 1e6))
        if now > then:
            self.gauge(Gauge.UTILISATION, min(1_000_000, int((used - used_then) / (now - then) * 1e6)))


class Slot:
    """A read-only view of a worker's numbers, for rendering."""

    def __init__(self, index: int, words: memoryview, exchanges: Directory, peers: Directory) -> None:
        self.index = index
        self._words = words
        self._exchanges = exchanges
        self._peers = peers

    def total(self, which: Total) -> int:
        return int(self._words[which])

    def gauge(self, which: Gauge) -> int:
        return int(self._words[_GAUGES + which])

    def traffic(self) -> Traffic:
        """All exchanges of this worker and those before it."""
        return Traffic(numbers for _, numbers in self._exchanges.read([self.index]))

    def peers(self) -> Iterator[tuple[str, PeerView]]:
        for name, (connects, reuses, failures, state, *seen) in self._peers.read([self.index]):
            if name != FOLDED:
                yield name, PeerView(connects, reuses, failures, PeerSnapshot(PeerState(state), *seen))

    def reasons(self) -> Iterator[tuple[str, int, int]]:
        """Reason, refused heads, and exchanges that failed later."""
        for name, at in Cells(self._words, _REASONS, REASONS, _REASON_NUMBERS).items():
            yield name, int(self._words[at]), int(self._words[at + 1])

    def dropped_fields(self) -> Iterator[tuple[str, int, int]]:
        """Name, and how often a request's and a response's field of that name was dropped."""
        for name, at in Cells(self._words, _FIELDS, FIELDS, _FIELD_NUMBERS).items():
            yield name, int(self._words[at]), int(self._words[at + 1])

    def certificates(self) -> Iterator[tuple[str, Lifetime]]:
        """Name and lifetime."""
        for name, at in Cells(self._words, _CERTIFICATES, CERTIFICATES, _CERTIFICATE_NUMBERS).items():
            if expires := int(self._words[at]):
                yield name, Lifetime(expires, int(self._words[at + 1]))


class Board:
    """The shared memory. Made in the master, which also assigns the slots."""

    def __init__(self, connected: Iterable[str] = (), past: str = "") -> None:
        """Of the gateway that this one replaces: peers that accepted its connections, and its `past`."""
        self.started = time.time()
        self._connected = frozenset(connected)
        # After the slots: how many were ever assigned, and whether the service is stopping; then the directories.
        start = SLOTS * _SLOT
        exchanges = start + 2
        peers = exchanges + _EXCHANGE_SIZE.words
        self._words = memoryview(mmap.mmap(-1, (peers + _PEER_SIZE.words) * 8)).cast("q")
        self._given = self._words[start:exchanges]
        self._most = 0  # the master's own copy of the first
        self._exchanges = Directory(self._words[exchanges:peers], _EXCHANGE_SIZE, self._given)
        self._peers = Directory(self._words[peers:], _PEER_SIZE, self._given)
        self.past = Past(self.started, SLOTS + 1, past)
        self.history = self.past.history

    @property
    def stopping(self) -> bool:
        """Whether the service stops, with no new workers or master to take over."""
        return bool(self._given[1])

    def stop(self) -> None:
        """The service stops: no other worker or master takes over."""
        self._given[1] = 1

    def take(self, in_use: Iterable[int]) -> int:
        """The lowest free slot, its gauges zeroed. Raises RuntimeError when there is none.

        Numbers that cannot have been counted, left by a corrupted worker, are reset, or its successor could not
        continue them.
        """
        busy = set(in_use)
        for index in range(SLOTS):
            if index not in busy:
                _fix(self._view(index))
                self.leave(index)
                self._most = max(self._most, index + 1)
                self._given[0] = self._most
                return index
        raise RuntimeError(f"more than {SLOTS} workers are alive at once")

    def leave(self, index: int) -> None:
        """The worker of this slot has died: its gauges become invalid, its counters stay."""
        start = index * _SLOT + _GAUGES
        self._words[start : start + len(Gauge)] = memoryview(bytes(8 * len(Gauge))).cast("q")
        self._exchanges.leave(index)
        self._peers.leave(index)
        for entry in self._peers.in_use(index):
            self._peers.row(index, entry)[PEER_COUNTERS:] = _UNSEEN
        self.counters(index).see_certificates({})

    def connected(self) -> frozenset[str]:
        """The peers that ever accepted a connection of any worker, living or dead; names are cut to a cell's length."""
        seen = {name for slot in self.slots() for name, view in slot.peers() if view.connects}
        return self._connected | seen

    def traffic(self) -> dict[tuple[str, str], Traffic]:
        """The exchanges of all workers by route and peer; those of all that are gone under `GONE`."""
        cells: dict[str, list[list[int]]] = {}
        for name, numbers in self._exchanges.read(range(len(self.slots()))):
            if name != FOLDED or any(numbers):
                cells.setdefault(name, []).append(numbers)
        found = {}
        for name, rows in cells.items():
            route, _, peer = name.partition("\n")
            found[route, peer] = Traffic(rows)
        return found

    def note(self, kind: MarkKind, text: str) -> None:
        """Keep for an hour what was done, by the process that calls this: the master or a worker."""
        pid = os.getpid()
        owner = next((slot.index + 1 for slot in self.slots() if slot.gauge(Gauge.PID) == pid), 0)
        self.past.marks.note(owner, kind, text, time.time())

    def marks_since(self, since: float) -> list[Mark]:
        """What was done after that moment (unix seconds), and in the last hour; oldest first."""
        return self.past.marks.read(SLOTS + 1, since, time.time())

    def open_connections(self, indexes: Iterable[int]) -> list[int]:
        """Current client connections of the workers in these slots."""
        return [self._words[index * _SLOT + _OPEN] for index in indexes]

    def spooled(self) -> int:
        """Bytes of bodies that all workers currently have on disk."""
        words = self._words
        return sum(max(0, words[start + _SPOOLED]) for start in range(0, self._given[0] * _SLOT, _SLOT))

    def alive(self) -> list[int]:
        """Slots whose worker lives and accepts connections."""
        return [slot.index for slot in self.accepting()]

    def accepting(self) -> list["Slot"]:
        """The slots of `alive`, for reading."""
        return [slot for slot in self.slots() if slot.gauge(Gauge.PID) and not slot.gauge(Gauge.DRAINING)]

    def counters(self, index: int) -> Counters:
        """The counters of the worker in this slot."""
        return Counters(self._view(index), Holdings(self._exchanges, index), Holdings(self._peers, index))

    def slots(self) -> list[Slot]:
        """Slots that were ever assigned to a worker."""
        used = range(max(0, min(self._given[0], SLOTS)))
        return [Slot(index, self._view(index), self._exchanges, self._peers) for index in used]

    def _view(self, index: int) -> memoryview:
        return self._words[index * _SLOT : (index + 1) * _SLOT]
