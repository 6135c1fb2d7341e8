"""Gateways with protection on, before a scripted upstream."""

from tests.proxy.integration.conftest import manual, scripted, start

__all__ = ["manual", "scripted", "start"]
