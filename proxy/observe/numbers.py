"""What a worker counts, and what it sees of an upstream peer."""

from enum import IntEnum
from typing import Final, NamedTuple


class Total(IntEnum):
    """Fixed counters of a slot."""

    ACCEPTED = 0  # client connections
    RETRY_WAITS = 1  # requests that waited for an upstream that refused connections
    LOG_LOST = 2  # lines
    TUNNELS = 3  # upgrades that succeeded
    TUNNEL_RECEIVED = 4
    TUNNEL_SENT = 5
    CPU = 6  # microseconds of processor time
    RELOADS = 7
    STARTS = 8  # workers that began in this slot
    HANDSHAKES = 9  # completed TLS handshakes
    RESUMED = 10  # of those, resumed with a session ticket
    SPOOLS_REFUSED = 11  # bodies that found no room on disk
    FIELDS_DROPPED = 12  # request fields dropped because of their names
    SPANS_SENT = 13
    SPANS_LOST = 14
    CACHE_HITS = 15  # fresh responses that were stored
    CACHE_STALE = 16  # stale ones that were sent while a newer one was fetched, or for an error
    CACHE_VALIDATED = 17  # stale ones of which the upstream said that they are still good
    CACHE_MISSES = 18  # requests that the cache sent to the upstream
    LIMITED_ALONE = 19  # checks of shared limits that were decided without the shared store
    ON_DEMAND_ORDERED = 20  # certificates that orders on demand have brought
    ON_DEMAND_NOT_ORDERED = 21  # orders on demand without one
    ON_DEMAND_SERVED = 22  # handshakes that waited for such an order and were served; below, those that were not
    ON_DEMAND_NAME = 23  # no certificate may be ordered for such a name
    ON_DEMAND_BUSY = 24  # too many waited already
    ON_DEMAND_FAILED = 25  # the authorities issued none
    ON_DEMAND_RATE = 26  # too many new names in that time
    ON_DEMAND_DENIED = 27  # the operator's service said no
    ON_DEMAND_UNKNOWN = 28  # it said nothing that could be used
    ON_DEMAND_FULL = 29  # there were as many names as the settings allow


class Gauge(IntEnum):
    """Numbers of a slot that are valid only while its worker lives."""

    PARKED = 0  # client connections without a request in flight
    ACTIVE = 1  # client connections with a request in flight
    TUNNELS = 2
    RETRY_WAITING = 3  # requests waiting for an upstream that refuses connections
    UPSTREAM_IDLE = 4
    UPSTREAM_BUSY = 5
    UTILISATION = 6  # millionths of a core over the last sample
    PID = 7
    STARTED = 8  # unix seconds
    DRAINING = 9
    OPEN = 10  # client connections, kept current: workers compare theirs before they accept
    QUEUED = 11  # requests queued for a peer that is at its connection limit
    OVERRIDES = 12  # version of the runtime overrides that this worker has applied
    CERTIFICATE_FAULTS = 13  # files of certificates that cannot be used
    SPOOLED = 14  # bytes of bodies on disk, kept current: workers read each other's
    COLLECTOR_FAULTS = 15  # 1 while the collector of traces does not take spans
    CACHE_BYTES = 16  # of all stored responses, the same in all workers
    CACHE_ENTRIES = 17
    SHARED_LIMITS = 18  # a `StoreState`
    STORE_LOST = 19  # unix seconds since when the shared store has been lost; 0: it has not
    LEASED = 20  # shares of what clients may have open that are leased from the shared store
    ON_DEMAND_NAMES = 20  # names whose certificate was obtained on demand, the same for all workers


class StoreState(IntEnum):
    """How a worker sees the store in which several gateways count together. The highest of all workers' is shown."""

    OFF = 0  # there is none
    LINKED = 1
    LOST = 2  # the gateway counts alone


class PeerState(IntEnum):
    """How a worker sees an upstream peer. Of several workers' views the highest value is shown."""

    UNKNOWN = 0  # not used yet
    UP = 1
    DRAINING = 2  # gets no new requests
    EJECTED = 3  # failed too often; tried again after a while
    DOWN = 4  # failed its probes


class PeerSnapshot(NamedTuple):
    """What a worker currently sees of a peer."""

    state: PeerState = PeerState.UNKNOWN
    idle: int = 0  # connections
    busy: int = 0
    weight: int = 0
    probed: int = 0  # unix seconds of the last probe; 0: never
    since: int = 0  # unix seconds at which its present failures began; 0: there are none
    outages: int = 0
    downtime: int = 0  # seconds of past outages


class PeerView(NamedTuple):
    """A peer in one slot: its counters, and its last snapshot."""

    connects: int
    reuses: int
    failures: int
    snapshot: PeerSnapshot


ON_DEMAND: Final = {
    which.name.removeprefix("ON_DEMAND_").lower(): which
    for which in Total
    if Total.ON_DEMAND_SERVED <= which <= Total.ON_DEMAND_FULL
}
"""Counters of handshakes for names without a certificate, by outcome."""
