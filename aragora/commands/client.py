"""The command line's client of the service."""

from aragora.client import Client as AnyClient
from aragora.client import Refused, Unreachable
from aragora.settings import Settings

__all__ = ["Client", "Refused", "Unreachable"]


class Client(AnyClient):
    """The server that ARAGORA_URL names, opened with ARAGORA_API_TOKEN; `url` is what `--url` names instead."""

    def __init__(self, settings: Settings, url: str | None = None) -> None:
        """Raises `SettingsError` for an address that is none."""
        token = settings.api_tokens[0] if settings.api_tokens else None
        super().__init__(url or settings.url, token, agent="aragora-cli")
