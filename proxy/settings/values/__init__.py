"""The values that settings have: addresses, and the kinds that read and show them."""

from proxy.settings.values.address import Address, Peer

__all__ = ["Address", "Peer"]
