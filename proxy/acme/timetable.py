"""When a certificate is renewed, when a failure is followed by another attempt, and which challenges that one tries."""

import random
from collections.abc import Callable
from hashlib import sha256

from proxy.acme.state import Suggestion
from proxy.net.certificate_set import KeyPair

_SHORT_LIVED = 10 * 86400  # seconds
_FRACTION = 2 / 3
_FRACTION_SHORT_LIVED = 1 / 2
"""Of the lifetime: a certificate of six days leaves three for failures to be noticed."""
_LATEST = 9 / 10
"""Of the lifetime, whatever the authority suggests."""
_SPREAD = 0.02  # of the lifetime, so that machines set up together do not renew together

_FIRST_WAIT = 120.0  # seconds after a failure; doubles each time. Authorities allow few failures per hour.
_LONGEST_PAUSE = 6 * 3600.0
_MOST_DOUBLED = 10


def due(pair: KeyPair | None, suggestion: Suggestion | None = None) -> float:
    """When to renew a certificate (unix seconds): when the authority suggests, else at about two thirds of its
    lifetime, of one that lives for less than ten days at half of it."""
    if pair is None:
        return 0.0
    life = pair.expires - pair.begins
    if suggestion is not None and suggestion.at:
        return min(suggestion.at, pair.begins + life * _LATEST)
    spread = int.from_bytes(sha256(pair.chain).digest()[:4], "big") / 2**32 * _SPREAD
    fraction = _FRACTION_SHORT_LIVED if life < _SHORT_LIVED else _FRACTION
    return pair.begins + life * (fraction - spread)


def pause(failures: int, chance: Callable[[], float] = random.random) -> float:
    """Seconds to wait after this many consecutive failures."""
    doubled = min(max(failures - 1, 0), _MOST_DOUBLED)
    return min(_FIRST_WAIT * 2.0**doubled, _LONGEST_PAUSE) * (0.8 + 0.4 * chance())
