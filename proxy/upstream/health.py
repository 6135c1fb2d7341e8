"""Whether a peer works, as exchanges with it (passive) and probes (active) show.

    passive: `eject_after` failures in a row eject it for `eject_time`, doubled each time, up to 16 times; then one
             request tries it, and a single failure ejects it again
    active:  `fall` bad probes in a row take it down, `rise` good ones bring it up

Each worker keeps its own view. A peer that came up is given its share bit by bit over `slow_start` seconds.
"""

from dataclasses import dataclass

from proxy.observe.numbers import PeerState

_MOST_DOUBLINGS = 4
_LEAST_SHARE = 0.1


@dataclass(frozen=True, slots=True)
class HealthLimits:
    """When a peer is ejected or taken down, and when it is taken back. Durations are seconds; 0: never."""

    eject_after: int = 5
    eject_time: float = 10.0
    rise: int = 2
    fall: int = 3
    slow_start: float = 0.0


class Health:
    """One peer's record. Times are monotonic seconds."""

    __slots__ = (
        "_bad",
        "_ejections",
        "_good",
        "_limits",
        "_out",
        "down",
        "downtime",
        "ejected_until",
        "failures",
        "fault",
        "last_probe",
        "outages",
        "since",
        "up_since",
    )

    def __init__(self, limits: HealthLimits) -> None:
        self._limits = limits
        self.failures = 0
        """In a row."""
        self.ejected_until = 0.0
        self.down = False
        self.up_since = 0.0
        self.last_probe = 0
        """Unix seconds; 0: never."""
        self.since = 0.0
        """When the first of the failures came that none but failures has followed; 0: none has."""
        self.fault = ""
        """The newest of them, in words."""
        self.outages = 0
        """How often it was ejected or went down, and for how many seconds in all, the present outage left out."""
        self.downtime = 0.0
        self._out = False
        self._ejections = 0
        self._good = 0
        self._bad = 0

    def failed(self, now: float, fault: str = "") -> None:
        """An exchange could not be had from the peer."""
        limits = self._limits
        self._note(now, fault)
        self.failures += 1
        if limits.eject_after and self.failures >= limits.eject_after and now >= self.ejected_until:
            self.ejected_until = now + limits.eject_time * (1 << min(self._ejections, _MOST_DOUBLINGS))
            self._ejections += 1
            self._goes_out()

    def succeeded(self, now: float) -> None:
        """The peer responded; called only if it had failed before."""
        self.failures = 0
        if self._ejections:
            self._ejections = 0
            self.ejected_until = 0.0
            self.up_since = now
        if not self.down:
            self._recover(now)

    def probed(self, now: float, *, good: bool, fault: str = "") -> bool:
        """A probe came back; whether the peer went up or down by it."""
        if good:
            self._good += 1
            self._bad = 0
            if self.down and self._good >= self._limits.rise:
                self.down = False
                self.up_since = now
                self._recover(now)
                return True
            if not self.down and not self.failures:
                self._recover(now)
        else:
            self._note(now, fault)
            self._bad += 1
            self._good = 0
            if not self.down and self._bad >= self._limits.fall:
                self.down = True
                self._goes_out()
                return True
        return False

    def _note(self, now: float, fault: str) -> None:
        self.since = self.since or now
        self.fault = fault or self.fault

    def _goes_out(self) -> None:
        if not self._out:
            self._out = True
            self.outages += 1

    def _recover(self, now: float) -> None:
        if self._out:
            self._out = False
            self.downtime += now - self.since
        self.since = 0.0
        self.fault = ""

    def usable(self, now: float) -> bool:
        return not self.down and now >= self.ejected_until

    def share(self, now: float) -> float:
        """The part of its weight that the peer is given: 1, or less while it starts."""
        slow_start = self._limits.slow_start
        if not slow_start or not self.up_since:
            return 1.0
        return min(1.0, max(_LEAST_SHARE, (now - self.up_since) / slow_start))

    def state(self, now: float) -> PeerState:
        if self.down:
            return PeerState.DOWN
        return PeerState.EJECTED if now < self.ejected_until else PeerState.UP
