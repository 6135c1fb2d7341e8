"""What several gateways do as one."""

from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

from proxy.settings.table.row import Setting, fixed, wait
from proxy.settings.values import kinds
from proxy.settings.values.redis import REDIS, RedisAddress


@dataclass(frozen=True, kw_only=True)
class Sharing:
    """What gateways on different machines share."""

    __slots__ = ()
    GROUP: ClassVar = "Several gateways"

    shared_certificates: Annotated[
        Path | None,
        fixed(
            kinds.PATH,
            "directory on a file system that several gateways share, for the account, certificates and challenges of "
            "ACME: one gateway obtains them, all serve them",
        ),
    ] = None
    shared_limits: Annotated[
        RedisAddress | None,
        Setting(
            REDIS,
            "Redis in which several gateways count together what 'rate', 'max_client_connections' and "
            "'max_client_websockets' limit; rediss:// for TLS; while it is lost each counts alone",
        ),
    ] = None
    shared_limits_password_file: Annotated[
        Path | None, Setting(kinds.PATH, "file with the password of that Redis, the same for all gateways")
    ] = None
    shared_limits_ca: Annotated[
        Path | None, Setting(kinds.PATH, "authorities that its certificate must lead to (PEM); default: the system's")
    ] = None
    shared_limits_timeout: Annotated[
        float, wait("longest wait of a request or connection for that Redis; then this gateway counts it alone")
    ] = 0.05
