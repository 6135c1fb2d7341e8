"""How well a peer keeps to the ends of its answers, and whether its connections may therefore be used again.

Bytes behind an answer that come before the next request are noticed; those that come after it are taken for its answer.
Nothing tells the two apart, but a peer that sends such bytes does so again.
"""

from proxy.log import log

_SLIPS = 20
_WINDOW = 10.0
_DISTRUST = 60.0


class Conduct:
    """What is known of one peer. Times are monotonic seconds."""

    __slots__ = ("_counted_since", "_name", "_slips", "distrusted_until", "sends_bodies")

    def __init__(self, name: str) -> None:
        self._name = name
        self._slips = 0
        self._counted_since = 0.0
        self.distrusted_until = 0.0
        """Until then what it says next on a connection is not believed to be the next answer."""
        self.sends_bodies = False
        """It has sent a body where there must not be one: behind HEAD, 204, 205 or 304."""

    def slipped(self, now: float) -> bool:
        """Bytes came behind an answer; whether that was once too often."""
        if now - self._counted_since > _WINDOW:
            self._counted_since, self._slips = now, 0
        self._slips += 1
        if self._slips < _SLIPS:
            return False
        self._slips = 0
        self.distrusted_until = now + _DISTRUST
        log.warning(
            "upstream %s sent bytes behind %d answers in %d s: none of its connections is used twice for %d s; "
            "look at the lengths that it announces",
            self._name,
            _SLIPS,
            _WINDOW,
            _DISTRUST,
        )
        return True
