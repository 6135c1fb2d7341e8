"""Requests to addresses that callers name: only to public ones, and with an end to everything."""

from aragora.outbound.addresses import Networks, networks
from aragora.outbound.request import Answer, NotAnswered, NotPermitted, Outbound

__all__ = ["Answer", "Networks", "NotAnswered", "NotPermitted", "Outbound", "networks"]
