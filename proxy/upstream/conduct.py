"""Whether a peer ends its responses where it says, and its connections may therefore be reused.

Bytes after a response that come before the next request are noticed; those that come later are taken for the response
to it. The two cannot be told apart, but a peer that sends such bytes once does so again.
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
        """Until then none of its connections is reused: what it sends next might not be the next response."""
        self.sends_bodies = False
        """It has sent a body where there must not be one: after HEAD, 204, 205 or 304."""

    def slipped(self, now: float) -> bool:
        """Bytes came after a response; whether that was once too often."""
        if now - self._counted_since > _WINDOW:
            self._counted_since, self._slips = now, 0
        self._slips += 1
        if self._slips < _SLIPS:
            return False
        self._slips = 0
        self.distrusted_until = now + _DISTRUST
        log.warning(
            "upstream %s sent bytes after %d responses in %d s: its connections are not reused for %d s; "
            "check the Content-Length that it sends",
            self._name,
            _SLIPS,
            _WINDOW,
            _DISTRUST,
        )
        return True
