"""The address of a Redis server."""

import re
from dataclasses import dataclass
from typing import Any

from proxy.settings.values.kinds import OFF, Kind

PORT = 6379
_URL = re.compile(
    r"(rediss?)://(?:([A-Za-z0-9._-]{1,128})@)?(\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9._-]{1,253})(?::(\d{1,5}))?(?:/(\d{1,5})?)?",
    re.ASCII,
)


@dataclass(frozen=True, slots=True)
class RedisAddress:
    """Where it listens, and whether for TLS; as which user one logs in, "" for the default one; which database."""

    tls: bool
    host: str
    port: int = PORT
    user: str = ""
    database: int = 0

    def __str__(self) -> str:
        user = f"{self.user}@" if self.user else ""
        host = f"[{self.host}]" if ":" in self.host else self.host
        return f"redis{'s' if self.tls else ''}://{user}{host}:{self.port}/{self.database}"


def _address(raw: Any) -> RedisAddress | None:
    if raw in OFF:
        return None
    found = _URL.fullmatch(raw) if isinstance(raw, str) else None
    port = int(found[4] or PORT) if found is not None else 0
    if found is None or not 0 < port < 65536:
        if isinstance(raw, str) and re.match(r"rediss?://[^/@]*:[^/@]*@", raw):
            raise ValueError("expected no password here; name a file with it in shared_limits_password_file")
        raise ValueError("expected redis://HOST[:PORT][/DATABASE], or rediss:// for TLS")
    return RedisAddress(found[1] == "rediss", found[3].strip("[]"), port, found[2] or "", int(found[5] or 0))


REDIS = Kind("Redis", _address, lambda found: str(found or "off"), "redis://HOST[:PORT][/DB]|off")
