"""Gateways with protection on, before a scripted upstream."""

from tests.proxy.black_box.conftest import scripted, start

__all__ = ["scripted", "start"]
