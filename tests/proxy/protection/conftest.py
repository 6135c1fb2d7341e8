"""Gateways with protection on, before a scripted upstream."""

from tests.proxy.black_box.conftest import manual, scripted, start

__all__ = ["manual", "scripted", "start"]
