"""What `check` finds outside of the settings at this moment: certificates, upstreams that are not there, and a service
that allows certificates for any name."""

import secrets
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


def permission_lines(settings: Settings) -> list[str]:
    """What the service of `on_demand_ask` says of a name that cannot exist (RFC 6761 section 6.4)."""
    if not settings.on_demand_ask:
        return []
    # Imported late: it needs the event loop's library.
    from proxy.acme.permission import Answer, Permission

    name = f"{secrets.token_hex(8)}.invalid"
    answer, reason = Permission(settings.on_demand_ask, "aragora-proxy check").look(name)
    at = f"on_demand_ask {settings.on_demand_ask}"
    if answer is Answer.ALLOWED:
        return [f"risk: {at}: allows {name}, so strangers choose the names; look names up among those that exist"]
    return [f"now: {at}: no usable answer: {reason}"] if answer is Answer.UNKNOWN else []


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
