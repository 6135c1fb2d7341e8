"""What `check` finds outside of the settings at this moment: certificates, and upstreams that are not there."""

import socket
import threading
import time
from collections.abc import Iterable, Iterator

from proxy.net import listening
from proxy.net.certificate_set import CertificateSet
from proxy.settings import Address, Settings

_PATIENCE = 3.0
"""Seconds that all names together may take to be resolved."""

_DAY = 86400
_MOST_NAMED = 3


def certificate_lines(certificate_set: CertificateSet, now: float) -> Iterator[str]:
    """The names of each certificate and its days left; `now` is in unix seconds."""
    for pair in certificate_set.pairs:
        more = len(pair.names) - _MOST_NAMED
        names = ", ".join(pair.names[:_MOST_NAMED]) + (f" and {more} more" if more > 0 else "")
        until = time.strftime("%Y-%m-%d", time.gmtime(pair.expires))
        kind = "made by the gateway" if pair.stands_in else pair.file or "obtained"
        yield f"{names} ({kind}): until {until}, {max(0, int(pair.expires - now) // _DAY)} days left"


def upstream_lines(settings: Settings) -> list[str]:
    """Upstreams whose name has no address, or where nothing listens now."""
    everywhere = (settings, *(route.settings for route in settings.routes))
    addresses = list(dict.fromkeys(peer.address for one in everywhere for peer in one.upstream))
    faults = {address: listening.fault(address) for address in addresses}
    faults |= _unresolved(address for address in addresses if address.family == socket.AF_UNSPEC)
    return [f"upstream {address}: {faults[address]}" for address in addresses if faults[address]]


def _unresolved(addresses: Iterable[Address]) -> dict[Address, str]:
    """Why names have no address. The resolver takes no deadline, so each is asked in a thread that may be left."""
    faults = dict.fromkeys(addresses, f"its name was not resolved within {_PATIENCE:g}s")

    def resolve(address: Address) -> None:
        try:
            socket.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
        except (OSError, UnicodeError) as problem:
            faults[address] = getattr(problem, "strerror", None) or str(problem)
        else:
            faults[address] = ""

    threads = [threading.Thread(target=resolve, args=(address,), daemon=True) for address in faults]
    deadline = time.monotonic() + _PATIENCE
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(max(0.0, deadline - time.monotonic()))
    return dict(faults)
