"""Commands are sent to gateways that have an admin address, as its own tests have them."""

from tests.proxy.admin.conftest import applications, face, held

__all__ = ["applications", "face", "held"]
