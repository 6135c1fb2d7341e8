"""Gateways with protection on, before a scripted upstream."""

from tests.proxy.integration.conftest import scripted

__all__ = ["scripted"]
